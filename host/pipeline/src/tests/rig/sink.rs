//! A producer that keeps its reports back until the test says what became of each output.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmill_kafka::{DeliveryError, DeliverySink as _, ProduceErrorClass, Report, SendError};

use super::PATIENCE;
use crate::flight::Flight;
use crate::io::{Outgoing, Sink, Target};
use crate::publisher::Publisher;

/// A message that was taken.
#[derive(Clone)]
pub struct Sent {
    pub target: Target,
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: Vec<(String, String)>,
    pub timestamp: Option<i64>,
    token: u64,
}

impl Sent {
    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(one, _)| one == name).map_or("", |(_, value)| value)
    }

    /// `out 5`, `out2 5`, `dead 5`, `dead 5 bare` of one with headers only.
    fn text(&self) -> String {
        match self.target {
            Target::Output(0) => format!("out {}", self.value.as_deref().unwrap_or("-")),
            Target::Output(number) => format!("out{number} {}", self.value.as_deref().unwrap_or("-")),
            Target::DeadLetter => {
                let bare = if self.value.is_none() { " bare" } else { "" };
                format!("dead {}{bare}", self.header("wasmill.offset"))
            }
        }
    }
}

type OnFull = dyn FnMut(&Producer) + Send;

struct State {
    sent: Vec<Sent>,
    /// The places in `sent` of what is not answered for.
    open: VecDeque<usize>,
    /// Begins of texts that are refused at the send, and how often.
    refusals: Vec<(String, ProduceErrorClass, u32)>,
    room: usize,
    broken: bool,
    confirms_at_flush: bool,
    flushes: u32,
    topics: u32,
    dead_letter: bool,
    /// Called when somebody waits for room. Without it, to wait would be to wait for ever.
    on_full: Option<Box<OnFull>>,
    /// When somebody began to wait for room.
    waits_since: Option<Instant>,
    in_vain: bool,
}

/// The test's side of a producer.
#[derive(Clone)]
pub struct Producer {
    state: Arc<Mutex<State>>,
    flight: Arc<Flight>,
}

impl Producer {
    /// One with so many topics. `on_fatal` hears when it breaks.
    pub fn new(topics: u32, dead_letter: bool, on_fatal: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        let state = State {
            sent: Vec::new(),
            open: VecDeque::new(),
            refusals: Vec::new(),
            room: usize::MAX,
            broken: false,
            confirms_at_flush: false,
            flushes: 0,
            topics,
            dead_letter,
            on_full: None,
            waits_since: None,
            in_vain: false,
        };
        Self { state: Arc::new(Mutex::new(state)), flight: Arc::new(Flight::new(on_fatal)) }
    }

    pub fn publisher(&self) -> Arc<Publisher> {
        Arc::new(Publisher::new(Box::new(FakeSink(self.clone())), self.flight.clone()))
    }

    /// Everything that was taken, in order.
    pub fn sent(&self) -> Vec<String> {
        self.state.lock().sent.iter().map(Sent::text).collect()
    }

    /// One of them.
    pub fn get(&self, at: usize) -> Sent {
        self.state.lock().sent[at].clone()
    }

    /// Confirms everything that is not answered for, in order, in one piece.
    pub fn confirm(&self) {
        self.answer_all(None);
    }

    /// Confirms the output with this text. Of several, the oldest.
    pub fn confirm_one(&self, text: &str) {
        self.answer(text, None);
    }

    /// The broker refuses the output with this text.
    pub fn refuse(&self, text: &str, class: ProduceErrorClass) {
        self.answer(text, Some(class));
    }

    /// The client is of no use any more: everything is reported as purged.
    pub fn breaks(&self) {
        self.state.lock().broken = true;
        self.flight.fatal("broken");
        self.answer_all(Some(ProduceErrorClass::Purged));
    }

    /// The next `times` messages whose text begins so are refused when they are sent.
    pub fn refuses(&self, begin: &str, class: ProduceErrorClass, times: u32) {
        self.state.lock().refusals.push((begin.to_owned(), class, times));
    }

