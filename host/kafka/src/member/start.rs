//! Where reading begins: decided here and nowhere in librdkafka, whose own answer to a missing position is a silent jump.
//!
//! A group's first position in a topic may be the end or a time. A partition that is added to the topic later must begin
//! at its first message all the same: what was produced before the group noticed the partition would be skipped. The two
//! cases look alike, a partition without a committed offset while others have one, since members of a fresh group do not
//! commit at the same moment. So every commit carries the *founding count*, the number of partitions when the group first
//! took a position in the topic, at the end of the metadata: `#` and the number. It is copied from commit to commit and
//! never changes. A partition below it is one of the first; any other came later. Where no commit carries one (somebody
//! else's commits), the highest partition with a commit stands for it.
//!
//! A topic that was deleted and made again has other messages under the same offsets. Kafka forgets a group's offsets with
//! the topic, but not those that a member of the old one commits afterwards, nor those that a tool puts back. So a committed
//! offset counts only if the topic's id in its note is the one that the topic has now.

use super::RebalanceHandler;
use super::describe::{Described, Question};
use super::rebalance::patience;
use crate::TopicPartition;
use crate::commit::{Answer, ReplyQueue};
use crate::error::{ClientError, Code};
use crate::list::{self, Row, list_of};
use crate::queue::QueueProblem;
use crate::settings::MemberSettings;
use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use std::collections::{BTreeSet, HashMap};
use std::ptr::{NonNull, null};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use wasmill_core::{CommitNote, OutOfRange, Position, Start};

/// Stand-ins of librdkafka's, both as offsets and as times to look up.
pub(super) const EARLIEST: i64 = sys::RD_KAFKA_OFFSET_BEGINNING as i64;
pub(super) const LATEST: i64 = sys::RD_KAFKA_OFFSET_END as i64;

/// How long one request may take before it is made again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// The beginning of one partition.
#[derive(Debug)]
pub(super) struct First {
    pub(super) id: TopicPartition,
    pub(super) offset: i64,
    /// What librdkafka is told, where that is another one: it gives a partition up for good that is assigned at an offset
    /// which does not exist, and then no seek can bring it back.
    pub(super) stand_in: Option<i64>,
    pub(super) note: String,
    pub(super) founding: i32,
    pub(super) committed: Option<i64>,
    pub(super) needs_first_commit: bool,
    pub(super) reset: Option<String>,
    pub(super) problem: Option<QueueProblem>,
    pub(super) topic_id: Option<String>,
}

/// Adds the founding count to a commit's metadata, if both fit.
pub(super) fn seal_note(note: &str, founding: Option<i32>, limit_bytes: usize) -> String {
    match founding.map(|founding| format!("{note}#{founding}")) {
        Some(sealed) if sealed.len() <= limit_bytes => sealed,
        _ => note.to_owned(),
    }
}

/// Takes the founding count off again.
pub(super) fn open_note(sealed: &str) -> (&str, Option<i32>) {
    match sealed.rsplit_once('#') {
        Some((note, count)) if !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) => {
            (note, count.parse().ok().filter(|count| *count > 0))
        }
        _ => (sealed, None),
    }
}

