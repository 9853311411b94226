//! A pipeline's control loop: it starts members, hears of broken clients, and brings everything to rest at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior};
use wasmill_config as config;
use wasmill_core::Backoff;
use wasmill_kafka::{ClientError, ClientSettings, MemberSettings, TopicRules};
use wasmill_wasm::Plugin;

use crate::handle::Handle;
use crate::io::LOOK_AGAIN;
use crate::kafka::ProducerSink;
use crate::lane::Command;
use crate::lanes::Lanes;
use crate::member::{MemberShared, Running};
use crate::publisher::Publisher;
use crate::shared::{Event, Observer, PipelineShared, ProducerRest};
use crate::version::Version;

/// How long a broken client rests before the next one: at first, and at most.
const RECREATE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How often the log hears of what keeps the pipeline from its work.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Besides the drain, closing waits for the group and for threads.
const CLOSE_SLACK: Duration = Duration::from_secs(10);

/// Who was let be for so many sessions is not fought over.
const FENCED_FORGOTTEN_SESSIONS: u32 = 20;

/// What a pipeline is started with besides its settings.
pub struct Parts {
    /// How to reach the cluster.
    pub client: ClientSettings,
    /// The handler, compiled.
    pub plugin: Plugin,
    /// Where it came from.
    pub source: String,
    /// Where the group agreed on it; zero if it did not.
    pub epoch: u64,
    /// Versions are agreed on with the other processes of the group.
    pub grouped: bool,
    /// Bytes librdkafka may prefetch for each partition.
    pub prefetch_bytes: u64,
    /// Bytes that a broker may put into one answer.
    pub fetch_bytes: u64,
    /// Bytes the producer may buffer.
    pub buffer_bytes: u64,
    /// What the output topics are known to refuse.
    pub rules: BTreeMap<String, TopicRules>,
    /// Looks on.
    pub observer: Option<Arc<dyn Observer>>,
}

/// How a pipeline ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Everything handed over was settled and committed.
    Drained,
    /// Something did not end in time; what was not committed is handled again by the next owner.
    Overdue,
    /// It can go on no longer.
    Failed(String),
    /// Other processes have the identities of all its members (`instance_id`), and got the group's word for it twice.
    Fenced(String),
}

/// Why the control loop ended without being asked to.
enum Failure {
    Failed(String),
    Fenced(String),
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

struct Slot {
    running: Option<Running>,
    rest: Rest,
    /// When the next client is due.
    again: Option<Instant>,
    /// The running client failed: once its threads are gone, the next one is due after this long.
    rests: Option<Duration>,
    /// How often another process took its identity, since it was left alone for long.
    fenced: u32,
}

/// A client that lasted so long was well; the next failure is a first one again.
const CLIENT_HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// How long to rest between two clients: longer each time.
struct Rest {
    backoff: Backoff,
    /// When the client of the moment was made.
    started: Instant,
}

impl Rest {
    fn new() -> Self {
        Self { backoff: Backoff::new(RECREATE.0, RECREATE.1), started: Instant::now() }
    }

    fn next(&mut self) -> Duration {
        if self.started.elapsed() > CLIENT_HEALTHY_AFTER {
            self.backoff.reset();
        }
        self.backoff.next_delay(rand::random())
    }
}

/// A pipeline and its control loop.
pub struct Pipeline {
    handle: Handle,
    settings: MemberSettings,
    parts: Parts,
    slots: Vec<Slot>,
    producer: Rest,
    /// When the next producer is due.
    producer_due: Option<Instant>,
    events: mpsc::UnboundedReceiver<Event>,
    shutdown: watch::Receiver<bool>,
}

impl Pipeline {
    /// Opens the producer. Nothing is consumed before [`Pipeline::run`].
    pub fn new(settings: config::Pipeline, parts: Parts) -> Result<Self, ClientError> {
        let (sender, events) = mpsc::unbounded_channel();
        let publisher = Arc::new(open_publisher(&settings, &parts, &sender)?);
        let member_settings = member_settings(&settings, &parts);
        let members = settings.members;
        let version = Version::new(Arc::new(parts.plugin.clone()), Arc::new(settings.clone()), parts.source.clone());
        let version = (version.at(parts.epoch), parts.grouped);
        let shared = PipelineShared::new(settings, version, publisher, parts.observer.clone(), sender);
        let shared = Arc::new(shared);
        let lanes = Arc::new(Lanes::new(shared.clone()));
        let members: Vec<_> =
            (0..members).map(|index| Arc::new(MemberShared::new(index, shared.clone(), lanes.clone()))).collect();
        let slots = members
            .iter()
            .map(|_| Slot { running: None, rest: Rest::new(), again: Some(Instant::now()), rests: None, fenced: 0 })
            .collect();
        let (ask, shutdown) = watch::channel(false);
        let handle = Handle { shared, lanes, members: Arc::new(members), shutdown: Arc::new(ask) };
        let producer = Rest::new();
        Ok(Self { handle, settings: member_settings, parts, slots, producer, producer_due: None, events, shutdown })
    }

