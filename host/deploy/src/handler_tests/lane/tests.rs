//! The lane in small over a handler that does what the value of each message says: `ack`, `out` (emits its value), `retry`,
//! `retry<3`, `reject`, `trap`, `crash` (traps once), `halt` (returns in front of it), `slow` (returns after the deadline).

use std::sync::atomic::{AtomicBool, Ordering};

use wasmill_core::{Emitted, EmittedRow, Failure, Span};
use wasmill_wasm::StartError;

use super::*;

/// What the guests were called with: `1.0 5 6#2` is source 1, partition 0.
type Calls = Arc<Mutex<Vec<String>>>;

#[derive(Default)]
struct Fake {
    calls: Calls,
    crashed: AtomicBool,
    refuses: bool,
    deadline: Option<Instant>,
}

struct FakeGuest {
    handler: Arc<Fake>,
    log: Arc<dyn LogSink>,
    emitted: Emitted,
    failures: Vec<Failure>,
}

/// So that guests can share it.
struct Shared(Arc<Fake>);

impl Handler for Shared {
    fn digest(&self) -> &str {
        "v1"
    }

    fn start(&self, spec: &InstanceSpec) -> Result<Box<dyn Guest>, StartError> {
        if self.0.refuses {
            return Err(StartError::Refused("no table".to_owned()));
        }
        let (emitted, failures) = (Emitted::new(), Vec::new());
        Ok(Box::new(FakeGuest { handler: self.0.clone(), log: spec.log.clone(), emitted, failures }))
    }
}

impl Guest for FakeGuest {
    fn handle(&mut self, source: u32, partition: i32, batch: &Batch) -> Result<u32, CallError> {
        self.emitted.clear();
        self.failures.clear();
        let mut line = format!("{source}.{partition}");
        let mut reached = batch.len();
        let mut crash = None;
        for (at, message) in batch.messages().enumerate() {
            let value = String::from_utf8_lossy(message.value().unwrap_or_default()).into_owned();
            line += &format!(" {}", message.offset);
            if message.attempt > 1 {
                line += &format!("#{}", message.attempt);
            }
            let (word, below) = value.split_once('<').unwrap_or((&value, "1000"));
            let holds = message.attempt < below.parse().expect("a number");
            let fail = |kind| Failure { message: at as u32, retry_after: None, kind, reason: "no".to_owned() };
            match word {
                "out" => self.emit(at, batch, &value),
                "retry" if holds => {
                    self.emit(at, batch, "dropped");
                    self.failures.push(fail(FailureKind::Retry));
                }
                "reject" => self.failures.push(fail(FailureKind::Reject)),
                "trap" if holds => crash = Some(ErrorClass::Trap),
                "crash" if !self.handler.crashed.swap(true, Ordering::Relaxed) => crash = Some(ErrorClass::Memory),
                "halt" => reached = reached.min(at),
                "slow" => {
                    while self.handler.deadline.is_some_and(|deadline| Instant::now() < deadline) {
                        std::thread::yield_now();
                    }
                    self.failures.push(fail(FailureKind::Retry));
                }
                _ => {}
            }
        }
        self.log.write(LogLevel::Info, &line);
        self.handler.calls.lock().push(line);
        match crash {
            Some(class) => Err(CallError { class, message: "wasm said no".to_owned(), backtrace: None }),
            None => Ok(reached as u32),
        }
    }

    fn emitted(&self) -> &Emitted {
        &self.emitted
    }

    fn failures(&self) -> &[Failure] {
        &self.failures
    }
}

impl FakeGuest {
    fn emit(&mut self, message: usize, batch: &Batch, value: &str) {
        let start = (batch.data().len() + self.emitted.data.len()) as u32;
        self.emitted.data.extend_from_slice(value.as_bytes());
        self.emitted.rows.push(EmittedRow {
            message: message as u32,
            topic: 0,
            key: Span::NONE,
            value: Span { start, len: value.len() as u32 },
            first_header: 0,
            headers: 0,
            timestamp: None,
            partition: None,
        });
    }
}

fn settings() -> config::Pipeline {
    let text = "[kafka]\nbootstrap = \"broker:9092\"\n[pipelines.test]\ntopics = [\"orders\", \"more\"]\ngroup = \"g\"\n\
                handler = \"h.wasm\"\noutput = \"out\"\ndead_letter = \"dead\"\n\
                retry = { attempts = 3, backoff = \"1s\", max_delay = \"60s\" }\n";
    config::parse("wasmill.toml", text).expect("a good configuration").config.pipelines.remove(0)
}