/// Finds where each of `ids` begins, in their order. `handler` is asked what it knows of them.
///
/// # Errors
/// `Closed` if the assignment was lost meanwhile; otherwise what stands in the way for good, or still did at the end.
///
/// # Safety
/// `client` is a live consumer.
pub(super) unsafe fn resolve(
    client: NonNull<sys::rd_kafka_t>,
    settings: &MemberSettings,
    ids: &[TopicPartition],
    handler: &dyn RebalanceHandler,
) -> Result<Vec<First>, ClientError> {
    let asking = Asking { client, deadline: Instant::now() + patience(settings.max_poll_interval) };
    let topics: Vec<Arc<str>> = ids.iter().map(|id| id.topic.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    // SAFETY: alive, and the question ends in this function.
    let question = unsafe { Question::ask(client, &topics) };
    // SAFETY: alive, says the caller; so are the other calls' clients here.
    let own = asking.until_answered("committed offsets", |timeout| unsafe { committed(client, ids, timeout) })?;
    let described =
        question.and_then(|question| question.answer(REQUEST_TIMEOUT)).and_then(Result::ok).unwrap_or_default();
    let described = asking.ids_behind_notes(described, &own, &topics)?;
    let mut found: HashMap<TopicPartition, Row> = own.into_iter().map(|row| (row.id.clone(), row)).collect();
    let mut first_of = HashMap::new();
    for topic in &topics {
        let described = described.iter().find(|it| it.topic == *topic);
        let held = found.keys().filter(|id| id.topic == *topic).map(|id| id.partition + 1).max().unwrap_or(0);
        let count = described.map_or(0, |it| it.partitions).max(held);
        let missing = found.values().any(|row| row.id.topic == *topic && row.offset < 0);
        let mut others = Vec::new();
        if missing {
            let rest: Vec<_> = (0..count)
                .map(|partition| TopicPartition::new(topic.clone(), partition))
                .filter(|id| !found.contains_key(id))
                .collect();
            if !rest.is_empty() {
                others = asking.until_answered("committed offsets", |timeout| {
                    // SAFETY: as above.
                    unsafe { committed(client, &rest, timeout) }
                })?;
            }
        }
        let now = described.and_then(|it| it.id.as_deref());
        let rows = || found.values().filter(|row| row.id.topic == *topic).chain(&others);
        let mut founding = Founding::of(rows().filter(|row| !is_of_former(row, now)), count);
        founding.made_again = rows().any(|row| is_of_former(row, now))
            || handler.former_topic_id(topic).is_some_and(|former| now.is_some_and(|now| now != former));
        first_of.insert(topic.clone(), (founding, now.map(str::to_owned)));
    }
    let ends = Ends::ask(&asking, ids, settings, &found)?;
    Ok(ids
        .iter()
        .map(|id| {
            let row = found.remove(id);
            let (founding, topic_id) =
                first_of.get(&id.topic).cloned().unwrap_or((Founding::fresh(id.partition + 1), None));
            let (mut start, mut policy) = (settings.start, settings.out_of_range);
            let stops = start == Start::Error || policy == OutOfRange::Stop;
            if stops && handler.begins_anew(id) {
                policy = OutOfRange::Earliest;
                if start == Start::Error {
                    start = Start::At(Position::Earliest);
                }
            }
            let mut first = match row {
                Some(row) if is_of_former(&row, topic_id.as_deref()) => begin_again(&row, founding, &ends),
                row => begin(id, row, founding, (start, policy), &ends),
            };
            first.topic_id = topic_id;
            first
        })
        .collect())
}

/// Whether this was committed for a topic of the same name that is not there any more.
fn is_of_former(row: &Row, now: Option<&str>) -> bool {
    let Some(now) = now.filter(|_| row.offset >= 0) else { return false };
    CommitNote::decode(open_note(&row.note).0).topic_id.is_some_and(|then| then != now)
}

/// What is known of a group's first position in a topic.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
struct Founding {
    count: i32,
    /// No partition of the topic has a committed offset.
    fresh: bool,
    /// The group read an earlier topic of that name: all that is in this one came while it was there.
    made_again: bool,
}

impl Founding {
    fn fresh(count: i32) -> Self {
        Self { count, fresh: true, made_again: false }
    }

    fn of<'a>(rows: impl Iterator<Item = &'a Row>, partitions: i32) -> Self {
        let committed: Vec<_> = rows.filter(|row| row.offset >= 0).collect();
        let Some(highest) = committed.iter().map(|row| row.id.partition).max() else {
            return Self::fresh(partitions);
        };
        let noted = committed.iter().filter_map(|row| open_note(&row.note).1).min();
        Self { count: noted.unwrap_or(highest + 1), fresh: false, made_again: false }
    }

    fn came_later(self, partition: i32) -> bool {
        self.made_again || (!self.fresh && partition >= self.count)
    }
}

