//! Asks what is needed to decide where partitions begin, again and again while the answer may still come.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::bindings::rd_kafka_resp_err_t as E;
use wasmill_core::{CommitNote, OutOfRange, Position, Start};

use super::describe::{Described, Question};
use super::handler::RebalanceHandler;
use super::note;
use super::start::{Ends, First, Founding, begin, begin_again, is_of_former};
use crate::TopicPartition;
use crate::error::{ClientError, Code};
use crate::list::Row;
use crate::native::ClientRef;
use crate::offsets::{EARLIEST, LATEST, committed, high_watermarks, offsets_at};
use crate::settings::MemberSettings;

/// How long one request may take before it is made again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the ends of partitions are asked for that have one leader, before they are set aside: the others go on meanwhile.
const LEADER_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two tries.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// How long finding the first positions may take: the group waits, and librdkafka gives the member up when it is not
/// polled for `max.poll.interval.ms`.
pub(super) fn patience(max_poll_interval: Duration) -> Duration {
    (max_poll_interval * 2 / 3).min(Duration::from_secs(120))
}

/// Where partitions begin, as far as it could be found out.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Those that can be read.
    pub(super) firsts: Vec<First>,
    /// Those that have to wait, and why: nobody leads them, their leader does not answer, or it refuses. Each of them holds
    /// up itself alone.
    pub(super) waiting: Vec<(TopicPartition, ClientError)>,
}

/// Finds where each of `ids` begins. `handler` is asked what it knows of them.
/// `patience` bounds what concerns all of them: the committed offsets.
///
/// # Errors
/// `Closed` if the assignment was lost meanwhile; otherwise what stands in the way of all of them for good, or still did at
/// the end.
pub(super) fn resolve(
    client: ClientRef<'_>,
    settings: &MemberSettings,
    ids: &[TopicPartition],
    handler: &dyn RebalanceHandler,
    patience: Duration,
) -> Result<Resolved, ClientError> {
    let asking = Asking { client, deadline: Instant::now() + patience };
    let topics: Vec<Arc<str>> = ids.iter().map(|id| id.topic.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let question = Question::ask(client, &topics);
    let own = asking.until_answered("committed offsets", |timeout| committed(client, ids, timeout))?;
    let described =
        question.and_then(|question| question.answer(REQUEST_TIMEOUT)).and_then(Result::ok).unwrap_or_default();
    let described = asking.ids_behind_notes(described, &own, &topics)?;
    let mut found: HashMap<TopicPartition, Row> = own.into_iter().map(|row| (row.id.clone(), row)).collect();
    let mut of_topics = HashMap::new();
    for topic in &topics {
        let described = described.iter().find(|it| it.topic == *topic);
        let topic_id = described.and_then(|it| it.id.clone());
        let partitions = described.map_or(0, |it| it.partitions);
        let mut founding = asking.founding(topic, partitions, topic_id.as_deref(), &found)?;
        founding.made_again = founding.made_again
            || handler
                .former_topic_id(topic)
                .is_some_and(|former| topic_id.as_ref().is_some_and(|topic_id| *topic_id != former));
        of_topics.insert(topic.clone(), (founding, topic_id));
    }
    let mut ends = Ends::default();
    let mut resolved = Resolved::default();
    let mut ready = Vec::with_capacity(ids.len());
    for (leader, led) in by_leader(ids, &described) {
        let answer = match leader {
            Some(_) => asking.for_at_most(LEADER_TIMEOUT).ends(&led, settings, &found),
            None => Err(ClientError::request("first offsets", Code(E::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE as i32))),
        };
        match answer {
            Ok(found) => {
                ends.extend(found);
                ready.extend(led);
            }
            Err(ClientError::Closed) => return Err(ClientError::Closed),
            Err(error) => resolved.waiting.extend(led.into_iter().map(|id| (id.clone(), error.clone()))),
        }
    }
    let first = |id: &TopicPartition| {
        let row = found.remove(id);
        // Whatever comes of it: the handler is asked once for each partition.
        let policies = policies(id, settings, handler);
        let (founding, topic_id) =
            of_topics.get(&id.topic).cloned().unwrap_or((Founding::fresh(id.partition + 1), None));
        let first = match row {
            Some(row) if is_of_former(&row, topic_id.as_deref()) => begin_again(&row, founding, &ends),
            row => begin(id, row, founding, policies, &ends),
        };
        First { topic_id, ..first }
    };
    resolved.firsts = ready.into_iter().map(first).collect();
    Ok(resolved)
}

/// Partitions by topic and leader, since a leader answers for its partitions alone and a topic may be refused. `None`: nobody
/// leads them. Of a topic that nobody described the leaders are not known, and its partitions are asked for together.
fn by_leader<'a>(ids: &'a [TopicPartition], described: &[Described]) -> Vec<(Option<i32>, Vec<&'a TopicPartition>)> {
    let mut groups: BTreeMap<(Arc<str>, Option<i32>), Vec<&TopicPartition>> = BTreeMap::new();
    for id in ids {
        let topic = described.iter().find(|it| it.topic == id.topic && !it.err.is_error());
        let leader = topic.map_or(Some(-1), |topic| topic.leaders.get(&id.partition).copied());
        groups.entry((id.topic.clone(), leader)).or_default().push(id);
    }
    groups.into_iter().map(|((_, leader), led)| (leader, led)).collect()
}

/// What to do about a position that is missing: as is set, unless somebody said to go on.
fn policies(id: &TopicPartition, settings: &MemberSettings, handler: &dyn RebalanceHandler) -> (Start, OutOfRange) {
    let (start, out_of_range) = (settings.start, settings.out_of_range);
    let stops = start == Start::Error || out_of_range == OutOfRange::Stop;
    if !stops || !handler.begins_anew(id) {
        return (start, out_of_range);
    }
    (if start == Start::Error { Start::At(Position::Earliest) } else { start }, OutOfRange::Earliest)
}

