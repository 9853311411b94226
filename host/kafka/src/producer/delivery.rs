//! The delivery thread: takes what a producing client has to say and turns it into reports.
//!
//! librdkafka reports a produce request at a time, and a broker refuses whole requests: one message without a key in a
//! compacted topic, or a batch larger than the topic allows, and every message of that batch comes back with an error. To give
//! up on all of them would send innocent messages to the dead letters. So what was refused *in company* and not by name is
//! sent again **alone**, by a second client that puts one message in a batch, and only that answer is reported. The price: such
//! messages are written behind others that were sent after them. Only refused batches pay it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::bindings as sys;
use rdkafka::config::ClientConfig;

use super::record::{Headers, produce};
use super::report::{DeliverySink, Report, TIMESTAMP_HEADER};
use super::room::{Room, weight_of};
use super::settled::Settled;
use crate::error::ClientError;
use crate::native::{Client, Event, Queue};
use crate::produce_error::{ProduceErrorClass, SendError, is_bad_timestamp, is_bystander, is_partition_gone};
use crate::token::{self, TokenSource};

/// How long a dropped producer waits for its delivery thread before it leaves it behind.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the thread sleeps when nothing happens. It is woken when it is to stop.
const IDLE_POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// How long the reports of a last purge may take.
const PURGE_REPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// A client with the thread that reads its reports. Dropping it purges what is left, reports that, and ends the client.
pub(crate) struct Running {
    // Both present until `drop`.
    delivery: Option<Arc<Delivery>>,
    queue: Option<Queue>,
    finished: Mutex<mpsc::Receiver<()>>,
    thread: ThreadId,
}

impl Running {
    /// Makes the client and starts its thread. `buffer_bytes`: what keys and headers may hold (see `Room`).
    pub(crate) fn open(
        config: ClientConfig,
        tokens: Option<TokenSource>,
        buffer_bytes: u64,
        restamps: bool,
        sink: Arc<dyn DeliverySink>,
    ) -> Result<Self, ClientError> {
        Self::start(Delivery {
            restamps,
            largest_value: largest_value(&config),
            room: Room::new(buffer_bytes),
            client: open_client(&config, tokens.clone())?,
            sink,
            stop: AtomicBool::new(false),
            fatal_told: Arc::new(AtomicBool::new(false)),
            alone: Alone::Later { config: Box::new(config), tokens, buffer_bytes, running: OnceLock::new() },
        })
    }

    fn start(delivery: Delivery) -> Result<Self, ClientError> {
        let delivery = Arc::new(delivery);
        let queue = delivery.client.main_queue();
        let (done, finished) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("delivery".into())
            .spawn({
                let delivery = Arc::clone(&delivery);
                move || {
                    run(delivery);
                    // Nobody listening any more is fine: then nobody waits.
                    let _ = done.send(());
                }
            })
            .map_err(|error| ClientError::Open(format!("no thread for delivery reports: {error}")))?
            .thread()
            .id();
        Ok(Self { delivery: Some(delivery), queue: Some(queue), finished: Mutex::new(finished), thread })
    }

    pub(crate) fn delivery(&self) -> &Arc<Delivery> {
        self.delivery.as_ref().expect("taken by drop alone")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(delivery) = self.delivery.take() else { return };
        delivery.stop.store(true, Ordering::SeqCst);
        if let Some(queue) = self.queue.take() {
            queue.interrupt();
        }
        // The thread waits until it alone has it, so that the client always ends there and never blocks who drops.
        drop(delivery);
        // A sink may hold the last producer: the thread cannot wait for itself.
        if std::thread::current().id() != self.thread && self.finished.get_mut().recv_timeout(CLOSE_TIMEOUT).is_err() {
            tracing::warn!("a kafka producer did not end in time and is left behind");
        }
    }
}

/// A producing client and who hears of it. Shared by the senders and the delivery thread.
pub(crate) struct Delivery {
    // First: dropped before the client that its messages came from.
    alone: Alone,
    pub(crate) room: Room,
    pub(crate) client: Client,
    sink: Arc<dyn DeliverySink>,
    stop: AtomicBool,
    fatal_told: Arc<AtomicBool>,
    /// A timestamp that a topic does not take is replaced by the present.
    restamps: bool,
    /// Bytes of the largest value that the buffer can hold.
    largest_value: usize,
}

/// The client for messages that were refused in company.
enum Alone {
    /// Made when first needed.
    Later {
        config: Box<ClientConfig>,
        tokens: Option<TokenSource>,
        buffer_bytes: u64,
        running: OnceLock<Option<Running>>,
    },
    /// This is that client: its answers are final.
    Itself,
}

/// What librdkafka's buffer holds, in bytes.
fn largest_value(config: &ClientConfig) -> usize {
    let kib = config.get("queue.buffering.max.kbytes").and_then(|kib| kib.parse::<usize>().ok());
    kib.map_or(usize::MAX, |kib| kib.saturating_mul(1024))
}

