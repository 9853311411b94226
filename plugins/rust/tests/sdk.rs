//! What a handler says is what the contract's tables say: the SDK's layout, read back as the host reads it.

use std::time::Duration;

use wasmill_handler::log::Level;
use wasmill_handler::prelude::*;
use wasmill_handler::testing::{Harness, Outcome, Output, Sample};
use wasmill_handler::{Header, NotText};

fn echo(message: &Message, out: &mut Outputs) -> Verdict {
    out.forward(message);
    ack()
}

/// One that checks what it sees; the closure panics if it is wrong.
fn seeing(check: impl Fn(&Message) + 'static) -> Harness {
    Harness::function(move |message, _out| {
        check(message);
        ack()
    })
}

fn full() -> Sample {
    Sample::new().key("k").value("v").header("a", "1").header_without_value("b").header("a", "2").timestamp(77)
}

fn plain(message: usize, value: &str) -> Output {
    let value = Some(value.into());
    Output { message, topic: None, partition: None, timestamp: None, key: None, value, headers: Vec::new() }
}

#[test]
fn a_message_shows_all_that_was_handed_over() {
    let run = seeing(|message| {
        assert_eq!((message.key(), message.value()), (Some(&b"k"[..]), Some(&b"v"[..])));
        let headers: Vec<Header<'_>> = message.headers().collect();
        let header = |name, value| Header { name, value };
        assert_eq!(headers, [header(b"a", Some(b"1")), header(b"b", None), header(b"a", Some(b"2"))]);
        assert_eq!(message.headers().len(), 3);
        assert_eq!(message.header("a"), Some(&b"2"[..]));
        assert_eq!((message.header("b"), message.header("c")), (None, None));
        assert_eq!((message.topic(), message.partition()), ("somewhere", 5));
        assert_eq!((message.offset(), message.timestamp(), message.attempt()), (1 << 40, Some(77), 3));
    });
    let run = run.source("somewhere", 5).message(full().offset(1 << 40).attempt(3)).run();
    assert!(run.all_acknowledged());
}

#[test]
fn an_absent_key_or_value_is_not_an_empty_one() {
    seeing(|message| {
        assert_eq!((message.key(), message.value()), (None, None));
        assert_eq!((message.text(), message.timestamp()), (Err(NotText::Absent), None));
    })
    .message(Sample::new())
    .run();
    seeing(|message| {
        assert_eq!((message.key(), message.value()), (Some(&[][..]), Some(&[][..])));
        assert_eq!(message.text(), Ok(""));
    })
    .message(Sample::new().key("").value(""))
    .run();
    let run = Harness::function(echo).messages([Sample::new(), Sample::new().key("").value("")]).run();
    let sent: Vec<_> = run.outputs.iter().map(|o| (o.key.as_deref(), o.value.as_deref())).collect();
    assert_eq!(sent, [(None, None), (Some(&[][..]), Some(&[][..]))]);
}

#[test]
fn offsets_and_timestamps_below_zero_survive_the_split_into_words() {
    seeing(|message| assert_eq!((message.offset(), message.timestamp()), (-2, Some(i64::MIN))))
        .message(Sample::new().offset(-2).timestamp(i64::MIN))
        .run();
}

#[test]
fn a_forward_keeps_everything() {
    let run = Harness::function(echo).messages([full(), "x".into()]).run();
    let headers = vec![(b"a".into(), Some(b"1".into())), (b"b".into(), None), (b"a".into(), Some(b"2".into()))];
    let first = Output { key: Some(b"k".into()), timestamp: Some(77), headers, ..plain(0, "v") };
    assert_eq!(run.outputs, [first, plain(1, "x")]);
}

#[test]
fn parts_of_the_input_and_own_bytes_mix() {
    fn mixed(message: &Message, out: &mut Outputs) -> Verdict {
        let value = message.value().unwrap_or_default();
        out.send(Some(&value[1..2]), Some(b"own"));
        out.send(Some(b"own key"), Some(&value[2..]));
        let copy = value.to_vec();
        out.send(Some(&value[3..]), Some(&copy));
        ack()
    }
    let run = Harness::function(mixed).messages(["abc", "xyz"]).run();
    let keys: Vec<_> = run.outputs.iter().map(|output| output.key.clone().unwrap()).collect();
    assert_eq!(keys, [&b"b"[..], b"own key", b"", b"y", b"own key", b""]);
    assert_eq!(run.values(), ["own", "c", "abc", "own", "z", "xyz"]);
}