/// Decides about one partition. No requests here.
fn begin(
    id: &TopicPartition,
    row: Option<Row>,
    founding: Founding,
    (start, out_of_range): (Start, OutOfRange),
    ends: &Ends,
) -> First {
    let (low, high) = (ends.low(id), ends.high(id));
    let mut first = First {
        id: id.clone(),
        offset: low,
        stand_in: None,
        note: String::new(),
        founding: founding.count,
        committed: None,
        needs_first_commit: true,
        reset: None,
        problem: None,
        topic_id: None,
    };
    let Some(row) = row.filter(|row| row.offset >= 0) else {
        first.reset = founding
            .made_again
            .then(|| format!("topic {} was deleted and made again, beginning at its first message {low}", id.topic));
        first.offset = match start {
            _ if founding.came_later(id.partition) => low,
            Start::At(position) => position.within(low, ends.latest(id), || ends.at_time(id)),
            Start::Error => {
                // Not even committed: the next start, or the next owner, must find out for itself.
                first.needs_first_commit = false;
                first.problem = Some(QueueProblem::NoOffset);
                first.stand_in = Some(ends.latest(id));
                low
            }
        };
        return first;
    };
    let (note, noted) = open_note(&row.note);
    first.note = note.to_owned();
    first.founding = noted.unwrap_or(founding.count);
    first.needs_first_commit = false;
    first.committed = Some(row.offset);
    first.offset = row.offset;
    if (low..=high).contains(&row.offset) {
        return first;
    }
    let moved = match out_of_range {
        OutOfRange::Stop => {
            first.problem = Some(QueueProblem::OutOfRange { offset: row.offset });
            first.stand_in = Some(ends.latest(id));
            return first;
        }
        OutOfRange::Earliest => low,
        OutOfRange::Latest => ends.latest(id),
    };
    first.offset = moved;
    // What the note says is about messages that are gone.
    first.note = String::new();
    first.committed = None;
    first.needs_first_commit = true;
    first.reset =
        Some(format!("committed offset {} of {id} is not between {low} and {high}, going on at {moved}", row.offset));
    first
}

/// Begins a partition whose committed offset is one of a former topic. No requests here.
fn begin_again(row: &Row, founding: Founding, ends: &Ends) -> First {
    // As one that came later, whatever `start` says: nothing of it was ever handed over.
    let first = begin(
        &row.id,
        None,
        Founding { made_again: true, ..founding },
        (Start::At(Position::Earliest), OutOfRange::Stop),
        ends,
    );
    let reset = format!(
        "topic {} was deleted and made again, committed offset {} is one of the old topic, going on at {}",
        row.id.topic, row.offset, first.offset
    );
    First { reset: Some(reset), ..first }
}

/// The ends of the partitions in question.
#[derive(Default)]
struct Ends {
    low: HashMap<TopicPartition, i64>,
    /// The first offset not to be read yet; below open transactions.
    latest: HashMap<TopicPartition, i64>,
    /// The end, open transactions included, where it was asked for.
    high: HashMap<TopicPartition, i64>,
    at_time: HashMap<TopicPartition, i64>,
}