fn lane_of(fake: Fake) -> (Lane, Calls) {
    let calls = fake.calls.clone();
    (Lane::new(Arc::new(Shared(Arc::new(fake))), &settings()), calls)
}

fn lane() -> (Lane, Calls) {
    lane_of(Fake::default())
}

fn message(offset: i64, value: &str) -> PlainMessage {
    PlainMessage {
        topic: "orders".to_owned(),
        partition: 0,
        offset,
        timestamp: None,
        key: None,
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

fn messages(values: &[&str]) -> Vec<PlainMessage> {
    (5..).zip(values).map(|(offset, value)| message(offset, value)).collect()
}

/// What came of a message, attempt by attempt: the word, and how it goes on.
fn told(answers: &[Answer]) -> Vec<String> {
    let told = |answer: &Answer| {
        let end = match &answer.verdict {
            Verdict::Acknowledged => format!("out {}", answer.emitted.len()),
            Verdict::Again { delay, next_attempt, .. } => format!("#{next_attempt} in {}s", delay.as_secs()),
            Verdict::GivenUp(end) => format!("{} after {}", end.class, end.attempts),
        };
        format!("{}: {end}", answer.word)
    };
    answers.iter().map(told).collect()
}

#[test]
fn a_batch_goes_together_and_each_message_has_its_own_answer() {
    let (mut lane, calls) = lane();
    let answers = lane.settle(&messages(&["out", "reject", "ack"])).expect("it starts");
    assert_eq!(*calls.lock(), ["0.0 5 6 7"]);
    assert_eq!(told(&answers[0]), ["ack: out 1"]);
    assert_eq!(told(&answers[1]), ["reject: rejected after 1"]);
    assert_eq!(told(&answers[2]), ["ack: out 0"]);
    assert_eq!((lane.instances(), lane.crashes()), (1, 0));
}

#[test]
fn after_a_crash_in_company_each_message_goes_alone() {
    let (mut lane, calls) = lane();
    let answers = lane.settle(&messages(&["out", "crash", "ack"])).expect("it starts");
    assert_eq!(*calls.lock(), ["0.0 5 6 7", "0.0 5", "0.0 6", "0.0 7"]);
    assert!(answers.iter().all(|answers| answers.len() == 1), "the crash says nothing of any of them");
    assert_eq!(told(&answers[0]), ["ack: out 1"]);
    assert_eq!((lane.instances(), lane.crashes()), (2, 1));
}

#[test]
fn a_message_that_crashes_alone_is_tried_until_it_fails_on_a_fresh_instance_each_time() {
    let (mut lane, calls) = lane();
    let answers = lane.settle(&messages(&["ack", "trap"])).expect("it starts");
    assert_eq!(*calls.lock(), ["0.0 5 6", "0.0 5", "0.0 6", "0.0 6", "0.0 6#2", "0.0 6#3"]);
    assert_eq!(told(&answers[1]), ["trap: #2 in 1s", "trap: #3 in 2s", "trap: trap after 3"]);
    assert_eq!(answers[1][2].reason(), Some("wasm said no"));
    assert_eq!(lane.crashes(), 5);
}

#[test]
fn a_retried_message_is_followed_to_its_last_attempt_and_those_behind_it_wait() {
    let (mut lane, calls) = lane();
    let answers = lane.settle(&messages(&["retry", "out"])).expect("it starts");
    assert_eq!(*calls.lock(), ["0.0 5 6", "0.0 5#2 6", "0.0 5#3 6", "0.0 6"]);
    assert_eq!(told(&answers[0]), ["retry: #2 in 1s", "retry: #3 in 2s", "retry: retries-exhausted after 3"]);
    assert_eq!(told(&answers[1]), ["ack: out 1"]);
    let attempts: Vec<_> = answers[0].iter().map(|answer| (answer.attempt, answer.dropped)).collect();
    assert_eq!(attempts, [(1, 1), (2, 1), (3, 1)], "what it emitted is dropped each time");
}

#[test]
fn a_retry_that_succeeds_ends_there() {
    let (mut lane, _) = lane();
    let answers = lane.settle(&messages(&["ack", "retry<2", "ack"])).expect("it starts");
    assert_eq!(told(&answers[1]), ["retry: #2 in 1s", "ack: out 0"]);
    assert_eq!(answers[1][1].attempt, 2);
}

#[test]
fn messages_that_were_not_reached_go_in_the_next_call_at_the_same_attempt() {
    let (mut lane, calls) = lane();
    let answers = lane.settle(&messages(&["ack", "halt", "ack"])).expect("it starts");
    assert_eq!(calls.lock()[..3], ["0.0 5 6 7", "0.0 6 7", "0.0 6#2 7"]);
    assert_eq!(told(&answers[1])[2], "no-progress: no-progress after 3");
    assert_eq!(told(&answers[2]), ["ack: out 0"]);
}

#[test]
fn offsets_of_a_batch_may_be_whatever_a_case_says() {
    let (mut lane, calls) = lane();
    let batch = [message(9, "out"), message(i64::MAX, "retry<2"), message(3, "crash"), message(3, "out")];
    let answers = lane.settle(&batch).expect("it starts");
    assert_eq!(calls.lock()[0], format!("0.0 9 {} 3 3", i64::MAX));
    let last: Vec<_> = answers.iter().map(|answers| told(answers).pop().expect("settled")).collect();
    assert_eq!(last, ["ack: out 1", "ack: out 0", "ack: out 0", "ack: out 1"]);
    assert_eq!(told(&answers[1]).len(), 2);
}

#[test]
fn no_call_begins_after_the_deadline() {
    let (mut lane, calls) = lane();
    let answers = lane.settle_by(&messages(&["ack"]), Some(Instant::now())).expect("nothing is started");
    assert_eq!((answers[0].len(), calls.lock().len(), lane.instances()), (0, 0, 0));

    let deadline = Instant::now() + Duration::from_millis(50);
    let (mut lane, calls) = lane_of(Fake { deadline: Some(deadline), ..Fake::default() });
    let answers = lane.settle_by(&messages(&["slow", "ack"]), Some(deadline)).expect("it starts");
    assert_eq!((told(&answers[0]), answers[1].len()), (vec!["retry: #2 in 1s".to_owned()], 0));
    assert_eq!(calls.lock().len(), 1);
}

#[test]
fn a_single_call_tells_a_retry_and_does_not_follow_it() {
    let (mut lane, calls) = lane();
    let answer = lane.call(&message(5, "retry"), 2).expect("it starts");
    assert_eq!(told(&[answer]), ["retry: #3 in 2s"]);
    let answer = lane.call(&message(5, "retry"), 3).expect("it starts");
    assert_eq!(told(&[answer]), ["retry: retries-exhausted after 3"]);
    assert_eq!(*calls.lock(), ["0.0 5#2", "0.0 5#3"]);
}

#[test]
fn a_single_call_that_fails_on_a_used_instance_goes_once_more_on_a_fresh_one() {
    let (mut lane, calls) = lane();
    lane.call(&message(5, "ack"), 1).expect("it starts");
    let answer = lane.call(&message(6, "crash"), 1).expect("it starts");
    assert_eq!(answer.before.as_ref().map(|error| error.class), Some(ErrorClass::Memory));
    assert_eq!((answer.crash.is_none(), told(&[answer])), (true, vec!["ack: out 0".to_owned()]));
    assert_eq!(*calls.lock(), ["0.0 5", "0.0 6", "0.0 6"]);
    assert_eq!(lane.instances(), 2);
}

#[test]
fn a_single_call_that_crashes_on_a_fresh_instance_is_told() {
    let (mut lane, calls) = lane();
    let answer = lane.call(&message(5, "trap"), 1).expect("it starts");
    assert!(answer.before.is_none() && answer.crash.is_some());
    assert_eq!((told(&[answer]), calls.lock().len()), (vec!["trap: #2 in 1s".to_owned()], 1));
}

#[test]
fn the_lines_of_a_call_stand_at_its_first_message() {
    let (mut lane, _) = lane();
    let answers = lane.settle(&messages(&["ack", "retry<2"])).expect("it starts");
    let lines = |answer: &Answer| answer.log.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
    assert_eq!((lines(&answers[0][0]), lines(&answers[1][0])), (vec!["0.0 5 6".to_owned()], vec![]));
    assert_eq!(lines(&answers[1][1]), ["0.0 6#2"]);
    assert_eq!(lane.take_log(), []);
}

#[test]
fn the_handler_is_told_the_number_of_the_topic() {
    let (mut lane, calls) = lane();
    for topic in ["more", "another"] {
        let more = PlainMessage { topic: topic.to_owned(), partition: 3, ..message(5, "ack") };
        lane.call(&more, 1).expect("it starts");
    }
    assert_eq!(*calls.lock(), ["1.3 5", "0.3 5"]);
}

#[test]
fn a_handler_that_cannot_start_is_an_error() {
    let (mut lane, _) = lane_of(Fake { refuses: true, ..Fake::default() });
    let error = lane.settle(&messages(&["ack"])).expect_err("it does not start");
    assert_eq!(error.to_string(), "the handler refused to start: no table");
}