#[test]
fn a_draft_says_all_that_an_output_can_say() {
    fn detailed(message: &Message, out: &mut Outputs) -> Verdict {
        out.to(Topic::named("b")?)
            .key(message.key())
            .value_with(|buffer| buffer.extend_from_slice(b"new"))
            .header("first", Some(b"1"))
            .headers_of(message)
            .header("last", None)
            .timestamp(5 << 32)
            .partition(9)
            .send();
        ack()
    }
    let run = Harness::function(detailed).grant("a").grant("b").messages(["before".into(), full()]).run();
    let names: Vec<_> = run.outputs[1].headers.iter().map(|(name, _)| name.as_slice()).collect();
    assert_eq!(names, [&b"first"[..], b"a", b"b", b"a", b"last"]);
    assert_eq!(run.outputs[1].header("a"), Some(&b"2"[..]));
    assert_eq!((run.outputs[1].header("b"), run.outputs[1].header("last")), (None, None));
    let headers = run.outputs[1].headers.clone();
    let (topic, timestamp, partition) = (Some("b".to_owned()), Some(5 << 32), Some(9));
    let key = Some(b"k".to_vec());
    assert_eq!(run.outputs[1], Output { topic, timestamp, partition, key, headers, ..plain(1, "new") });
}

#[test]
fn headers_of_the_message_can_be_followed_by_others() {
    fn stamped(message: &Message, out: &mut Outputs) -> Verdict {
        let draft = out.to(Topic::DEFAULT).headers_of(message).header("x", message.value());
        draft.headers_of(message).header("y", Some(b"")).send();
        out.to(Topic::DEFAULT).headers_of(message).value(Some(b"untouched")).send();
        ack()
    }
    let run = Harness::function(stamped).messages([full(), full()]).run();
    for index in [0, 2] {
        let names: Vec<_> = run.outputs[index].headers.iter().map(|(name, _)| name.as_slice()).collect();
        assert_eq!(names, [&b"a"[..], b"b", b"a", b"x", b"a", b"b", b"a", b"y"]);
        assert_eq!(run.outputs[index].header("x"), Some(&b"v"[..]));
        assert_eq!(run.outputs[index].header("y"), Some(&b""[..]));
        assert_eq!(run.outputs[index + 1].headers.len(), 3);
    }
}

#[test]
fn a_draft_that_is_dropped_emits_nothing_and_harms_nothing() {
    fn wavering(message: &Message, out: &mut Outputs) -> Verdict {
        drop(out.to(Topic::DEFAULT).value(Some(b"no")).header("no", Some(b"no")));
        out.to(Topic::DEFAULT).value(Some(b"yes")).header("n", message.key()).send();
        ack()
    }
    let run = Harness::function(wavering).messages([full(), full()]).run();
    assert_eq!(run.values(), ["yes", "yes"]);
    assert_eq!(run.outputs[1].headers, [(b"n".to_vec(), Some(b"k".to_vec()))]);
}

#[test]
fn a_buffer_reaches_only_its_own_value() {
    fn written(message: &Message, out: &mut Outputs) -> Verdict {
        out.send(None, Some(b"before"));
        out.send_with(message.key(), |buffer| {
            assert!(buffer.is_empty());
            buffer.extend_from_slice(b"abcdef");
            buffer.truncate(3);
            buffer.make_ascii_uppercase();
            buffer.push(b'-');
            buffer.extend(*b"xy");
            write!(buffer as &mut dyn std::io::Write, "{}", 1).unwrap();
            (buffer as &mut dyn std::fmt::Write).write_char('é').unwrap();
            buffer.truncate(100);
        });
        ack()
    }
    let run = Harness::function(written).message(full()).run();
    assert_eq!(run.values(), ["before", "ABC-xy1é"]);
}

#[test]
fn more_outputs_than_one_emission_holds_keep_their_order_headers_and_message() {
    fn many(message: &Message, out: &mut Outputs) -> Verdict {
        let padding = [b'.'; 1000];
        for index in 0..3000u32 {
            let number = index.to_string();
            let draft = out.to(Topic::DEFAULT).key(Some(number.as_bytes())).value(Some(&padding));
            draft.headers_of(message).header("n", Some(number.as_bytes())).send();
        }
        for _ in 0..40_000 {
            out.forward(message);
        }
        ack()
    }
    let run = Harness::function(many).messages([full(), full()]).run();
    assert_eq!(run.outputs.len(), 2 * 43_000);
    for (index, output) in run.outputs.iter().enumerate() {
        assert_eq!(output.message, index / 43_000);
        let number = (index % 43_000).to_string();
        let expected = if index % 43_000 < 3000 { (4, Some(number.as_bytes())) } else { (3, None) };
        assert_eq!((output.headers.len(), output.header("n")), expected);
    }
}

