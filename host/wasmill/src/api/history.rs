//! The history of a pipeline's handlers.

use serde::{Deserialize, Serialize};
use wasmill_deploy::swap::history::Record;

/// Where it is asked for.
pub const PATH: &str = "/api/v1/pipelines/{name}/history";

/// The history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History<R = Record> {
    /// The pipeline.
    pub pipeline: String,
    /// What happened, the latest last.
    pub history: Vec<R>,
}

#[cfg(test)]
pub mod tests {
    use wasmill_deploy::swap::history::What;

    use super::*;
    use crate::api::swap::tests::{named, outcome};
    use crate::api::tests::round_trip;

    /// A record with everything that a record can have.
    pub fn record() -> Record {
        Record {
            at: "2026-01-01T00:00:00.000Z".to_owned(),
            what: What::Rollback,
            by: "me".to_owned(),
            from: Some(named("b")),
            to: named("a"),
            reason: Some("worse".to_owned()),
            partitions: outcome().partitions,
            pause_us: Some(80),
            report: Some(serde_json::json!({ "summary": {} })),
            pid: 7,
        }
    }

    #[test]
    fn a_history_is_answered_as_pinned() {
        round_trip(
            &History { pipeline: "orders".to_owned(), history: vec![record()] },
            r#"{"history":[{"at":"2026-01-01T00:00:00.000Z","by":"me","from":{"digest":"b","source":"b.wasm"},"partitions":[{"attempt":3,"first_offset":7,"partition":"in/0"},{"first_offset":9,"partition":"in/1","rewound_to":8}],"pause_us":80,"pid":7,"reason":"worse","report":{"summary":{}},"to":{"digest":"a","source":"a.wasm"},"what":"rollback"}],"pipeline":"orders"}"#,
        );
        let short = Record {
            what: What::Start,
            from: None,
            reason: None,
            partitions: Vec::new(),
            pause_us: None,
            report: None,
            ..record()
        };
        round_trip(
            &short,
            r#"{"at":"2026-01-01T00:00:00.000Z","by":"me","pid":7,"to":{"digest":"a","source":"a.wasm"},"what":"start"}"#,
        );
        round_trip(
            &Record { what: What::Other("of-tomorrow".to_owned()), ..short },
            r#"{"at":"2026-01-01T00:00:00.000Z","by":"me","pid":7,"to":{"digest":"a","source":"a.wasm"},"what":"of-tomorrow"}"#,
        );
    }
}