impl Ends {
    fn ask(
        asking: &Asking,
        ids: &[TopicPartition],
        settings: &MemberSettings,
        found: &HashMap<TopicPartition, Row>,
    ) -> Result<Self, ClientError> {
        let at = |what: &str, ids: &[&TopicPartition], time: i64| {
            let rows = asking.until_answered(what, |timeout| {
                // SAFETY: whoever made `asking` has a live client.
                unsafe { offsets_at(asking.client, ids.iter().map(|id| (*id, time)), timeout) }
            })?;
            Ok::<_, ClientError>(rows.into_iter().map(|row| (row.id, row.offset)).collect::<HashMap<_, _>>())
        };
        let all: Vec<_> = ids.iter().collect();
        let mut ends = Self { low: at("first offsets", &all, EARLIEST)?, ..Self::default() };
        ends.latest = at("last offsets", &all, LATEST)?;
        let new: Vec<_> = ids.iter().filter(|id| found.get(id).is_none_or(|row| row.offset < 0)).collect();
        if let (Start::At(Position::Time(time)), false) = (settings.start, new.is_empty()) {
            // Below zero are stand-ins, and no message is that old.
            ends.at_time = at("offsets at a time", &new, time.max(0))?;
        }
        // Read-committed readers are told the last stable offset. A committed offset above it may well exist.
        let beyond: Vec<_> =
            ids.iter().filter(|id| found.get(id).is_some_and(|row| row.offset > ends.latest(id))).collect();
        if !beyond.is_empty() {
            let rows = asking.until_answered("ends of partitions", |timeout| {
                // SAFETY: as above.
                unsafe { high_watermarks(asking.client, &beyond, timeout) }
            })?;
            ends.high = rows.into_iter().map(|row| (row.id, row.offset)).collect();
        }
        Ok(ends)
    }

    fn low(&self, id: &TopicPartition) -> i64 {
        self.low.get(id).copied().unwrap_or(0).max(0)
    }

    fn latest(&self, id: &TopicPartition) -> i64 {
        self.latest.get(id).copied().unwrap_or(0).max(0)
    }

    fn high(&self, id: &TopicPartition) -> i64 {
        self.high.get(id).copied().unwrap_or_else(|| self.latest(id)).max(self.latest(id))
    }

    /// The end if nothing is that young.
    fn at_time(&self, id: &TopicPartition) -> i64 {
        self.at_time.get(id).copied().filter(|offset| *offset >= 0).unwrap_or_else(|| self.latest(id))
    }
}

/// Requests that are made again until they are answered, the time is up or the assignment is lost.
struct Asking {
    client: NonNull<sys::rd_kafka_t>,
    deadline: Instant,
}

impl Asking {
    fn until_answered(
        &self,
        what: &str,
        mut ask: impl FnMut(Duration) -> Result<Vec<Row>, ClientError>,
    ) -> Result<Vec<Row>, ClientError> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let answer = ask(left.clamp(PAUSE, REQUEST_TIMEOUT)).and_then(|rows| {
                let failed = rows.iter().find(|row| row.err.is_error());
                match failed.map(|row| (row.id.clone(), row.err)) {
                    Some((id, err)) => Err(ClientError::request(format!("{what} of {id}"), err)),
                    None => Ok(rows),
                }
            });
            match answer {
                Err(error) if error.is_transient() && !left.is_zero() => {
                    // SAFETY: whoever made `self` has a live client.
                    if unsafe { sys::rd_kafka_assignment_lost(self.client.as_ptr()) } != 0 {
                        return Err(ClientError::Closed);
                    }
                    tracing::debug!(%error, "asking again");
                    thread::sleep(PAUSE);
                }
                answer => return answer,
            }
        }
    }
}

impl Asking {
    /// Asks once more for the topics' ids where a committed note names one and the first answer did not come: without it an
    /// offset of a topic that was deleted would be believed.
    fn ids_behind_notes(
        &self,
        described: Vec<Described>,
        committed: &[Row],
        topics: &[Arc<str>],
    ) -> Result<Vec<Described>, ClientError> {
        let noted = |row: &Row| row.offset >= 0 && CommitNote::decode(open_note(&row.note).0).topic_id.is_some();
        let answered = |row: &Row| described.iter().any(|it| it.topic == row.id.topic);
        if committed.iter().all(|row| !noted(row) || answered(row)) {
            return Ok(described);
        }
        loop {
            // SAFETY: whoever made `self` has a live client, and the question ends here.
            let question = unsafe { Question::ask(self.client, topics) };
            let answer = question.and_then(|question| question.answer(REQUEST_TIMEOUT));
            let left = self.deadline.saturating_duration_since(Instant::now());
            match answer {
                Some(Ok(described)) => return Ok(described),
                Some(Err(err)) if left.is_zero() => return Err(ClientError::request("topic ids", err)),
                None if left.is_zero() => {
                    return Err(ClientError::request("topic ids", Code(E::RD_KAFKA_RESP_ERR__TIMED_OUT as i32)));
                }
                // SAFETY: as above.
                _ if unsafe { sys::rd_kafka_assignment_lost(self.client.as_ptr()) } != 0 => {
                    return Err(ClientError::Closed);
                }
                _ => thread::sleep(PAUSE),
            }
        }
    }
}

