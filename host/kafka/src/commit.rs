//! Commits: one at a time per member, answered or given up on after a while.
//!
//! The plain synchronous call of librdkafka waits without a bound while the coordinator is away (the request is put off
//! for a session timeout, then sent, then waits for the socket's timeout). So the request goes out with a reply queue of
//! ours, and the wait for the answer is ours. A request that was not answered in time may still be carried out later: the
//! next one is not sent before that answer is in, or an old offset could land on top of a newer one.

use std::ptr;
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::topic_partition_list::TopicPartitionList;
use wasmill_core::NextOffset;

use crate::TopicPartition;
use crate::error::{Code, CommitError, CommitRefusal};
use crate::list;
use crate::native::{ClientRef, Queue};

/// How long a commit waits for its answer.
pub(crate) const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Brokers refuse longer metadata by default.
pub(crate) const NOTE_LIMIT_BYTES: usize = 4096;

/// What is to be committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitEntry {
    /// The partition to commit for.
    pub id: TopicPartition,
    /// The offset to go on from.
    pub next: NextOffset,
    /// Metadata kept with the offset, at most 4096 bytes.
    pub note: String,
}

/// The kind of event that answers a commit.
const COMMIT_EVENT: i32 = sys::RD_KAFKA_EVENT_OFFSET_COMMIT;

/// The one place from which a member commits.
pub(crate) struct CommitLane {
    /// Made with the first commit.
    queue: Option<Queue>,
    unanswered: bool,
}

impl CommitLane {
    pub(crate) fn new() -> Self {
        Self { queue: None, unanswered: false }
    }

    /// Gives the queue back to librdkafka; the client is about to be destroyed. Waits until `deadline` for a request that was
    /// given up on: false if it still has no answer, and then librdkafka would not let the consumer close.
    pub(crate) fn close(&mut self, deadline: Instant) -> bool {
        if let Some(queue) = self.queue.take()
            && self.unanswered
        {
            self.unanswered = queue.wait(COMMIT_EVENT, deadline.saturating_duration_since(Instant::now())).is_none();
        }
        !self.unanswered
    }

    /// Commits and waits for the answer, at most `timeout` (and as long again for an earlier request's). `client` is the same
    /// consumer at each call. What goes out is `list`, asked for when nothing else is waited for; what it comes with is
    /// dropped once the request is on its way.
    pub(crate) fn commit<L>(
        &mut self,
        client: ClientRef<'_>,
        list: impl FnOnce() -> Result<(TopicPartitionList, L), CommitError>,
        timeout: Duration,
    ) -> Result<Vec<CommitRefusal>, CommitError> {
        let queue = self.queue.get_or_insert_with(|| client.new_queue());
        if self.unanswered {
            if queue.wait(COMMIT_EVENT, timeout).is_none() {
                return Err(again(sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT));
            }
            self.unanswered = false;
        }
        let (list, lock) = list()?;
        if list.count() == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: client and queue are alive; librdkafka copies the list before it returns; no callback is given, so the
        // answer comes to the queue as an event.
        let err = unsafe { sys::rd_kafka_commit_queue(client.ptr(), list.ptr(), queue.ptr(), None, ptr::null_mut()) };
        drop(lock);
        let sent = Code(err as i32);
        if sent.is_error() {
            return verdict(sent, &[], client.assignment_lost());
        }
        self.unanswered = true;
        let Some(answer) = queue.wait(COMMIT_EVENT, timeout) else {
            return Err(again(sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT));
        };
        self.unanswered = false;
        // SAFETY: the list belongs to the answer, which is alive until the end of this function.
        let rows = unsafe { list::rows(sys::rd_kafka_event_topic_partition_list(answer.ptr())) };
        verdict(answer.error().0, &rows, client.assignment_lost())
    }
}

fn again(err: sys::rd_kafka_resp_err_t) -> CommitError {
    CommitError::Again { code: Code(err as i32).name() }
}

/// What an answer means. librdkafka names the last partition's error as that of the whole request even if only some
/// partitions were refused; a failed request leaves the partitions without errors of their own.
fn verdict(whole: Code, rows: &[list::Row], lost: bool) -> Result<Vec<CommitRefusal>, CommitError> {
    let failed: Vec<_> = rows.iter().filter(|row| classify(row.err, lost).is_some()).collect();
    let alike = failed.windows(2).all(|pair| pair[0].err == pair[1].err);
    if failed.is_empty() || (failed.len() == rows.len() && alike) {
        let code = failed.first().map_or(whole, |row| row.err);
        return match classify(code, lost) {
            Some(error) => Err(error),
            None => Ok(Vec::new()),
        };
    }
    Ok(failed
        .into_iter()
        .filter_map(|row| Some(CommitRefusal { id: row.id.clone(), error: classify(row.err, lost)? }))
        .collect())
}

