//! What a member shares with other threads: commits, seeks, positions; and the gate that ends them all when it closes.

use super::{Live, MemberEvent, RebalanceHandler};
use crate::TopicPartition;
use crate::commit::{COMMIT_TIMEOUT, CommitEntry, CommitLane, NOTE_LIMIT_BYTES};
use crate::error::{ClientError, Code, CommitError, CommitRefusal};
use crate::list::{self, list_of};
use crate::log::Limit;
use crate::member::janitor::Janitor;
use crate::member::start;
use crate::queue::{Positions, lock};
use crate::settings::MemberSettings;
use rdkafka::bindings as sys;
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::{CStr, CString};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};
use wasmill_core::NextOffset;

/// How long a seek waits for librdkafka's answer.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it tries again for a partition whose assignment is about to take effect.
const SEEK_PATIENCE: Duration = Duration::from_secs(2);
/// Events kept for the next poll; more of them say nothing new.
const EVENTS: usize = 256;

/// The client while it may be used.
#[derive(Copy, Clone)]
pub(super) struct Client(pub(super) NonNull<sys::rd_kafka_t>);

// SAFETY: librdkafka's clients may be used from any thread; the gate sees to it that it is alive.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

/// What the member, its callbacks and its handles share. Keeps the consumer alive for nobody.
pub(super) struct Shared {
    pub(super) settings: MemberSettings,
    /// None once the member is leaving for good: a callback that comes later finds nobody to tell, and a late assignment is
    /// not handed out.
    handler: Mutex<Option<Arc<dyn RebalanceHandler>>>,
    /// The gate: calls hold it for reading, closing takes it for writing.
    client: RwLock<Option<Client>>,
    pub(super) live: Mutex<HashMap<TopicPartition, Live>>,
    pub(super) janitor: Mutex<Janitor>,
    lane: Mutex<CommitLane>,
    events: Mutex<VecDeque<MemberEvent>>,
    reason: Mutex<Option<String>>,
    pub(super) log: Limit,
}

impl Shared {
    pub(super) fn new(settings: MemberSettings, handler: Arc<dyn RebalanceHandler>) -> Self {
        Self {
            settings,
            handler: Mutex::new(Some(handler)),
            client: RwLock::new(None),
            live: Mutex::default(),
            janitor: Mutex::default(),
            lane: Mutex::new(CommitLane::new()),
            events: Mutex::default(),
            reason: Mutex::default(),
            log: Limit::new(),
        }
    }

    pub(super) fn open(&self, client: *mut sys::rd_kafka_t) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = NonNull::new(client).map(Client);
    }

    /// Closes the gate. Waits for calls under way.
    pub(super) fn shut(&self) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Gives the commit lane's queue back, after the gate is shut. A commit that was given up on gets until `deadline`; false
    /// if it was not answered even then.
    pub(super) fn settle_commits(&self, deadline: Instant) -> bool {
        lock(&self.lane).close(deadline)
    }

    /// Who is told of partitions; None once the member is leaving for good.
    pub(super) fn handler(&self) -> Option<Arc<dyn RebalanceHandler>> {
        lock(&self.handler).clone()
    }

    pub(super) fn let_go_of_handler(&self) {
        // Dropped outside the lock.
        let _handler = lock(&self.handler).take();
    }

    fn client(&self) -> Result<Open<'_>, ClientError> {
        let gate = self.client.read().unwrap_or_else(PoisonError::into_inner);
        match *gate {
            Some(client) => Ok(Open { client, _gate: gate }),
            None => Err(ClientError::Closed),
        }
    }

    pub(super) fn tell(&self, event: MemberEvent) {
        let mut events = lock(&self.events);
        if events.len() < EVENTS {
            events.push_back(event);
        }
    }

    pub(super) fn next_event(&self) -> Option<MemberEvent> {
        lock(&self.events).pop_front()
    }

    pub(super) fn note_reason(&self, text: &str) {
        *lock(&self.reason) = Some(text.to_owned());
    }

    pub(super) fn take_reason(&self) -> Option<String> {
        lock(&self.reason).take()
    }

    /// The error that ended the client, if one did.
    pub(super) fn fatal_error(&self) -> Option<(Code, String)> {
        let open = self.client().ok()?;
        let mut text = [0; 512];
        // SAFETY: the client is alive while `open` is; the text is cut to the buffer and NUL-terminated.
        let (code, text) = unsafe {
            let err = sys::rd_kafka_fatal_error(open.client.0.as_ptr(), text.as_mut_ptr(), text.len());
            (Code(err as i32), CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned())
        };
        code.is_error().then_some((code, text))
    }

    pub(super) fn has_partitions(&self) -> bool {
        !lock(&self.live).is_empty()
    }

    /// Topics of the partitions held, with the id each had when it came.
    pub(super) fn live_topics(&self) -> Vec<(Arc<str>, Option<String>)> {
        let live = lock(&self.live);
        let topics: BTreeSet<_> =
            live.values().map(|live| (live.slot.id.topic.clone(), live.topic_id.clone())).collect();
        topics.into_iter().collect()
    }

    /// Topics that are read by their names, and those of the partitions held.
    pub(super) fn watched_topics(&self) -> Vec<Arc<str>> {
        let named =
            self.settings.topics.iter().filter(|topic| !topic.starts_with('^')).map(|topic| Arc::from(&**topic));
        let held = self.live_topics().into_iter().map(|(topic, _)| topic);
        named.chain(held).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Positions for Shared {
    fn position(&self, id: &TopicPartition) -> Option<i64> {
        // Never waits: the caller holds a slot's lock, and a seek holds the gate and waits for that lock.
        let gate = self.client.try_read().ok()?;
        let client = (*gate)?;
        let list = list_of([(id, sys_invalid())]).ok()?;
        // SAFETY: the gate is open, so the client is alive; the call fills in the list's offsets.
        let err = unsafe { sys::rd_kafka_position(client.0.as_ptr(), list.ptr()) };
        let row = list::rows_of(&list).pop()?;
        (err as i32 == 0 && !row.err.is_error() && row.offset >= 0).then_some(row.offset)
    }
}

fn sys_invalid() -> i64 {
    i64::from(sys::RD_KAFKA_OFFSET_INVALID)
}

/// The client, alive as long as this is held.
struct Open<'a> {
    client: Client,
    _gate: RwLockReadGuard<'a, Option<Client>>,
}