fn open_client(config: &ClientConfig, tokens: Option<TokenSource>) -> Result<Client, ClientError> {
    let events = sys::RD_KAFKA_EVENT_DR | sys::RD_KAFKA_EVENT_ERROR;
    token::open(sys::rd_kafka_type_t::RD_KAFKA_PRODUCER, config, events, tokens)
}

impl Delivery {
    /// Waits until everything is reported. Room, linger: see `Producer::flush`.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        // What the first client is done with may have gone to the second, never back.
        self.client.flush(timeout)
            && self.second().is_none_or(|alone| alone.flush(deadline.saturating_duration_since(Instant::now())))
    }

    pub(crate) fn restamps(&self) -> bool {
        self.restamps
    }

    pub(crate) fn largest_value(&self) -> usize {
        self.largest_value
    }

    pub(crate) fn tell_restamped(&self, topic: &str, timestamp: i64) {
        self.sink.restamped(topic, timestamp);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.client.outstanding() + self.second().map_or(0, |alone| alone.in_flight())
    }

    pub(crate) fn purge(&self) {
        self.client.purge();
        if let Some(alone) = self.second() {
            alone.purge();
        }
    }

    /// The second client if it was ever needed.
    fn second(&self) -> Option<&Arc<Delivery>> {
        match &self.alone {
            Alone::Later { running, .. } => running.get()?.as_ref().map(Running::delivery),
            Alone::Itself => None,
        }
    }

    fn is_second(&self) -> bool {
        matches!(self.alone, Alone::Itself)
    }

    /// The second client, made if need be; None if it cannot be made or this is it.
    fn second_or_new(&self) -> Option<&Arc<Delivery>> {
        let Alone::Later { config, tokens, buffer_bytes, running } = &self.alone else { return None };
        let open = || {
            let mut config = config.clone();
            config.set("batch.num.messages", "1").set("linger.ms", "0");
            let delivery = open_client(&config, tokens.clone()).map(|client| Delivery {
                alone: Alone::Itself,
                room: Room::new(*buffer_bytes),
                client,
                restamps: self.restamps,
                largest_value: self.largest_value,
                sink: Arc::clone(&self.sink),
                stop: AtomicBool::new(false),
                fatal_told: Arc::clone(&self.fatal_told),
            });
            delivery
                .and_then(Running::start)
                .inspect_err(|error| tracing::error!(%error, "no second producer: refused batches are given up whole"))
                .ok()
        };
        running.get_or_init(open).as_ref().map(Running::delivery)
    }

    /// Sends a message again, alone in its batch, to the partition it was for. Waits for room in the second client: the
    /// buffer of the first is not given back meanwhile, so refused batches cannot pile up.
    /// With `restamp` it gets the present time, and the one it had in a header.
    fn send_alone(&self, message: Settled<'_>, restamp: bool) -> Second {
        let Some(alone) = self.second_or_new() else { return Second::Impossible };
        let timestamp = message.timestamp();
        let refused = restamp.then(|| timestamp.to_string());
        let mut bytes = message.key_and_header_bytes();
        let mut headers = message.take_headers();
        if let Some(refused) = &refused {
            let header = (TIMESTAMP_HEADER.as_bytes(), Some(refused.as_bytes()));
            bytes += header.0.len() + refused.len();
            match &headers {
                Some(headers) => headers.add(header.0, header.1),
                None => headers = Headers::of(&[header]),
            }
        }
        let weight = weight_of(bytes);
        // 0 is "now" for librdkafka.
        let fields = message.fields(if restamp { 0 } else { timestamp }, headers.as_ref());
        let mut headers = Some(headers);
        loop {
            let outcome = alone.room.admit(weight, || {
                // SAFETY: topic name, value and key are the message's, which lives as long as the event.
                let outcome = unsafe { produce(&alone.client, &fields) };
                if outcome.is_ok() {
                    // The list is librdkafka's now.
                    std::mem::forget(headers.take());
                }
                outcome
            });
            match outcome {
                Ok(()) => {
                    if restamp {
                        self.tell_restamped(&message.topic(), timestamp);
                    }
                    return Second::Sent;
                }
                Err(SendError::QueueFull) if self.stop.load(Ordering::SeqCst) => return Second::Stopped,
                Err(SendError::QueueFull) => {
                    alone.room.wait(IDLE_POLL_TIMEOUT);
                }
                Err(SendError::Fatal { .. }) => return Second::Stopped,
                Err(SendError::Refused { .. }) => return Second::Impossible,
            }
        }
    }

    fn tell(&self, reports: &[Report]) {
        if reports.is_empty() {
            return;
        }
        if catch_unwind(AssertUnwindSafe(|| self.sink.delivered(reports))).is_err() {
            // Reports are lost with the panic; to go on quietly would leave messages outstanding for ever.
            self.tell_fatal("the receiver of delivery reports panicked");
        }
    }

    fn tell_fatal(&self, text: &str) {
        if !self.fatal_told.swap(true, Ordering::SeqCst) {
            let _ = catch_unwind(AssertUnwindSafe(|| self.sink.fatal(text)));
        }
    }
}

