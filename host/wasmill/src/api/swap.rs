//! Swap and rollback.

use serde::{Deserialize, Serialize};
use wasmill_config::Rollout;
use wasmill_deploy::group::lead;
use wasmill_deploy::swap::answer;

/// Where a swap is sent; its body is the component.
pub const SWAP: &str = "/api/v1/pipelines/{name}/swap";
/// Where a rollback is sent.
pub const ROLLBACK: &str = "/api/v1/pipelines/{name}/rollback";

/// The query of a swap or a rollback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Where the component came from, for people.
    pub source: Option<String>,
    /// Who asks.
    pub by: Option<String>,
    /// Instead of the configuration's.
    pub rollout: Option<Rollout>,
    /// The whole group, not this process alone.
    #[serde(default)]
    pub group: bool,
}

impl Asked {
    /// As names and values; what is not said has none.
    pub fn query(&self) -> Vec<(&'static str, &str)> {
        let Self { source, by, rollout, group } = self;
        let source = source.as_deref().map(|source| ("source", source));
        let by = by.as_deref().map(|by| ("by", by));
        let rollout = rollout.map(|rollout| ("rollout", rollout.as_str()));
        [source, by, rollout, group.then_some(("group", "true"))].into_iter().flatten().collect()
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Swapped {
    /// In all processes of a group.
    Group(lead::Swapped),
    /// In this process.
    Here(answer::Outcome),
}

#[cfg(test)]
pub mod tests {
    use axum::extract::Query;
    use wasmill_deploy::swap::answer::{Boundary, Done, Named, Outcome, Pause, WatchedFor};

    use super::*;
    use crate::api::tests::round_trip;

    /// A version.
    pub fn named(digest: &str) -> Named {
        Named { digest: digest.to_owned(), source: format!("{digest}.wasm") }
    }

    /// A canary that begins, with everything that an outcome can have.
    pub fn outcome() -> Outcome {
        Outcome {
            pipeline: "orders".to_owned(),
            outcome: Done::Canary,
            from: named("a"),
            to: named("b"),
            serial: 2,
            share: Some("5%".to_owned()),
            partitions: vec![
                Boundary { partition: "in/0".to_owned(), first_offset: 7, attempt: Some(3), rewound_to: None },
                Boundary { partition: "in/1".to_owned(), first_offset: 9, attempt: None, rewound_to: Some(8) },
            ],
            lanes: vec![Pause { lane: 0, pause_us: 80 }],
            waiting: vec![1],
            gate_ms: 120,
            handover_ms: 3,
            watched: Some(WatchedFor { messages: 1000, ms: 5000 }),
        }
    }

    /// As it is sent.
    pub const OUTCOME: &str = r#"{"from":{"digest":"a","source":"a.wasm"},"gate_ms":120,"handover_ms":3,"lanes":[{"lane":0,"pause_us":80}],"outcome":"canary","partitions":[{"attempt":3,"first_offset":7,"partition":"in/0"},{"first_offset":9,"partition":"in/1","rewound_to":8}],"pipeline":"orders","serial":2,"share":"5%","to":{"digest":"b","source":"b.wasm"},"waiting":[1],"watched":{"messages":1000,"ms":5000}}"#;

    /// A swap of a group of which one partition has not told.
    pub fn of_group() -> lead::Swapped {
        lead::Swapped {
            pipeline: "orders".to_owned(),
            group: "g".to_owned(),
            outcome: lead::Done::Partly,
            epoch: 4,
            from: "a".to_owned(),
            to: "b".to_owned(),
            source: "b.wasm".to_owned(),
            partitions: vec![lead::Boundary {
                topic: "in".to_owned(),
                partition: 0,
                first_offset: 7,
                process: Some("p".to_owned()),
            }],
            untold: vec!["in/1".to_owned()],
            processes: vec![lead::Process { process: "p".to_owned(), members: vec!["m".to_owned()], pause_us: 80 }],
        }
    }

    #[test]
    fn a_swap_is_answered_as_pinned() {
        round_trip(&Swapped::Here(outcome()), OUTCOME);
        round_trip(
            &Swapped::Group(of_group()),
            r#"{"epoch":4,"from":"a","group":"g","outcome":"partly","partitions":[{"first_offset":7,"partition":0,"process":"p","topic":"in"}],"pipeline":"orders","processes":[{"members":["m"],"pause_us":80,"process":"p"}],"source":"b.wasm","to":"b","untold":["in/1"]}"#,
        );
    }

    #[test]
    fn each_way_that_a_swap_can_go_has_its_word() {
        let words = [
            (Done::Swapped, "swapped"),
            (Done::Canary, "canary"),
            (Done::Shadow, "shadow"),
            (Done::RolledBack, "rolled-back"),
            (Done::Unchanged, "unchanged"),
            (Done::Other("of-tomorrow".to_owned()), "of-tomorrow"),
        ];
        for (outcome_is, word) in words {
            assert_eq!(outcome_is.as_str(), word);
            round_trip(&Outcome { outcome: outcome_is, ..outcome() }, &OUTCOME.replace("canary", word));
        }
    }

    #[test]
    fn what_is_asked_comes_through_a_query() {
        let read = |query: &str| Query::<Asked>::try_from_uri(&format!("http://host/?{query}").parse().expect("a URI"));
        for asked in [
            Asked::default(),
            Asked {
                source: Some("a.wasm".to_owned()),
                by: Some("me".to_owned()),
                rollout: Some(Rollout::Canary),
                group: true,
            },
        ] {
            let query: Vec<_> = asked.query().iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(read(&query.join("&")).expect("a query").0, asked);
        }
        assert!(read("of_tomorrow=1").is_err());
    }
}