#[test]
fn a_retry_stops_the_batch_and_a_rejection_does_not() {
    fn picky(message: &Message, out: &mut Outputs) -> Verdict {
        out.forward(message);
        match message.text()? {
            "wait" if message.attempt() < 2 => Err(Failure::retry_after(Duration::from_millis(30), "not yet")),
            "bad" => Err(Failure::reject("is bad")),
            _ => ack(),
        }
    }
    let mut instance = Harness::function(picky).start().unwrap();
    let run = instance.handle(["a", "bad", "b", "wait", "c"]);
    let retry = Outcome::Retry { after: Duration::from_millis(30), reason: "not yet".into() };
    let reject = Outcome::Reject { reason: "is bad".into() };
    assert_eq!(run.outcomes, [Outcome::Ack, reject, Outcome::Ack, retry, Outcome::NotReached]);
    assert_eq!(run.values(), ["a", "b"]);
    let run = instance.handle([Sample::from("wait").attempt(2), "c".into()]);
    assert_eq!(run.values(), ["wait", "c"]);
}

struct Counter {
    step: u64,
    seen: u64,
    topic: Topic,
}

impl Handler for Counter {
    fn init(context: &Context) -> Result<Self, String> {
        log::info!("counting in steps of {}", context.require("step")?);
        let step = context.parse("step")?.unwrap_or(1);
        Ok(Self { step, seen: 0, topic: Topic::named("counts")? })
    }

    fn handle(&mut self, _message: &Message, out: &mut Outputs) -> Verdict {
        self.seen += self.step;
        out.to(self.topic).value(Some(self.seen.to_string().as_bytes())).send();
        log::warn!("seen");
        ack()
    }
}

#[test]
fn state_lives_from_batch_to_batch_and_not_from_instance_to_instance() {
    for _ in 0..2 {
        let mut counter = Harness::new::<Counter>().config("step", "10").grant("counts").start().unwrap();
        let run = counter.handle(["", ""]);
        assert_eq!(run.values(), ["10", "20"]);
        let lines: Vec<_> = run.log.iter().map(|(level, text)| (*level, text.as_str())).collect();
        assert_eq!(lines, [(Level::Info, "counting in steps of 10"), (Level::Warn, "seen"), (Level::Warn, "seen")]);
        assert_eq!(counter.handle([""]).values(), ["30"]);
    }
}

#[test]
fn each_instance_asks_for_its_own_topics() {
    for (other, wanted) in [("counts", "else"), ("else", "counts")] {
        let harness = Harness::new::<Counter>().config("step", "1").grant(other).grant(wanted);
        assert_eq!(harness.message("").run().outputs[0].topic.as_deref(), Some("counts"));
    }
}

#[test]
fn an_instance_that_lacks_something_does_not_start() {
    let refused = |harness: Harness| harness.start().err().unwrap();
    assert_eq!(refused(Harness::new::<Counter>()), "config `step` is missing");
    let refused = refused(Harness::new::<Counter>().config("step", "1").grant("other"));
    assert!(refused.starts_with("topic `counts` is not granted"), "{refused}");
}

/// Both kinds of name that the macro takes, in forms that live in one namespace and in both.
mod names {
    use super::*;

    fn function(message: &Message, out: &mut Outputs) -> Verdict {
        out.forward(message);
        ack()
    }

    macro_rules! handlers {
        ($($name:ident: $declaration:item $made:expr;)*) => {$(
            $declaration
            impl Handler for $name {
                fn init(_context: &Context) -> Result<Self, String> { Ok($made) }
                fn handle(&mut self, _message: &Message, _out: &mut Outputs) -> Verdict { ack() }
            }
        )*};
    }

    handlers! {
        Unit: struct Unit; Unit;
        Tuple: #[allow(dead_code)] struct Tuple(u8); Tuple(1);
        Fields: #[allow(dead_code)] struct Fields { a: u8 } Fields { a: 1 };
        Choice: #[allow(dead_code)] enum Choice { A } Choice::A;
    }

    handler!(function);
    handler!(Unit);
    handler!(Tuple);
    handler!(Fields);
    handler!(self::Choice);
}