/// What the group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The partition.
    pub id: TopicPartition,
    /// The offset to go on from; None if nothing was committed.
    pub next: Option<NextOffset>,
    /// The metadata it was committed with, or "".
    pub note: String,
}

/// What other threads do with a member. Cheap to clone; keeps nothing alive.
#[derive(Clone)]
pub struct MemberHandle {
    shared: Arc<Shared>,
}

impl MemberHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Commits and waits for the answer, at most about ten seconds: call it on a thread that may wait. One commit of a
    /// member is under way at a time. `Ok` with an empty list: all were taken.
    ///
    /// # Errors
    /// When none was taken; the error says what to do. Single partitions that were refused are in the list.
    pub fn commit(&self, entries: &[CommitEntry]) -> Result<Vec<CommitRefusal>, CommitError> {
        let other = |error: ClientError| CommitError::Other { code: "_INVALID_ARG".into(), text: error.to_string() };
        let mut offsets = TopicPartitionList::with_capacity(entries.len());
        for entry in entries {
            let founding = lock(&self.shared.live).get(&entry.id).map(|live| live.slot.founding);
            let note = start::seal_note(&entry.note, founding, NOTE_LIMIT_BYTES);
            list::add(&mut offsets, &entry.id, entry.next.get(), &note).map_err(other)?;
        }
        let mut lane = lock(&self.shared.lane);
        let open = self.shared.client().map_err(|_| CommitError::Closed { code: "_DESTROY".into() })?;
        // SAFETY: the gate is open, so the client is alive; `shut` closes the lane once the gate is closed, and the
        // client is destroyed after that.
        unsafe { lane.commit(open.client.0, &offsets, COMMIT_TIMEOUT) }
    }

    /// Moves a partition. After `Ok` its queue yields `to` and what follows, and nothing older; a problem it had is over.
    ///
    /// # Errors
    /// `Closed` if the member or the partition is gone. After a transient error the partition may stand anywhere: seek
    /// again before going on. `_STATE` means that librdkafka has given the partition up (out of range): make a new member.
    pub fn seek(&self, id: &TopicPartition, to: NextOffset) -> Result<(), ClientError> {
        let open = self.shared.client()?;
        let slot = lock(&self.shared.live).get(id).map(|live| live.slot.clone()).ok_or(ClientError::Closed)?;
        // From here on a take finds nothing, so none is under way that could move librdkafka's position back to where it
        // was, or hand out what it took before.
        let mut state = slot.lock();
        if state.is_retired() {
            return Err(ClientError::Closed);
        }
        let patience = Instant::now() + SEEK_PATIENCE;
        loop {
            let code = seek_once(open.client, id, to)?;
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

    /// The end of a partition as of the last fetch (its high watermark); makes no request. None before the first.
    pub fn end_offset(&self, id: &TopicPartition) -> Option<i64> {
        let open = self.shared.client().ok()?;
        let topic = CString::new(&*id.topic).ok()?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: the gate is open, so the client is alive; the call fills in both numbers.
        let err = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                open.client.0.as_ptr(),
                topic.as_ptr(),
                id.partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (err as i32 == 0 && high >= 0).then_some(high)
    }

    /// What the group has committed for these partitions: the offset and its note.
    ///
    /// # Errors
    /// The request failed or was not answered within `timeout`.
    pub fn fetch_committed(&self, ids: &[TopicPartition], timeout: Duration) -> Result<Vec<Committed>, ClientError> {
        let open = self.shared.client()?;
        // SAFETY: the gate is open, so the client is alive.
        let rows = unsafe { start::committed(open.client.0, ids, timeout) }?;
        rows.into_iter()
            .map(|row| {
                if row.err.is_error() {
                    return Err(ClientError::request(format!("committed offset of {}", row.id), row.err));
                }
                let (note, _) = start::open_note(&row.note);
                let next = (row.offset >= 0).then(|| NextOffset::at(row.offset));
                Ok(Committed { id: row.id, next, note: note.to_owned() })
            })
            .collect()
    }

    /// The lowest and the highest position of a partition, asked of the broker.
    ///
    /// # Errors
    /// The request failed or was not answered within `timeout`.
    pub fn fetch_watermarks(&self, id: &TopicPartition, timeout: Duration) -> Result<(i64, i64), ClientError> {
        let open = self.shared.client()?;
        let ends = [start::EARLIEST, start::LATEST].map(|end| {
            // SAFETY: the gate is open, so the client is alive.
            let rows = unsafe { start::offsets_at(open.client.0, [(id, end)], timeout) }?;
            let row = rows.into_iter().next().ok_or(ClientError::Closed)?;
            if row.err.is_error() {
                return Err(ClientError::request(format!("watermarks of {id}"), row.err));
            }
            Ok(row.offset)
        });
        let [low, high] = ends;
        Ok((low?, high?))
    }

    /// The id that the coordinator gave this member, as [`GroupMember::id`](crate::admin::GroupMember) has it. None before it
    /// joined, or when it has left.
    pub fn member_id(&self) -> Option<String> {
        let open = self.shared.client().ok()?;
        // SAFETY: the gate is open, so the client is alive; `rd_kafka_memberid` waits for an answer of the client's own thread,
        // which runs no callback of ours. It answers NULL or a string that belongs to us until it is given back, once.
        let id = unsafe {
            let text = sys::rd_kafka_memberid(open.client.0.as_ptr());
            if text.is_null() {
                return None;
            }
            let id = CStr::from_ptr(text).to_string_lossy().into_owned();
            sys::rd_kafka_mem_free(open.client.0.as_ptr(), text.cast());
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
        let open = self.shared.client()?;
        // Below zero are stand-ins, and no message is that old.
        // SAFETY: the gate is open, so the client is alive.
        let rows = unsafe { start::offsets_at(open.client.0, [(id, ms.max(0))], timeout) }?;
        let row = rows.into_iter().next().ok_or(ClientError::Closed)?;
        if row.err.is_error() {
            return Err(ClientError::request(format!("offset of {id} at a time"), row.err));
        }
        Ok((row.offset >= 0).then_some(row.offset))
    }

    /// The partitions held now.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        lock(&self.shared.live).keys().cloned().collect()
    }
}

impl std::fmt::Debug for MemberHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberHandle").field("group", &self.shared.settings.group).finish_non_exhaustive()
    }
}

fn seek_once(client: Client, id: &TopicPartition, to: NextOffset) -> Result<Code, ClientError> {
    let list = list_of([(id, to.get())])?;
    // SAFETY: the client is alive, since the caller holds the gate; the list lives through the call, which fills in its
    // errors. The answer is NULL or an error of ours to destroy.
    let whole = unsafe {
        let error = sys::rd_kafka_seek_partitions(client.0.as_ptr(), list.ptr(), SEEK_TIMEOUT.as_millis() as i32);
        take_error(error)
    };
    if whole.is_error() {
        return Ok(whole);
    }
    Ok(list::rows_of(&list).pop().map_or(Code::NONE, |row| row.err))
}

/// The code of an error of librdkafka's, which is destroyed; NULL is none.
///
/// # Safety
/// `error` is NULL or belongs to the caller.
pub(super) unsafe fn take_error(error: *mut sys::rd_kafka_error_t) -> Code {
    if error.is_null() {
        return Code::NONE;
    }
    // SAFETY: not NULL and the caller's, destroyed once.
    unsafe {
        let code = Code(sys::rd_kafka_error_code(error) as i32);
        sys::rd_kafka_error_destroy(error);
        code
    }
}