    /// For everybody else.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The control loop: joins, hears of events and acts, until told to shut down. `closing` is called before the members
    /// are asked to leave: no other version may come from then on.
    pub async fn run(mut self, closing: impl FnOnce() + Send) -> End {
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut limits = tokio::time::interval(LOOK_AGAIN);
        let failure = loop {
            if let Err(failure) = self.join_due().await {
                break Some(failure.into());
            }
            if let Err(failure) = self.replace_producer_due().await {
                break Some(failure.into());
            }
            let next = self.slots.iter().filter_map(|slot| slot.again).chain(self.producer_due).min();
            tokio::select! {
                biased;
                _ = self.shutdown.changed() => break None,
                Some(event) = self.events.recv() => {
                    if let Err(failure) = self.apply(event).await {
                        break Some(failure);
                    }
                }
                _ = limits.tick() => self.handle.shared.publisher().sink().look_again(),
                () = sleep_until(next) => {}
                _ = look.tick() => drop(self.handle.conditions()),
            }
        };
        closing();
        let drained = self.close().await;
        match failure {
            Some(Failure::Failed(reason)) => End::Failed(reason),
            Some(Failure::Fenced(reason)) => End::Fenced(reason),
            None if drained => End::Drained,
            None => End::Overdue,
        }
    }

    /// Starts every member whose time has come.
    async fn join_due(&mut self) -> Result<(), String> {
        let now = Instant::now();
        for index in 0..self.slots.len() {
            if self.slots[index].again.is_none_or(|again| now < again) {
                continue;
            }
            self.slots[index].again = None;
            let (member, shared) = (self.handle.members[index].clone(), self.handle.shared.clone());
            let mut settings = self.settings.clone();
            // Brokers' logs, quotas and group listings name clients by this.
            settings.client.client_id = format!("{}-{}-{index}", settings.client.client_id, shared.name);
            if let Some(instance) = &mut settings.instance_id
                && self.slots.len() > 1
            {
                *instance = format!("{instance}-{index}");
            }
            let started = spawn_blocking(move || Running::start(member, &settings, &shared)).await;
            match started {
                Ok(Ok(running)) => {
                    self.slots[index].running = Some(running);
                    self.slots[index].rest.started = Instant::now();
                }
                Ok(Err(error)) if error.is_transient() => {
                    let delay = self.rest(index, &error.to_string());
                    self.slots[index].again = Some(Instant::now() + delay);
                }
                Ok(Err(error)) => return Err(format!("member {index} cannot start: {error}")),
                Err(panic) => return Err(format!("member {index} cannot start: {panic}")),
            }
        }
        Ok(())
    }

    /// One thing happens at a time.
    async fn apply(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::MemberFailed { member, reason } => {
                tracing::error!(pipeline = %self.handle.shared.name, member, reason, "member failed; it joins again with a new client");
                if self.slots[member].rests.is_none() {
                    self.handle.members[member].close();
                    let delay = self.rest(member, &reason);
                    self.slots[member].rests = Some(delay);
                }
            }
            Event::MemberRenewed { member, reason } => {
                tracing::info!(pipeline = %self.handle.shared.name, member, reason, "member joins again with a new client");
                if self.slots[member].rests.is_none() {
                    self.handle.members[member].close();
                    self.slots[member].rests = Some(Duration::ZERO);
                }
            }
            Event::MemberFenced { member, reason } => return self.fenced(member, &reason),
            Event::MemberClosed { member } => {
                if let Some(running) = self.slots[member].running.take() {
                    let _ = spawn_blocking(move || running.join()).await;
                }
                self.handle.members[member].reopen();
                let slot = &mut self.slots[member];
                slot.again = slot.rests.take().map(|delay| Instant::now() + delay);
            }
            Event::ProducerFailed { reason } => self.producer_failed(reason).await,
            // Its partitions go to processes that can.
            Event::VersionLost { reason } => return Err(reason.into()),
        }
        Ok(())
    }

    /// Another process took a member's identity. It is let be for as long as a session, in which a process that was
    /// replaced is gone; then this one tries once. Two that joined at once whenever the other had would take turns, and
    /// neither would get anything done.
    fn fenced(&mut self, member: usize, reason: &str) -> Result<(), Failure> {
        let session = self.settings.session_timeout;
        let slot = &mut self.slots[member];
        slot.again = None;
        if slot.rest.started.elapsed() > session * FENCED_FORGOTTEN_SESSIONS {
            slot.fenced = 0;
        }
        slot.fenced += 1;
        self.handle.members[member].close();
        if slot.fenced == 1 {
            slot.rests = Some(session);
            tracing::error!(
                pipeline = %self.handle.shared.name, member, reason, rest = ?session,
                "another process joined the group with this instance_id and took this member's place; it rests for a \
                 session and then tries once; hint: give each process an instance_id of its own"
            );
            return Ok(());
        }
        tracing::error!(
            pipeline = %self.handle.shared.name, member, reason,
            "another process took this member's place again, with the same instance_id; it stays out until the next start; \
             hint: give each process an instance_id of its own"
        );
        if self.slots.iter().all(|slot| slot.fenced > 1) {
            return Err(Failure::Fenced(format!("every member was fenced twice: {reason}")));
        }
        Ok(())
    }