/// What a code means for who commits; None is success.
///
/// `ILLEGAL_GENERATION` has two meanings. Outside a rebalance librdkafka takes it as the loss of everything, and says so
/// (`lost`) before the answer arrives. During one, a cooperative member still holds what it does not give up and commits
/// again under the new number; if it does not, the revoke that ends the generation is on its way. To close the generation
/// in the second case would leave a partition held and unread.
fn classify(code: Code, lost: bool) -> Option<CommitError> {
    use rdkafka::bindings::rd_kafka_resp_err_t as E;
    let any = |errors: &[E]| errors.iter().any(|err| code.is(*err));
    if !code.is_error() || code.is(E::RD_KAFKA_RESP_ERR__NO_OFFSET) {
        return None;
    }
    let name = code.name();
    let closed = any(&[
        E::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
        E::RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST,
        E::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
        E::RD_KAFKA_RESP_ERR_FENCED_MEMBER_EPOCH,
        E::RD_KAFKA_RESP_ERR__FENCED,
        E::RD_KAFKA_RESP_ERR__FATAL,
        E::RD_KAFKA_RESP_ERR__DESTROY,
    ]);
    let again = any(&[
        E::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
        E::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
        E::RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH,
    ]);
    Some(if closed || (again && lost) {
        CommitError::Closed { code: name }
    } else if again || code.is_transient() {
        CommitError::Again { code: name }
    } else {
        CommitError::Other { code: name, text: code.text() }
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rdkafka::bindings::rd_kafka_resp_err_t as E;
    use rdkafka::config::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};

    use super::*;
    use crate::mock::MockBroker;

    fn row(partition: i32, err: E) -> list::Row {
        list::Row { id: TopicPartition::new("t", partition), offset: 1, note: String::new(), err: Code(err as i32) }
    }

    fn code(err: E) -> Code {
        Code(err as i32)
    }

    #[test]
    fn nothing_to_commit_is_success() {
        assert_eq!(verdict(code(E::RD_KAFKA_RESP_ERR__NO_OFFSET), &[], false), Ok(vec![]));
    }

    #[test]
    fn a_failed_request_is_not_success_though_its_partitions_carry_no_error() {
        let rows = [row(0, E::RD_KAFKA_RESP_ERR_NO_ERROR), row(1, E::RD_KAFKA_RESP_ERR_NO_ERROR)];
        let said = verdict(code(E::RD_KAFKA_RESP_ERR__TRANSPORT), &rows, false);
        assert_eq!(said, Err(CommitError::Again { code: "_TRANSPORT".into() }));
    }

    #[test]
    fn one_refused_partition_does_not_hide_that_the_others_were_committed() {
        let rows = [row(0, E::RD_KAFKA_RESP_ERR_NO_ERROR), row(1, E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)];
        let said = verdict(code(E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), &rows, false).unwrap();
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].id.partition, 1);
        assert!(matches!(said[0].error, CommitError::Other { .. }));
    }

    #[test]
    fn a_rebalance_asks_for_another_try_and_a_lost_assignment_ends_the_generation() {
        for err in [E::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, E::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION] {
            let rows = [row(0, err), row(1, err)];
            assert!(matches!(verdict(code(err), &rows, false), Err(CommitError::Again { .. })), "{err:?}");
            assert!(matches!(verdict(code(err), &rows, true), Err(CommitError::Closed { .. })), "{err:?}");
        }
        let gone = E::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
        assert!(matches!(verdict(code(gone), &[row(0, gone)], false), Err(CommitError::Closed { .. })));
    }

    #[test]
    fn an_error_number_of_a_newer_broker_is_named_and_not_retried_for_ever() {
        let said = verdict(Code(9999), &[], false);
        assert!(matches!(said, Err(CommitError::Other { code, .. }) if code == "ERR_9999"));
    }

    #[test]
    fn a_commit_that_was_given_up_on_is_answered_before_the_next_is_sent() {
        let broker = MockBroker::start(1).unwrap();
        broker.create_topic("t", 1).unwrap();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap())
            .set("group.id", "g")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        // SAFETY: the consumer lives to the end of this function.
        let client = unsafe { ClientRef::new(consumer.client().native_ptr()) }.unwrap();
        let mut lane = CommitLane::new();
        let asked_for = Cell::new(0);
        let mut commit = |offset, timeout| {
            let list = || {
                asked_for.set(offset);
                Ok((list::list_of([(&TopicPartition::new("t", 0), offset)]).unwrap(), ()))
            };
            lane.commit(client, list, timeout)
        };
        let committed = || {
            let list = list::list_of([(&TopicPartition::new("t", 0), 0)]).unwrap();
            let list = consumer.committed_offsets(list, Duration::from_secs(20)).unwrap();
            list::rows_of(&list)[0].offset
        };
        assert_eq!(commit(10, Duration::from_secs(20)), Ok(vec![]));
        broker.round_trip(None, Duration::from_secs(3)).unwrap();
        let late = Err(CommitError::Again { code: "_TIMED_OUT".into() });
        assert_eq!(commit(20, Duration::from_millis(100)), late);
        assert_eq!(commit(30, Duration::from_millis(100)), late, "20 is not answered yet");
        assert_eq!(asked_for.get(), 20, "what is to be committed is looked at when it can be sent");
        broker.round_trip(None, Duration::ZERO).unwrap();
        assert_eq!(committed(), 20, "30 was not sent: the two could change places");
        assert_eq!(commit(40, Duration::from_secs(20)), Ok(vec![]));
        assert_eq!(committed(), 40);
        assert!(lane.close(Instant::now()), "all were answered");
    }
}
