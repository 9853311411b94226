//! The reference handler: it does what the headers of a message say, or without a header `do` the setting of that name, so
//! that one set of cases can be put to the SDK of every language. `plugins/CONFORMANCE.md` has the commands.

use std::time::Duration;

use serde_json::Value;
use wasmill_handler::prelude::*;

#[derive(Clone, Copy)]
enum Command {
    Forward,
    Drop,
    Copy,
    Upper,
    Many,
    To,
    Tombstone,
    Empty,
    Describe,
    Json,
    Retry,
    Reject,
    Crash,
    Log,
    Config,
    Context,
    Count,
}

impl Command {
    fn named(name: &[u8]) -> Result<Self, String> {
        Ok(match name {
            b"forward" => Self::Forward,
            b"drop" => Self::Drop,
            b"copy" => Self::Copy,
            b"upper" => Self::Upper,
            b"many" => Self::Many,
            b"to" => Self::To,
            b"tombstone" => Self::Tombstone,
            b"empty" => Self::Empty,
            b"describe" => Self::Describe,
            b"json" => Self::Json,
            b"retry" => Self::Retry,
            b"reject" => Self::Reject,
            b"crash" => Self::Crash,
            b"log" => Self::Log,
            b"config" => Self::Config,
            b"context" => Self::Context,
            b"count" => Self::Count,
            other => return Err(format!("unknown command {}", text(Some(other)))),
        })
    }
}

struct Reference {
    context: Context,
    /// The command of messages without one of their own.
    standing: Result<Command, String>,
    /// Messages that were handed over before this one.
    count: u64,
}

handler!(Reference);

impl Handler for Reference {
    fn init(context: &Context) -> Result<Self, String> {
        if let Some(refusal) = context.config("fail") {
            return Err(refusal.to_owned());
        }
        let standing = Command::named(context.config("do").unwrap_or("forward").as_bytes());
        Ok(Self { context: context.clone(), standing, count: 0 })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        let count = self.count;
        self.count += 1;
        let argument = || text(message.header("arg"));
        let command = match message.header("do") {
            Some(name) => Command::named(name),
            None => self.standing.clone(),
        };
        match command? {
            Command::Forward => out.forward(message),
            Command::Drop => {}
            Command::Copy => copy(message, out),
            Command::Upper => match message.value() {
                Some(value) => out.send_with(message.key(), |buffer| {
                    buffer.extend_from_slice(value);
                    buffer.make_ascii_uppercase();
                }),
                None => out.send(message.key(), None),
            },
            Command::Many => (0..argument().parse::<u32>()?).for_each(|number| say(out, &number.to_string())),
            Command::To => out.to(Topic::named(&argument())?).key(message.key()).value(message.value()).send(),
            Command::Tombstone => out.send(message.key(), None),
            Command::Empty => {
                let draft = out.to(Topic::DEFAULT).key(Some(b"")).value(Some(b""));
                draft.header("", Some(b"")).header("n", None).send();
            }
            Command::Describe => say(out, &describe(message)),
            Command::Json => say(out, &name_in(message.value()).ok_or("no name")?),
            Command::Retry => return retry(message, out, argument().parse()?),
            Command::Reject => return Err(Failure::reject(text(message.value()))),
            Command::Crash => panic!("{}", text(message.value())),
            Command::Log => log::write(level(&argument())?, &text(message.value())),
            Command::Config => {
                let name = argument();
                say(out, self.context.config(&name).ok_or_else(|| format!("no setting {name}"))?);
            }
            Command::Context => {
                let Self { context, .. } = self;
                let (pipeline, group, digest) = (context.pipeline(), context.group(), context.digest());
                say(out, &format!("pipeline={pipeline} group={group} digest={digest}"));
            }
            Command::Count => say(out, &count.to_string()),
        }
        ack()
    }
}

/// Bytes as text; what is none is replaced, what is absent is empty.
fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// Sends a text without a key.
fn say(out: &mut Outputs, text: &str) {
    out.send(None, Some(text.as_bytes()));
}

/// Sends all of a message from memory of its own: slices of the message would be sent as references.
fn copy(message: &Message, out: &mut Outputs) {
    let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let (key, value) = (own(message.key()), own(message.value()));
    let mut draft = out.to(Topic::DEFAULT).key(key.as_deref()).value(value.as_deref()).partition(message.partition());
    if let Some(ms) = message.timestamp() {
        draft = draft.timestamp(ms);
    }
    for header in message.headers() {
        let (name, value) = (header.name.to_vec(), own(header.value));
        draft = draft.header(name, value.as_deref());
    }
    draft.send();
}

fn describe(message: &Message) -> String {
    let size = |bytes: Option<&[u8]>| bytes.map_or("absent".to_owned(), |bytes| bytes.len().to_string());
    let headers: Vec<String> =
        message.headers().map(|one| format!("{}:{}", text(Some(one.name)), size(one.value))).collect();
    format!(
        "topic={} partition={} offset={} timestamp={} attempt={} key={} value={} headers={}",
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp().map_or("none".to_owned(), |ms| ms.to_string()),
        message.attempt(),
        size(message.key()),
        size(message.value()),
        headers.join(",")
    )
}

/// The text of the field `name` of a JSON object.
fn name_in(value: Option<&[u8]>) -> Option<String> {
    let document: Value = serde_json::from_slice(value?).ok()?;
    Some(document.get("name")?.as_str()?.to_owned())
}

fn retry(message: &Message, out: &mut Outputs, enough: u32) -> Verdict {
    if message.attempt() >= enough {
        out.forward(message);
        return ack();
    }
    let reason = format!("attempt {}", message.attempt());
    match message.header("after") {
        Some(after) => Err(Failure::retry_after(Duration::from_millis(text(Some(after)).parse()?), reason)),
        None => Err(Failure::retry(reason)),
    }
}

fn level(name: &str) -> Result<log::Level, String> {
    Ok(match name {
        "trace" => log::Level::Trace,
        "debug" => log::Level::Debug,
        "info" => log::Level::Info,
        "warn" => log::Level::Warn,
        "error" => log::Level::Error,
        other => return Err(format!("unknown level {other}")),
    })
}
