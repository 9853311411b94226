//! What other threads do with a member: commits, seeks, positions.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::topic_partition_list::TopicPartitionList;
use wasmill_core::NextOffset;

use super::health::TopicHealth;
use super::note;
use super::shared::{Shared, Waiting};
use crate::TopicPartition;
use crate::commit::{COMMIT_TIMEOUT, CommitEntry, NOTE_LIMIT_BYTES};
use crate::error::{ClientError, Code, CommitError, CommitRefusal, text_of};
use crate::list::{self, list_of};
use crate::native::{ClientRef, millis};
use crate::offsets;

/// How long a seek waits for librdkafka's answer.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it tries again for a partition whose assignment is about to take effect.
const SEEK_RETRY_TIMEOUT: Duration = Duration::from_secs(2);

/// What other threads do with a member. Cheap to clone; keeps nothing alive.
#[derive(Clone)]
pub struct MemberHandle {
    shared: Arc<Shared>,
}

impl MemberHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Commits those of the entries, by place, that are still `held` when the request goes out, and waits for the answer, at
    /// most about ten seconds: call it on a thread that may wait. The others are refused with `Closed`. One commit of a member
    /// is under way at a time. `Ok` with an empty list: all were taken.
    ///
    /// No partition is parted with between the question whether it is held and the request.
    /// The broker looks at the member and its generation, not at whose a partition is, and librdkafka fills in the generation
    /// of the moment. A commit that waited for the answer to an earlier one, while the partitions were lost and the member
    /// joined again, would be taken, over whatever the next owner has committed.
    ///
    /// # Errors
    /// When none was taken; the error says what to do. Single partitions that were refused are in the list.
    pub fn commit(
        &self,
        entries: &[CommitEntry],
        held: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<CommitRefusal>, CommitError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let mut refused = Vec::new();
        let list = || {
            // `Rebalancer::revoke` takes this lock between the end of the partitions and the change of the assignment: the
            // request is in librdkafka's hands before that, and goes out in the old generation.
            let live = self.shared.live.lock();
            let mut offsets = TopicPartitionList::with_capacity(entries.len());
            for (place, entry) in entries.iter().enumerate() {
                if !held(place) {
                    let error = CommitError::Closed { code: "_ASSIGNMENT_LOST".into() };
                    refused.push(CommitRefusal { id: entry.id.clone(), error });
                    continue;
                }
                let founding = live.get(&entry.id).map(|live| live.slot.founding);
                let note = note::seal(&entry.note, founding, NOTE_LIMIT_BYTES);
                list::add(&mut offsets, &entry.id, entry.next.get(), &note)
                    .map_err(|error| CommitError::Other { code: "_INVALID_ARG".into(), text: error.to_string() })?;
            }
            Ok((offsets, live))
        };
        let mut lane = self.shared.lane.lock();
        let open = self.shared.client().map_err(|_| CommitError::Closed { code: "_DESTROY".into() })?;
        let answer = lane.commit(open.client(), list, COMMIT_TIMEOUT);
        answer.map(|answer| refused.into_iter().chain(answer).collect())
    }

    /// Moves a partition. After `Ok` its queue yields `to` and what follows, and nothing older; a problem it had is over.
    ///
    /// # Errors
    /// `Closed` if the member or the partition is gone. After a transient error the partition may stand anywhere: seek
    /// again before going on. `_STATE` means that librdkafka has given the partition up (out of range): make a new member.
    pub fn seek(&self, id: &TopicPartition, to: NextOffset) -> Result<(), ClientError> {
        let open = self.shared.client()?;
        let slot = self.shared.live.lock().get(id).map(|live| live.slot.clone()).ok_or(ClientError::Closed)?;
        // From here on a take finds nothing, so none is under way that could move librdkafka's position back to where it
        // was, or hand out what it took before.
        let mut state = slot.lock();
        if state.is_retired() {
            return Err(ClientError::Closed);
        }
        let patience = Instant::now() + SEEK_RETRY_TIMEOUT;
        loop {
            let code = seek_once(open.client(), id, to)?;
            let settling = code.is(sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__STATE)
                || code.is(sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS);
            if !code.is_error() {
                break;
            }
            if !settling || Instant::now() >= patience {
                return Err(ClientError::request(format!("seek of {id} to {to}"), code));
            }
            // An assignment takes effect a moment after the callback; librdkafka has no event for it.
            thread::sleep(Duration::from_millis(10));
        }
        let wake = state.moved(to.get());
        drop(state);
        if let Some(wake) = wake {
            // What came while takes were held off made its event for nobody.
            wake();
        }
        Ok(())
    }

    /// For how long no broker has answered what the member asks every few seconds. `None`: none ever has, which a broker may
    /// do that does not know the question; then whether the member is in the group says more.
    pub fn brokers_silent_for(&self) -> Option<Duration> {
        self.shared.health.lock().silent_for(Instant::now())
    }

    /// Partitions that are assigned and cannot be read yet, and why; it is tried again by itself.
    pub fn waiting(&self) -> Vec<(TopicPartition, Waiting)> {
        self.shared.waiting.lock().iter().map(|(id, waiting)| (id.clone(), waiting.clone())).collect()
    }

    /// The topics that are read or watched, by name, as the brokers last described them.
    pub fn topics(&self) -> BTreeMap<String, TopicHealth> {
        self.shared.health.lock().topics()
    }

    /// The end of a partition as of the last fetch (its high watermark); makes no request. None before the first.
    pub fn end_offset(&self, id: &TopicPartition) -> Option<i64> {
        let open = self.shared.client().ok()?;
        let topic = CString::new(&*id.topic).ok()?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: the gate is open, so the client is alive; the call fills in both numbers.
        let err = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                open.client().ptr(),
                topic.as_ptr(),
                id.partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (err as i32 == 0 && high >= 0).then_some(high)
    }

    /// The lowest and the highest position of a partition, asked of the broker.
    ///
    /// # Errors
    /// The request failed or was not answered within `timeout`.
    pub fn fetch_watermarks(&self, id: &TopicPartition, timeout: Duration) -> Result<(i64, i64), ClientError> {
        let what = || format!("watermarks of {id}");
        let low = self.offset_of(id, offsets::EARLIEST, timeout, what)?;
        Ok((low, self.offset_of(id, offsets::LATEST, timeout, what)?))
    }

    /// The id that the coordinator gave this member, as [`GroupMember::id`](crate::admin::GroupMember) has it. None before it
    /// joined, or when it has left.
    pub fn member_id(&self) -> Option<String> {
        let open = self.shared.client().ok()?;
        // SAFETY: the gate is open, so the client is alive; `rd_kafka_memberid` waits for an answer of the client's own thread,
        // which runs no callback of ours. It answers NULL or a string that belongs to us until it is given back, once.
        let id = unsafe {
            let text = sys::rd_kafka_memberid(open.client().ptr());
            let id = text_of(text);
            sys::rd_kafka_mem_free(open.client().ptr(), text.cast());
            id
        };
        Some(id).filter(|id| !id.is_empty())
    }

    /// The first offset of a partition with a message of this time or later, in milliseconds since 1970, asked of the
    /// broker. None if there is no such message.
    ///
    /// # Errors
    /// The request failed or was not answered within `timeout`.
    pub fn offset_at(&self, id: &TopicPartition, ms: i64, timeout: Duration) -> Result<Option<i64>, ClientError> {
        // Below zero are stand-ins, and no message is that old.
        let offset = self.offset_of(id, ms.max(0), timeout, || format!("offset of {id} at a time"))?;
        Ok((offset >= 0).then_some(offset))
    }

    /// The offset at a time or a stand-in for one; below zero if there is none.
    fn offset_of(
        &self,
        id: &TopicPartition,
        at: i64,
        timeout: Duration,
        what: impl FnOnce() -> String,
    ) -> Result<i64, ClientError> {
        let open = self.shared.client()?;
        let rows = offsets::offsets_at(open.client(), [(id, at)], timeout)?;
        let row = rows.into_iter().next().ok_or(ClientError::Closed)?;
        if row.err.is_error() { Err(ClientError::request(what(), row.err)) } else { Ok(row.offset) }
    }

    /// The partitions held now.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.shared.live.lock().keys().cloned().collect()
    }
}

