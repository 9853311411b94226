//! What the member, its callbacks and its handles share: the partitions held, events, and the gate that ends all calls when
//! the member closes.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use rdkafka::bindings as sys;

use super::event::MemberEvent;
use super::health::Health;
use super::janitor::Janitor;
use crate::TopicPartition;
use crate::commit::CommitLane;
use crate::error::{ClientError, Code};
use crate::list::{self, list_of};
use crate::log::Limit;
use crate::native::ClientRef;
use crate::offsets::INVALID;
use crate::queue::{Positions, Slot};
use crate::settings::MemberSettings;

/// Events kept for the next poll; more of them say nothing new.
const MAX_WAITING_EVENTS: usize = 256;

/// The other half of what a member knows of a partition it holds.
pub(super) struct Live {
    pub(super) slot: Arc<Slot>,
    pub(super) topic_id: Option<String>,
}

/// A partition that is held and cannot be read yet: nobody leads it, its leader does not answer, or it may not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Since when.
    pub since: Instant,
    /// What was answered last.
    pub reason: String,
}

/// What the member, its callbacks and its handles share. Keeps the consumer alive for nobody.
pub(super) struct Shared {
    pub(super) settings: MemberSettings,
    /// The gate: calls hold it for reading, closing takes it for writing.
    client: RwLock<Option<ClientRef<'static>>>,
    pub(super) live: Mutex<HashMap<TopicPartition, Live>>,
    /// Partitions that are held and not with the handler yet.
    pub(super) waiting: Mutex<BTreeMap<TopicPartition, Waiting>>,
    pub(super) janitor: Mutex<Janitor>,
    pub(super) lane: Mutex<CommitLane>,
    events: Mutex<VecDeque<MemberEvent>>,
    reason: Mutex<Option<String>>,
    /// What the brokers said of topics.
    pub(super) health: Mutex<Health>,
    pub(super) log: Limit,
}

impl Shared {
    pub(super) fn new(settings: MemberSettings) -> Self {
        Self {
            settings,
            client: RwLock::new(None),
            live: Mutex::default(),
            waiting: Mutex::default(),
            janitor: Mutex::default(),
            lane: Mutex::new(CommitLane::new()),
            events: Mutex::default(),
            reason: Mutex::default(),
            health: Mutex::default(),
            log: Limit::new(),
        }
    }

    /// Opens the gate. The client must not end before [`Shared::shut`].
    pub(super) fn open(&self, client: ClientRef<'static>) {
        *self.client.write() = Some(client);
    }

    /// Closes the gate. Waits for calls under way.
    pub(super) fn shut(&self) {
        *self.client.write() = None;
    }

    /// Gives the commit lane's queue back, after the gate is shut. A commit that was given up on gets until `deadline`; false
    /// if it was not answered even then.
    pub(super) fn settle_commits(&self, deadline: Instant) -> bool {
        self.lane.lock().close(deadline)
    }

    pub(super) fn client(&self) -> Result<Open<'_>, ClientError> {
        let gate = self.client.read();
        match *gate {
            Some(client) => Ok(Open { client, _gate: gate }),
            None => Err(ClientError::Closed),
        }
    }

    pub(super) fn tell(&self, event: MemberEvent) {
        let mut events = self.events.lock();
        if events.len() < MAX_WAITING_EVENTS {
            events.push_back(event);
        }
    }

    pub(super) fn next_event(&self) -> Option<MemberEvent> {
        self.events.lock().pop_front()
    }

    pub(super) fn note_reason(&self, text: &str) {
        *self.reason.lock() = Some(text.to_owned());
    }

    pub(super) fn take_reason(&self) -> Option<String> {
        self.reason.lock().take()
    }

    /// The error that ended the client, if one did.
    pub(super) fn fatal_error(&self) -> Option<(Code, String)> {
        self.client().ok()?.client().fatal()
    }

    pub(super) fn has_partitions(&self) -> bool {
        !self.live.lock().is_empty()
    }

    /// Topics of the partitions held, with the id each had when it came.
    pub(super) fn live_topics(&self) -> Vec<(Arc<str>, Option<String>)> {
        let live = self.live.lock();
        let topics: BTreeSet<_> =
            live.values().map(|live| (live.slot.id.topic.clone(), live.topic_id.clone())).collect();
        topics.into_iter().collect()
    }

    /// Topics that are read by their names, and those of the partitions held.
    pub(super) fn read_topics(&self) -> Vec<Arc<str>> {
        let named =
            self.settings.topics.iter().filter(|topic| !topic.starts_with('^')).map(|topic| Arc::from(&**topic));
        let held = self.live_topics().into_iter().map(|(topic, _)| topic);
        named.chain(held).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Takes the partitions out and ends their queues, which the janitor empties later.
    pub(super) fn retire(&self, ids: &[TopicPartition]) {
        let gone: Vec<_> = {
            let mut live = self.live.lock();
            ids.iter().filter_map(|id| live.remove(id)).collect()
        };
        let now = Instant::now();
        for live in gone {
            if let Some(source) = live.slot.retire() {
                self.janitor.lock().keep(live.slot.id.clone(), source, now);
            }
        }
    }

    /// Drains and drops the retired queues whose time has come. On the member's thread.
    pub(super) fn sweep(&self, now: Instant) {
        let due = self.janitor.lock().due(now);
        for mut retired in due {
            let back = self.live.lock().contains_key(&retired.id);
            if !back {
                retired.source.drain_outdated();
            }
        }
    }

    /// Drops all of them: the client is about to be destroyed.
    pub(super) fn sweep_all(&self) {
        self.janitor.lock().clear();
    }
}

impl Positions for Shared {
    fn position(&self, id: &TopicPartition) -> Option<i64> {
        // Never waits: the caller holds a slot's lock, and a seek holds the gate and waits for that lock.
        let gate = self.client.try_read()?;
        let client = (*gate)?;
        let list = list_of([(id, INVALID)]).ok()?;
        // SAFETY: the gate is open, so the client is alive; the call fills in the list's offsets.
        let err = unsafe { sys::rd_kafka_position(client.ptr(), list.ptr()) };
        let row = list::rows_of(&list).pop()?;
        (err as i32 == 0 && !row.err.is_error() && row.offset >= 0).then_some(row.offset)
    }
}

/// The client, alive as long as this is held.
pub(super) struct Open<'a> {
    client: ClientRef<'static>,
    _gate: RwLockReadGuard<'a, Option<ClientRef<'static>>>,
}

impl Open<'_> {
    pub(super) fn client(&self) -> ClientRef<'_> {
        self.client
    }
}