/// The thread's life: report until told to stop, then purge, report that too, and end the client.
fn run(delivery: Arc<Delivery>) {
    let queue = delivery.client.main_queue();
    let mut reader = Reader::default();
    while !delivery.stop.load(Ordering::SeqCst) {
        if let Some(event) = queue.poll(IDLE_POLL_TIMEOUT) {
            reader.read(&delivery, event);
        }
    }
    // Whoever told us to stop gives its reference back next; nobody can send or take one any more.
    while Arc::strong_count(&delivery) > 1 {
        std::thread::yield_now();
    }
    delivery.client.purge();
    let deadline = Instant::now() + PURGE_REPORT_TIMEOUT;
    while delivery.client.outstanding() > 0 && Instant::now() < deadline {
        if let Some(event) = queue.poll(Duration::from_millis(10)) {
            reader.read(&delivery, event);
        }
    }
}

/// Buffers of the delivery thread, kept between events.
#[derive(Default)]
struct Reader {
    messages: Vec<*const sys::rd_kafka_message_t>,
    reports: Vec<Report>,
}

impl Reader {
    fn read(&mut self, delivery: &Delivery, event: Event) {
        match event.kind() {
            sys::RD_KAFKA_EVENT_DR => self.reports(delivery, event),
            sys::RD_KAFKA_EVENT_ERROR => {
                let (code, text) = event.error();
                if event.is_fatal() {
                    let fatal = delivery.client.as_ref().fatal();
                    delivery.tell_fatal(&fatal.map_or(text, |(code, text)| format!("{text} ({})", code.name())));
                } else {
                    let _ = catch_unwind(AssertUnwindSafe(|| delivery.sink.trouble(&code.name(), &text)));
                }
            }
            _ => {}
        }
    }

    fn reports(&mut self, delivery: &Delivery, event: Event) {
        self.messages.clear();
        self.reports.clear();
        // SAFETY: the array has room for `count` pointers and as many as were written are taken over; they point into the
        // event, which lives until the end of this function.
        unsafe {
            let count = sys::rd_kafka_event_message_count(event.ptr());
            self.messages.reserve(count);
            let got = sys::rd_kafka_event_message_array(event.ptr(), self.messages.as_mut_ptr(), count);
            self.messages.set_len(got);
        }
        let weighs = delivery.room.weighs();
        let mut weight = 0;
        let mut failed = false;
        for &message in &self.messages {
            let message = Settled::of(message, &event);
            failed |= message.code().is_error();
            if weighs {
                weight += message.weight();
            }
        }
        if failed {
            self.sort_out(delivery, &event);
        } else {
            let report = |&message: &_| Report { token: Settled::of(message, &event).token(), error: None };
            self.reports.extend(self.messages.iter().map(report));
        }
        delivery.tell(&self.reports);
        // The buffer is given back with the event, so first that, then the news.
        drop(event);
        delivery.room.release(weight);
        delivery.room.made();
    }

    /// At least one message failed: who is to blame, and who gets another chance.
    fn sort_out(&mut self, delivery: &Delivery, event: &Event) {
        let in_company = self.messages.len() > 1;
        // The broker named the bad ones if it called others merely bystanders.
        let named = self.messages.iter().any(|&message| is_bystander(Settled::of(message, event).code()));
        let dead = delivery.client.as_ref().fatal().is_some();
        for &message in &self.messages {
            let message = Settled::of(message, event);
            let code = message.code();
            let token = message.token();
            if !code.is_error() {
                self.reports.push(Report { token, error: None });
                continue;
            }
            // After a fatal error nothing that fails is the message's fault: it is sent again by a new client.
            let class = match code {
                _ if dead => ProduceErrorClass::Purged,
                // Nor is it when its partition went away behind its back: what the topic has now decides where it goes, and
                // a partition that a handler names and that is not there is refused at the send.
                _ if is_partition_gone(code) && !delivery.stop.load(Ordering::SeqCst) => ProduceErrorClass::Moved,
                _ => ProduceErrorClass::of(code),
            };
            let blamed = !in_company || class != ProduceErrorClass::Message || (named && !is_bystander(code));
            // The second client's answer is final, so nothing is given another time twice.
            let restamp = blamed && !dead && delivery.restamps() && !delivery.is_second() && is_bad_timestamp(code);
            let to_blame = blamed && !restamp;
            let error = if to_blame {
                message.error(class)
            } else {
                match delivery.send_alone(message, restamp) {
                    Second::Sent => continue,
                    Second::Stopped => message.error(ProduceErrorClass::Purged),
                    Second::Impossible => message.error(class),
                }
            };
            self.reports.push(Report { token, error: Some(error) });
        }
    }
}

/// What became of a second try.
enum Second {
    /// Its report comes from the second client.
    Sent,
    /// The producer is being dropped.
    Stopped,
    /// There is no second client, or it cannot take the message.
    Impossible,
}