impl std::fmt::Debug for MemberHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberHandle").field("group", &self.shared.settings.group).finish_non_exhaustive()
    }
}

fn seek_once(client: ClientRef<'_>, id: &TopicPartition, to: NextOffset) -> Result<Code, ClientError> {
    let list = list_of([(id, to.get())])?;
    // SAFETY: the client is alive, since the caller holds the gate; the list lives through the call, which fills in its
    // errors. The answer is NULL or an error of ours to destroy.
    let whole = unsafe { Code::take(sys::rd_kafka_seek_partitions(client.ptr(), list.ptr(), millis(SEEK_TIMEOUT))) };
    if whole.is_error() {
        return Ok(whole);
    }
    Ok(list::rows_of(&list).pop().map_or(Code::NONE, |row| row.err))
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::Consumer;

    use super::*;
    use crate::member::{AssignedPartition, Member, RebalanceHandler};
    use crate::mock::MockBroker;
    use crate::settings::{ClientSettings, MemberSettings};

    struct Holds;

    impl RebalanceHandler for Holds {
        fn assigned(&self, _: &MemberHandle, _: Vec<AssignedPartition>) {}
        fn revoked(&self, _: &MemberHandle, _: &[TopicPartition], _: bool) {}
    }

    #[test]
    fn what_is_not_held_any_more_is_refused_and_the_rest_is_committed() {
        let broker = MockBroker::start(1).unwrap();
        broker.create_topic("orders", 2).unwrap();
        let client = ClientSettings { bootstrap: broker.bootstrap().into(), ..ClientSettings::default() };
        let settings =
            MemberSettings { client, group: "g".into(), topics: vec!["orders".into()], ..MemberSettings::default() };
        let member = Member::join(&settings, Arc::new(Holds)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !member.shared.has_partitions() {
            assert!(Instant::now() < deadline, "not in time");
            member.poll(Duration::from_millis(10));
        }
        let ids = [0, 1].map(|number| TopicPartition::new("orders", number));
        let entries = ids.clone().map(|id| CommitEntry { id, next: NextOffset::at(7), note: String::new() });
        let gone = CommitRefusal { id: ids[0].clone(), error: CommitError::Closed { code: "_ASSIGNMENT_LOST".into() } };
        let handle = member.handle();
        assert_eq!(handle.commit(&entries, &|place| place == 1), Ok(vec![gone]));
        let asked = list_of(ids.iter().map(|id| (id, 0))).unwrap();
        let consumer = member.consumer.as_ref().unwrap();
        let committed = list::rows_of(&consumer.committed_offsets(asked, Duration::from_secs(20)).unwrap());
        let of = |number: i32| committed.iter().find(|row| row.id.partition == number).map(|row| row.offset);
        assert!(of(0).is_some_and(|offset| offset < 0), "{committed:?}");
        assert_eq!(of(1), Some(7));
        member.close();
    }
}
