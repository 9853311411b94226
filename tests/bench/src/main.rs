//! What wasmill is measured against: the same work in the fastest loop on librdkafka that we know how to write.
//!
//! `native consume` looks at every message and commits; `native map` also sends each value on in upper case. One thread
//! takes up to 2,048 messages with `rd_kafka_consume_batch_queue`, hands the outputs over with
//! `rd_kafka_produce_batch` and commits once a second what the broker has confirmed: the promise of wasmill's manual
//! mode, without its rebalances, retries, fences, limits and dead letters. Both clients have the settings that
//! wasmill gives its own. `native fill` writes the input. How the two are compared: `tests/src/bench/mod.rs`.
//!
//! `native burn` takes a share of a CPU: what a handler that misbehaves is set beside (`tests/src/bench/isolation.rs`).
//!
//! When everything is committed it prints its counts as one line of JSON and stays until its standard input ends, so that
//! whoever measures it can look at the process first.

mod burn;
mod client;
mod consumer;
mod fill;
mod producer;
mod pump;
mod settings;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "hint: native fill|consume|map bootstrap=HOST:PORT topic=NAME messages=N [output=NAME] [group=NAME] \
                     [bytes=100] [partitions=4] [bad=0]; or native burn percent=N";

/// `name=value` arguments.
struct Arguments(HashMap<String, String>);

impl Arguments {
    fn parse(words: impl Iterator<Item = String>) -> Result<Self> {
        let pair = |word: String| match word.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => bail!("`{word}` is not name=value; {USAGE}"),
        };
        words.map(pair).collect::<Result<_>>().map(Self)
    }

    fn text(&self, name: &str) -> Result<&str> {
        self.0.get(name).map(String::as_str).with_context(|| format!("`{name}` is missing; {USAGE}"))
    }

    fn number(&self, name: &str, default: Option<u64>) -> Result<u64> {
        match (self.0.get(name), default) {
            (Some(text), _) => text.parse().with_context(|| format!("`{name}={text}` is not a number; {USAGE}")),
            (None, Some(default)) => Ok(default),
            (None, None) => bail!("`{name}` is missing; {USAGE}"),
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let job = words.next().with_context(|| format!("what to do is missing; {USAGE}"))?;
    let arguments = Arguments::parse(words)?;
    if job == "burn" {
        return burn::burn(arguments.number("percent", None)?);
    }
    let bootstrap = arguments.text("bootstrap")?;
    let topic = arguments.text("topic")?;
    let messages = arguments.number("messages", None)?;
    let partitions = arguments.number("partitions", Some(4))?.clamp(1, 1024) as usize;
    match job.as_str() {
        "fill" => {
            let bytes = arguments.number("bytes", Some(100))?;
            let input = fill::Input {
                messages,
                partitions,
                bytes: usize::try_from(bytes)?,
                bad: arguments.number("bad", Some(0))?,
            };
            fill::fill(bootstrap, topic, &input)
        }
        "consume" | "map" => {
            let output = if job == "map" { Some(arguments.text("output")?) } else { None };
            let group = arguments.text("group")?;
            let work = pump::Work { bootstrap, topic, group, output, messages, partitions };
            pump::run(&work, &mut |counts| {
                let pump::Counts { consumed, produced, seconds } = counts;
                let mut out = std::io::stdout().lock();
                writeln!(out, r#"{{"consumed":{consumed},"produced":{produced},"seconds":{seconds:.4}}}"#)?;
                out.flush()?;
                std::io::stdin().read_to_end(&mut Vec::new())?;
                Ok(())
            })
        }
        other => bail!("no job is named `{other}`; {USAGE}"),
    }
}