/// The group's committed offsets, below zero where there are none, with their metadata.
///
/// # Safety
/// `client` is a live consumer.
pub(crate) unsafe fn committed(
    client: NonNull<sys::rd_kafka_t>,
    ids: &[TopicPartition],
    timeout: Duration,
) -> Result<Vec<Row>, ClientError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let list = list_of(ids.iter().map(|id| (id, i64::from(sys::RD_KAFKA_OFFSET_INVALID))))?;
    // SAFETY: the client is alive, the list lives through the call, which fills it in.
    let err = unsafe { sys::rd_kafka_committed(client.as_ptr(), list.ptr(), millis(timeout)) };
    answered("committed offsets", Code(err as i32))?;
    Ok(list::rows_of(&list))
}

/// Offsets at times in milliseconds, or at `EARLIEST` or `LATEST`.
///
/// # Safety
/// `client` is a live consumer.
pub(super) unsafe fn offsets_at<'a>(
    client: NonNull<sys::rd_kafka_t>,
    times: impl IntoIterator<Item = (&'a TopicPartition, i64)>,
    timeout: Duration,
) -> Result<Vec<Row>, ClientError> {
    let list = list_of(times)?;
    // SAFETY: the client is alive, the list lives through the call, which fills it in.
    let err = unsafe { sys::rd_kafka_offsets_for_times(client.as_ptr(), list.ptr(), millis(timeout)) };
    answered("offsets", Code(err as i32))?;
    Ok(list::rows_of(&list))
}

/// The ends of partitions, open transactions included.
///
/// # Safety
/// `client` is a live consumer.
unsafe fn high_watermarks(
    client: NonNull<sys::rd_kafka_t>,
    ids: &[&TopicPartition],
    timeout: Duration,
) -> Result<Vec<Row>, ClientError> {
    let list = list_of(ids.iter().map(|id| (*id, LATEST)))?;
    // SAFETY: the client is alive and outlives the queue, which ends here. The list is copied; without options the request
    // is made as for a reader of uncommitted messages (`rd_kafka_ListOffsetsRequest_admin`).
    let queue = unsafe { ReplyQueue::new(client) }.ok_or(ClientError::Closed)?;
    // SAFETY: as above.
    unsafe { sys::rd_kafka_ListOffsets(client.as_ptr(), list.ptr(), null(), queue.as_ptr()) };
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match queue.poll(left) {
            Some(answer) if answer.kind() == sys::RD_KAFKA_EVENT_LISTOFFSETS_RESULT => {
                answered("ends of partitions", answer.code())?;
                // SAFETY: the event is of this kind and alive.
                return Ok(unsafe { listed(&answer) });
            }
            None if left.is_zero() => answered("ends of partitions", Code(E::RD_KAFKA_RESP_ERR__TIMED_OUT as i32))?,
            _ => {}
        }
    }
}

/// # Safety
/// `answer` is of kind ListOffsets.
unsafe fn listed(answer: &Answer) -> Vec<Row> {
    let mut count = 0;
    // SAFETY: of this kind, says the caller; what comes out belongs to the event. A result's partition is a list element
    // of its own.
    unsafe {
        let result = sys::rd_kafka_event_ListOffsets_result(answer.as_ptr());
        if result.is_null() {
            return Vec::new();
        }
        let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        (0..count)
            .map(|index| list::row(sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index))))
            .collect()
    }
}

fn answered(what: &str, code: Code) -> Result<(), ClientError> {
    if code.is_error() { Err(ClientError::request(what, code)) } else { Ok(()) }
}

fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
