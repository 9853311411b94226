//! `wasmill history`.

use wasmill_deploy::handler::digest::short;
use wasmill_deploy::swap::history::Record;

use super::output::{Sent, answer, table};
use super::target::Target;
use super::versions::boundaries;
use crate::api::{history, of_pipeline};
use crate::failure::{Exit, Failure};

/// Show which handlers a pipeline had: when, who asked, from which offsets on, and what came of it
#[derive(Debug, clap::Args)]
pub struct History {
    /// The pipeline's name
    pipeline: String,
    /// Show so many of the latest events
    #[arg(long, default_value_t = 20)]
    last: usize,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl History {
    /// Asks and prints.
    pub fn run(self) -> Result<Exit, Failure> {
        let path = of_pipeline(history::PATH, &self.pipeline);
        let mut all: history::History<Sent<Record>> = self.target.get_private(&path)?;
        keep_last(&mut all, self.last);
        answer(self.json, &all, || told(&all))
    }
}

fn keep_last<R>(all: &mut history::History<R>, last: usize) {
    let before = all.history.len().saturating_sub(last);
    all.history.drain(..before);
}

fn told(all: &history::History<Sent<Record>>) -> String {
    table(["at", "what", "handler", "of", "by", ""], all.history.iter().map(|one| row(&one.read)))
}

fn row(one: &Record) -> [String; 6] {
    let (reason, first) = (one.reason.as_deref().unwrap_or_default(), boundaries(one).join(" "));
    [
        one.at.clone(),
        one.what.as_str().to_owned(),
        short(&one.to.digest).to_owned(),
        one.to.source.clone(),
        one.by.clone(),
        [reason, &first].join(" ").trim().to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::history::tests::record;

    #[test]
    fn the_latest_events_are_shown_a_line_for_each() {
        let of = |by: &str| {
            let record = Record { by: by.to_owned(), ..record() };
            serde_json::from_value(serde_json::to_value(record).expect("plain data")).expect("a record")
        };
        let mut all: history::History<Sent<Record>> =
            history::History { pipeline: "orders".to_owned(), history: vec![of("a"), of("b"), of("c")] };
        keep_last(&mut all, 2);
        assert_eq!(all.history.iter().map(|one| one.read.by.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(
            row(&all.history[0].read),
            ["2026-01-01T00:00:00.000Z", "rollback", "a", "a.wasm", "b", "worse in/0@7 in/1@9"]
        );
        let json = serde_json::to_value(&all).expect("plain data").to_string();
        assert!(json.starts_with(r#"{"history":[{"at":"#) && json.ends_with(r#"],"pipeline":"orders"}"#), "{json}");
    }
}
