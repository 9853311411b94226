//! What every thread of a pipeline may look at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use wasmill_config as config;
use wasmill_core::{Batch, Breaker, Emitted, Generation, GivenUp, NextOffset, Opened};
use wasmill_kafka::TopicPartition;

use crate::conditions::Conditions;
use crate::deployed::{Deployed, Handover};
use crate::failures::Failures;
use crate::publisher::Publisher;
use crate::unconfirmed::Unconfirmed;
use crate::version::Version;
use crate::versions::{Overseer, Ruling};

/// What the control loop of a pipeline hears of.
#[derive(Debug)]
pub enum Event {
    /// A member's client is of no use any more; it wants a new one.
    MemberFailed {
        /// Which member.
        member: usize,
        /// librdkafka's words.
        reason: String,
    },
    /// A member is to join again with a new client although nothing is wrong with it: an operator wants to go on with a
    /// partition that this client has given up.
    MemberRenewed {
        /// Which member.
        member: usize,
        /// For the log.
        reason: String,
    },
    /// The coordinator fenced a static member: another process has its identity. Never fought over.
    MemberFenced {
        /// Which member.
        member: usize,
        /// librdkafka's words.
        reason: String,
    },
    /// The producer can send nothing any more.
    ProducerFailed {
        /// librdkafka's words.
        reason: String,
    },
    /// The group runs a version that this process cannot run.
    VersionLost {
        /// Why it cannot.
        reason: String,
    },
    /// A member's thread ended.
    MemberClosed {
        /// Which member.
        member: usize,
    },
}

/// Somebody who watches the messages go by (`wasmill dev`). Called once a batch, on the lane's thread.
pub trait Observer: Send + Sync {
    /// A call was judged: the first `settled` messages of `batch` are done with, `given_up` among them.
    fn handled(&self, id: &TopicPartition, batch: &Batch, emitted: &Emitted, settled: usize, given_up: &[GivenUp]);
    /// A message will be handed over again.
    fn retrying(&self, id: &TopicPartition, offset: i64, attempt: u32, delay: Duration, reason: &str);
    /// The coordinator confirmed an offset.
    fn committed(&self, id: &TopicPartition, next: NextOffset);
}

/// The producer failed for good and the next one is not there yet.
#[derive(Debug, Clone)]
pub struct ProducerRest {
    /// librdkafka's words.
    pub reason: String,
    /// How many failed one soon after the other.
    pub failures: u32,
    /// When the next one is due.
    pub until: Instant,
}

/// What every thread of a pipeline may look at.
pub struct PipelineShared {
    /// Name in wasmill.toml.
    pub name: String,
    /// The checked settings that it was started with. What a reload can change while it runs (`config::changes`) is in those
    /// of the version in force: [`Version::settings`].
    pub started_with: config::Pipeline,
    /// Input topics; the index is the source number.
    pub sources: Arc<Vec<String>>,
    /// Versions are agreed on with the other processes of the group.
    grouped: bool,
    /// `wasmill dev` looks on through this.
    pub observer: Option<Arc<dyn Observer>>,
    /// What keeps it from its work, and since when.
    pub conditions: Conditions,
    pub(crate) unconfirmed: Unconfirmed,
    /// Messages that failed.
    pub failures: Failures,
    /// To the control loop.
    pub events: mpsc::UnboundedSender<Event>,
    generations: AtomicU64,
    breaker: Option<Mutex<Breaker>>,
    /// Partitions that may begin at their first message when they are assigned next, although their committed offset is
    /// out of range and `out_of_range` says to stop.
    anew: Mutex<BTreeSet<TopicPartition>>,
    /// The id each topic had when its partitions were first held.
    topic_ids: Mutex<BTreeMap<String, String>>,
    producer_rest: Mutex<Option<ProducerRest>>,
    producer_rests: AtomicBool,
    held: AtomicBool,
    hold_reason: Mutex<Option<String>>,
    /// One more than the number of what was in force when a version was found out. While that is in force nothing is handed
    /// over; the version before is on its way back. By its number, because a lane may find out what is in force no longer.
    suspended: AtomicU64,
    publisher: Mutex<Arc<Publisher>>,
    deployed: Mutex<Arc<Deployed>>,
    deployed_serial: AtomicU64,
}