    /// How long a member rests before it joins again: longer each time.
    fn rest(&mut self, member: usize, reason: &str) -> Duration {
        let rest = &mut self.slots[member].rest;
        let delay = rest.next();
        tracing::warn!(
            pipeline = %self.handle.shared.name, member, reason, failures = rest.backoff.failures(),
            delay_ms = delay.as_millis() as u64, "member rests"
        );
        delay
    }

    /// A producer that broke for good. The next one comes after a rest, lest a cluster that breaks every producer be asked
    /// for one after the other; until then lanes hand nothing over, since it could not be published.
    async fn producer_failed(&mut self, reason: String) {
        let shared = &self.handle.shared;
        let delay = self.producer.next();
        let failures = self.producer.backoff.failures();
        tracing::error!(
            pipeline = %shared.name, reason, failures, delay_ms = delay.as_millis() as u64,
            "producer failed; a new one takes over after a rest and every partition rewinds"
        );
        let due = Instant::now() + delay;
        self.producer_due = Some(due);
        shared.set_producer_rest(Some(ProducerRest { reason, failures, until: due.into_std() }));
        // Nobody answers for what it has in flight any more, and a revoke must not wait for that. A purge may block.
        let old = shared.publisher();
        let _ = spawn_blocking(move || old.purge()).await;
    }

    /// Makes the next producer when its time has come: what the old one had in flight is unknown, so every partition goes
    /// back to its watermark.
    async fn replace_producer_due(&mut self) -> Result<(), String> {
        if self.producer_due.is_none_or(|due| Instant::now() < due) {
            return Ok(());
        }
        self.producer_due = None;
        let shared = &self.handle.shared;
        let publisher = match open_publisher(&shared.started_with, &self.parts, &shared.events) {
            Ok(publisher) => publisher,
            Err(error) if error.is_transient() => {
                self.producer_failed(error.to_string()).await;
                return Ok(());
            }
            Err(error) => return Err(format!("no new producer: {error}")),
        };
        self.producer.started = Instant::now();
        let old = shared.replace_publisher(Arc::new(publisher));
        for lane in self.handle.lanes.all() {
            lane.tell(Command::RewindAll);
        }
        shared.set_producer_rest(None);
        self.handle.lanes.wake_all();
        tracing::info!(pipeline = %shared.name, "a new producer took over");
        // Dropping a client may block.
        let _ = spawn_blocking(move || {
            old.purge();
            drop(old);
        })
        .await;
        Ok(())
    }

    /// Everything comes to rest: members leave (which drains and commits), then lanes, then the producer. True if all that
    /// was handed over was settled and committed in time.
    async fn close(&mut self) -> bool {
        for member in self.handle.members.iter() {
            member.close();
        }
        let deadline = Instant::now() + self.handle.shared.started_with.drain_timeout + CLOSE_SLACK;
        let mut in_time = true;
        for slot in &mut self.slots {
            let Some(running) = slot.running.take() else { continue };
            let joined = tokio::time::timeout_at(deadline, spawn_blocking(move || running.join())).await;
            in_time &= joined.is_ok();
        }
        if in_time {
            let lanes = self.handle.lanes.clone();
            in_time = tokio::time::timeout_at(deadline, spawn_blocking(move || lanes.stop())).await.is_ok();
        }
        in_time && !self.handle.members.iter().any(|member| member.is_overdue())
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

fn open_publisher(
    settings: &config::Pipeline,
    parts: &Parts,
    events: &mpsc::UnboundedSender<Event>,
) -> Result<Publisher, ClientError> {
    let events = events.clone();
    let on_fatal = Box::new(move |text: &str| {
        let _ = events.send(Event::ProducerFailed { reason: text.to_owned() });
    });
    ProducerSink::open(&parts.client, settings, parts.buffer_bytes, &parts.rules, on_fatal)
}

fn member_settings(settings: &config::Pipeline, parts: &Parts) -> MemberSettings {
    let mut client = parts.client.clone();
    client.properties.extend(settings.properties.iter().map(|(key, value)| (key.clone(), value.clone())));
    MemberSettings {
        client,
        group: settings.group.clone(),
        topics: settings.topics.clone(),
        assignor: settings.assignor,
        session_timeout: settings.session_timeout,
        heartbeat_interval: settings.heartbeat_interval,
        max_poll_interval: settings.max_poll_interval,
        leave_timeout: settings.drain_timeout,
        instance_id: settings.instance_id.clone(),
        start: settings.start,
        out_of_range: settings.out_of_range,
        prefetch_bytes: parts.prefetch_bytes,
        watched_topics: settings.output_topics().cloned().collect(),
        fetch_bytes: parts.fetch_bytes,
    }
}