/// Requests that are made again until they are answered, the time is up or the assignment is lost.
struct Asking<'a> {
    client: ClientRef<'a>,
    deadline: Instant,
}

impl Asking<'_> {
    /// The same, with less patience.
    fn for_at_most(&self, patience: Duration) -> Self {
        Self { client: self.client, deadline: self.deadline.min(Instant::now() + patience) }
    }

    fn until_answered(
        &self,
        what: &str,
        mut ask: impl FnMut(Duration) -> Result<Vec<Row>, ClientError>,
    ) -> Result<Vec<Row>, ClientError> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let answer = ask(left.clamp(RETRY_DELAY, REQUEST_TIMEOUT)).and_then(|rows| {
                let failed = rows.iter().find(|row| row.err.is_error());
                match failed.map(|row| (row.id.clone(), row.err)) {
                    Some((id, err)) => Err(ClientError::request(format!("{what} of {id}"), err)),
                    None => Ok(rows),
                }
            });
            match answer {
                Err(error) if error.is_transient() && !left.is_zero() => {
                    if self.client.assignment_lost() {
                        return Err(ClientError::Closed);
                    }
                    tracing::debug!(%error, "asking again");
                    thread::sleep(RETRY_DELAY);
                }
                answer => return answer,
            }
        }
    }

    /// What is known of the group's first position in a topic that has (at least) so many partitions.
    fn founding(
        &self,
        topic: &Arc<str>,
        partitions: i32,
        topic_id: Option<&str>,
        found: &HashMap<TopicPartition, Row>,
    ) -> Result<Founding, ClientError> {
        let own = || found.values().filter(|row| row.id.topic == *topic);
        let count = own().map(|row| row.id.partition + 1).max().unwrap_or(0).max(partitions);
        let mut others = Vec::new();
        if own().any(|row| row.offset < 0) {
            let rest: Vec<_> = (0..count)
                .map(|partition| TopicPartition::new(topic.clone(), partition))
                .filter(|id| !found.contains_key(id))
                .collect();
            others = self.until_answered("committed offsets", |timeout| committed(self.client, &rest, timeout))?;
        }
        let rows = || own().chain(&others);
        let mut founding = Founding::of(rows().filter(|row| !is_of_former(row, topic_id)), count);
        founding.made_again = rows().any(|row| is_of_former(row, topic_id));
        Ok(founding)
    }

    /// Asks once more for the topics' ids where a committed note names one and the first answer did not come: without it an
    /// offset of a topic that was deleted would be believed.
    fn ids_behind_notes(
        &self,
        described: Vec<Described>,
        committed: &[Row],
        topics: &[Arc<str>],
    ) -> Result<Vec<Described>, ClientError> {
        let noted = |row: &Row| row.offset >= 0 && CommitNote::decode(note::open(&row.note).0).topic_id.is_some();
        let answered = |row: &Row| described.iter().any(|it| it.topic == row.id.topic);
        if committed.iter().all(|row| !noted(row) || answered(row)) {
            return Ok(described);
        }
        loop {
            let question = Question::ask(self.client, topics);
            let answer = question.and_then(|question| question.answer(REQUEST_TIMEOUT));
            let left = self.deadline.saturating_duration_since(Instant::now());
            match answer {
                Some(Ok(described)) => return Ok(described),
                Some(Err(err)) if left.is_zero() => return Err(ClientError::request("topic ids", err)),
                None if left.is_zero() => {
                    return Err(ClientError::request("topic ids", Code(E::RD_KAFKA_RESP_ERR__TIMED_OUT as i32)));
                }
                _ if self.client.assignment_lost() => return Err(ClientError::Closed),
                _ => thread::sleep(RETRY_DELAY),
            }
        }
    }
    /// The ends of the partitions, as far as they have to be known.
    fn ends(
        &self,
        ids: &[&TopicPartition],
        settings: &MemberSettings,
        found: &HashMap<TopicPartition, Row>,
    ) -> Result<Ends, ClientError> {
        let at = |what: &str, ids: &[&TopicPartition], time: i64| {
            let rows = self
                .until_answered(what, |timeout| offsets_at(self.client, ids.iter().map(|id| (*id, time)), timeout))?;
            Ok::<_, ClientError>(rows.into_iter().map(|row| (row.id, row.offset)).collect::<HashMap<_, _>>())
        };
        let mut ends = Ends { low: at("first offsets", ids, EARLIEST)?, ..Ends::default() };
        ends.latest = at("last offsets", ids, LATEST)?;
        let new: Vec<_> = ids.iter().copied().filter(|id| found.get(id).is_none_or(|row| row.offset < 0)).collect();
        if let (Start::At(Position::Time(time)), false) = (settings.start, new.is_empty()) {
            // Below zero are stand-ins, and no message is that old.
            ends.at_time = at("offsets at a time", &new, time.max(0))?;
        }
        // Read-committed readers are told the last stable offset. A committed offset above it may well exist.
        let beyond: Vec<_> =
            ids.iter().copied().filter(|id| found.get(id).is_some_and(|row| row.offset > ends.latest(id))).collect();
        if !beyond.is_empty() {
            let rows =
                self.until_answered("ends of partitions", |timeout| high_watermarks(self.client, &beyond, timeout))?;
            ends.high = rows.into_iter().map(|row| (row.id, row.offset)).collect();
        }
        Ok(ends)
    }
}