impl PipelineShared {
    /// Everything a pipeline's threads share.
    pub fn new(
        settings: config::Pipeline,
        (version, grouped): (Version, bool),
        publisher: Arc<Publisher>,
        observer: Option<Arc<dyn Observer>>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            name: settings.name.clone(),
            sources: Arc::new(settings.topics.clone()),
            breaker: settings.breaker.map(|policy| Mutex::new(Breaker::new(policy))),
            started_with: settings,
            grouped,
            observer,
            conditions: Conditions::default(),
            unconfirmed: Unconfirmed::default(),
            failures: Failures::default(),
            events,
            generations: AtomicU64::new(0),
            anew: Mutex::default(),
            topic_ids: Mutex::default(),
            producer_rest: Mutex::default(),
            producer_rests: AtomicBool::new(false),
            held: AtomicBool::new(false),
            hold_reason: Mutex::new(None),
            suspended: AtomicU64::new(0),
            publisher: Mutex::new(publisher),
            deployed: Mutex::new(Arc::new(Deployed {
                serial: 0,
                version: Arc::new(version),
                candidate: None,
                overseer: None,
                handover: Handover::default(),
            })),
            deployed_serial: AtomicU64::new(0),
        }
    }

    /// Whether versions are agreed on with the other processes of the group.
    pub fn is_grouped(&self) -> bool {
        self.grouped
    }

    /// The number of the next assignment, never used before in this process.
    pub fn next_generation(&self) -> Generation {
        Generation(self.generations.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The generations so far.
    pub fn generations(&self) -> u64 {
        self.generations.load(Ordering::Relaxed)
    }

    /// An operator wants this partition to go on where messages are left.
    pub fn begin_anew(&self, id: TopicPartition) {
        self.anew.lock().insert(id);
    }

    /// Whether an operator wants that; holds for one assignment.
    pub fn begins_anew(&self, id: &TopicPartition) -> bool {
        self.anew.lock().remove(id)
    }

    /// Notes a topic's id, the first one for good.
    pub fn note_topic_id(&self, topic: &str, id: &str) {
        self.topic_ids.lock().entry(topic.to_owned()).or_insert_with(|| id.to_owned());
    }

    /// The id that the topic had when this process first held partitions of it.
    pub fn first_topic_id(&self, topic: &str) -> Option<String> {
        self.topic_ids.lock().get(topic).cloned()
    }

    /// There is no producer to send with, or there is one again. Meanwhile lanes hand nothing over.
    pub fn set_producer_rest(&self, rest: Option<ProducerRest>) {
        self.producer_rests.store(rest.is_some(), Ordering::Release);
        *self.producer_rest.lock() = rest;
    }

    /// Whether there is no producer to send with.
    pub fn is_producer_resting(&self) -> bool {
        self.producer_rests.load(Ordering::Acquire)
    }

    /// Why there is none, and until when.
    pub fn producer_rest(&self) -> Option<ProducerRest> {
        self.producer_rest.lock().clone()
    }

    /// The producer of the moment.
    pub fn publisher(&self) -> Arc<Publisher> {
        self.publisher.lock().clone()
    }

    /// Replaces the producer. The lanes must rewind.
    pub fn replace_publisher(&self, publisher: Arc<Publisher>) -> Arc<Publisher> {
        std::mem::replace(&mut *self.publisher.lock(), publisher)
    }

    /// What is in force.
    pub fn deployed(&self) -> Arc<Deployed> {
        self.deployed.lock().clone()
    }

    /// The number of what is in force; cheap enough for every batch.
    pub fn deployed_serial(&self) -> u64 {
        self.deployed_serial.load(Ordering::Acquire)
    }

    /// Puts something else in force; the lanes, whose numbers are given, pass on to it between two batches. From here on
    /// no lane begins a batch under what was in force before, except those that have begun to look.
    pub fn deploy(
        &self,
        version: Arc<Version>,
        overseer: Option<Arc<dyn Overseer>>,
        lanes: impl Iterator<Item = usize>,
    ) -> Arc<Deployed> {
        // The breaker's lock is taken first everywhere.
        let mut breaker = self.breaker.as_ref().map(Mutex::lock);
        let mut deployed = self.deployed.lock();
        let serial = deployed.serial + 1;
        let other = !Arc::ptr_eq(&deployed.version, &version);
        let candidate = overseer.as_ref().and_then(|overseer| overseer.candidate().cloned());
        *deployed = Arc::new(Deployed { serial, version, candidate, overseer, handover: Handover::of(lanes) });
        self.deployed_serial.store(serial, Ordering::Release);
        // A new handler has to prove itself: the smaller window applies again.
        if other && let Some(breaker) = &mut breaker {
            breaker.reset();
        }
        deployed.clone()
    }

    /// Does what `overseer` ruled of what had the number `serial`.
    pub fn obey(&self, ruling: Ruling, overseer: &dyn Overseer, serial: u64) {
        match ruling {
            Ruling::GoOn => {}
            Ruling::Suspend => {
                // Until something else is in force.
                self.suspended.fetch_max(serial + 1, Ordering::AcqRel);
                overseer.suspended();
            }
        }
    }

    /// Whether the version in force was found bad.
    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Acquire) == self.deployed_serial() + 1
    }

    /// Counts settled messages for the breaker; those at the places `given_up` among them, ascending, were given up.
    pub fn record(&self, settled: usize, given_up: &[u32]) {
        let Some(breaker) = &self.breaker else { return };
        let mut breaker = breaker.lock();
        let Some(Opened { given_up, of }) = breaker.record(settled as u32, given_up.iter().copied()) else { return };
        // The version that did it can be taken back: then messages go on with the one before, and nobody need be called.
        let reason = format!("more than {given_up} of the last {of} messages were given up");
        let deployed = self.deployed();
        if let Some(overseer) = &deployed.overseer
            && let Some(ruling) = overseer.breaker_opens(&reason)
        {
            self.obey(ruling, &**overseer, deployed.serial);
            breaker.reset();
            return;
        }
        // Under the breaker's lock: every lane that has its next call counted knows that the pipeline holds, and a resume
        // comes before all this or after it.
        self.hold(format!("{reason}; `wasmill resume {}` goes on", self.name));
    }

    /// Keeps every lane from handing anything over.
    pub fn hold(&self, reason: String) {
        tracing::error!(pipeline = %self.name, reason, "pipeline holds");
        *self.hold_reason.lock() = Some(reason);
        self.held.store(true, Ordering::Release);
    }

    /// Ends a hold.
    pub fn release(&self) {
        let mut breaker = self.breaker.as_ref().map(Mutex::lock);
        if let Some(breaker) = &mut breaker {
            breaker.reset();
        }
        *self.hold_reason.lock() = None;
        self.held.store(false, Ordering::Release);
    }

    /// Whether the pipeline holds.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire) || self.is_suspended()
    }

    /// Why it holds.
    pub fn hold_reason(&self) -> Option<String> {
        self.hold_reason.lock().clone()
    }
}