    /// There is room for so many more; `on_full` is called when somebody waits for more.
    pub fn is_full_after(&self, room: usize, on_full: impl FnMut(&Producer) + Send + 'static) {
        let mut state = self.state.lock();
        state.room = room;
        state.on_full = Some(Box::new(on_full));
    }

    /// There is room for so many more.
    pub fn make_room(&self, room: usize) {
        self.state.lock().room = room;
    }

    /// Somebody waited for room for too long.
    pub fn was_waited_for_in_vain(&self) -> bool {
        self.state.lock().in_vain
    }

    /// Whether a flush brings the reports.
    pub fn confirms_at_flush(&self, confirms: bool) {
        self.state.lock().confirms_at_flush = confirms;
    }

    /// How often it was flushed.
    pub fn flushes(&self) -> u32 {
        self.state.lock().flushes
    }

    fn answer_all(&self, class: Option<ProduceErrorClass>) {
        let reports: Vec<Report> = {
            let mut state = self.state.lock();
            let open: Vec<usize> = state.open.drain(..).collect();
            open.into_iter().map(|at| report(&state.sent[at], class)).collect()
        };
        self.flight.delivered(&reports);
    }

    fn answer(&self, text: &str, class: Option<ProduceErrorClass>) {
        let report = {
            let state = &mut *self.state.lock();
            let place = state.open.iter().position(|at| state.sent[*at].text() == text);
            let at = place.and_then(|place| state.open.remove(place)).expect("it is not answered for");
            report(&state.sent[at], class)
        };
        self.flight.delivered(&[report]);
    }
}

fn report(sent: &Sent, class: Option<ProduceErrorClass>) -> Report {
    let error = class.map(|class| Box::new(DeliveryError { class, code: "CODE".to_owned(), text: "no".to_owned() }));
    Report { token: sent.token, error }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct FakeSink(Producer);

impl Sink for FakeSink {
    fn reserve(&self, _: Duration) {
        let on_full = {
            let mut state = self.0.state.lock();
            let waits = *state.waits_since.get_or_insert_with(Instant::now);
            state.in_vain = waits.elapsed() > PATIENCE;
            assert!(!state.in_vain, "waits for room that nobody makes");
            state.on_full.take()
        };
        let mut on_full = on_full.expect("waits for room that nobody makes");
        on_full(&self.0);
        self.0.state.lock().on_full = Some(on_full);
    }

    fn send(&self, message: &Outgoing<'_>) -> Result<(), SendError> {
        let state = &mut *self.0.state.lock();
        if state.broken {
            return Err(SendError::Fatal { text: "broken".to_owned() });
        }
        let value = |value: Option<&[u8]>| value.map(text).unwrap_or_default();
        let sent = Sent {
            target: message.target,
            key: message.key.map(text),
            value: message.value.map(text),
            headers: message.headers.iter().map(|(name, one)| (text(name), value(*one))).collect(),
            timestamp: message.timestamp,
            token: message.token,
        };
        let refused = state.refusals.iter_mut().find(|(begin, _, left)| *left > 0 && sent.text().starts_with(begin));
        if let Some((_, class, left)) = refused {
            *left -= 1;
            return Err(SendError::Refused { class: *class, code: "CODE".to_owned(), text: "no".to_owned() });
        }
        if state.room == 0 {
            return Err(SendError::QueueFull);
        }
        state.room -= 1;
        state.waits_since = None;
        state.open.push_back(state.sent.len());
        state.sent.push(sent);
        Ok(())
    }

    fn flush(&self, _: Instant) {
        let confirms = {
            let mut state = self.0.state.lock();
            state.flushes += 1;
            state.confirms_at_flush
        };
        if confirms {
            self.0.confirm();
        }
    }

    fn purge(&self) {
        self.0.answer_all(Some(ProduceErrorClass::Purged));
    }

    fn in_flight(&self) -> usize {
        self.0.state.lock().open.len()
    }

    fn has_topic(&self, number: u32) -> bool {
        number < self.0.state.lock().topics
    }

    fn has_dead_letter(&self) -> bool {
        self.0.state.lock().dead_letter
    }
}
