//! What the admin port sends, to the byte.

use serde::Serialize;
use serde_json::json;
use wasmill_config::{Finding, Severity};
use wasmill_deploy::group::lead::{Boundary as GroupBoundary, Process, Swapped};
use wasmill_deploy::swap::answer::{Boundary, Done as SwapDone, Named, Outcome, Pause};
use wasmill_deploy::swap::gate::{Gate, Refusal};
use wasmill_deploy::swap::history::{Record, What};
use wasmill_deploy::swap::swapper::Drift;
use wasmill_pipeline::status::{LaneStatus, MemberStatus, PartitionStatus, ProducerStatus, ServingStatus, WorkStatus};

use crate::pipelines::refused::Refused;
use crate::pipelines::reload::{Done, Reloaded, Row};
use crate::pipelines::restart::{Left, Restarted};
use crate::pipelines::status::{ControlStatus, PipelineStatus, TrialStatus};

/// As the routes of this port send it.
fn sent(answer: impl Serialize) -> String {
    json!(answer).to_string()
}

fn named(digest: &str) -> Named {
    Named { digest: digest.to_owned(), source: format!("{digest}.wasm") }
}

fn outcome() -> Outcome {
    Outcome {
        pipeline: "orders".to_owned(),
        outcome: SwapDone::Canary,
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
    }
}

const OUTCOME: &str = r#"{"from":{"digest":"a","source":"a.wasm"},"gate_ms":120,"handover_ms":3,"lanes":[{"lane":0,"pause_us":80}],"outcome":"canary","partitions":[{"attempt":3,"first_offset":7,"partition":"in/0"},{"first_offset":9,"partition":"in/1","rewound_to":8}],"pipeline":"orders","serial":2,"share":"5%","to":{"digest":"b","source":"b.wasm"},"waiting":[1]}"#;

#[test]
fn a_swap_is_answered_as_pinned() {
    assert_eq!(sent(outcome()), OUTCOME);
    let swapped = Swapped {
        pipeline: "orders".to_owned(),
        group: "g".to_owned(),
        outcome: "partly",
        epoch: 4,
        from: "a".to_owned(),
        to: "b".to_owned(),
        source: "b.wasm".to_owned(),
        partitions: vec![GroupBoundary {
            topic: "in".to_owned(),
            partition: 0,
            first_offset: 7,
            process: Some("p".to_owned()),
        }],
        untold: vec!["in/1".to_owned()],
        processes: vec![Process { process: "p".to_owned(), members: vec!["m".to_owned()], pause_us: 80 }],
    };
    assert_eq!(
        sent(swapped),
        r#"{"epoch":4,"from":"a","group":"g","outcome":"partly","partitions":[{"first_offset":7,"partition":0,"process":"p","topic":"in"}],"pipeline":"orders","processes":[{"members":["m"],"pause_us":80,"process":"p"}],"source":"b.wasm","to":"b","untold":["in/1"]}"#
    );
}

#[test]
fn a_history_is_answered_as_pinned() {
    let record = Record {
        at: "2026-01-01T00:00:00.000Z".to_owned(),
        what: What::Rollback,
        by: "me".to_owned(),
        from: Some(named("b")),
        to: named("a"),
        reason: Some("worse".to_owned()),
        partitions: outcome().partitions,
        pause_us: Some(80),
        report: Some(json!({ "summary": {} })),
        pid: 7,
    };
    assert_eq!(
        sent(json!({ "pipeline": "orders", "history": [record] })),
        r#"{"history":[{"at":"2026-01-01T00:00:00.000Z","by":"me","from":{"digest":"b","source":"b.wasm"},"partitions":[{"attempt":3,"first_offset":7,"partition":"in/0"},{"first_offset":9,"partition":"in/1","rewound_to":8}],"pause_us":80,"pid":7,"reason":"worse","report":{"summary":{}},"to":{"digest":"a","source":"a.wasm"},"what":"rollback"}],"pipeline":"orders"}"#
    );
}

#[test]
fn a_refusal_is_answered_as_pinned() {
    let refusal = Refusal::at(Gate::Imports, "no");
    assert_eq!(
        sent(json!({ "error": refusal.to_string(), "gate": refusal.gate, "reason": refusal.reason })),
        r#"{"error":"refused at the gate `imports`: no","gate":"imports","reason":"no"}"#
    );
    assert_eq!(sent(Refused::of("no")), r#"{"error":"no"}"#);
    let finding = Finding {
        severity: Severity::Error,
        file: "wasmill.toml".to_owned(),
        line: 3,
        column: 1,
        width: 4,
        key: "lane".to_owned(),
        message: "unknown key `lane`".to_owned(),
        hint: Some("did you mean `lanes`?".to_owned()),
        source: "lane = 1".to_owned(),
    };
    assert_eq!(
        sent(Refused { error: "no".to_owned(), findings: vec![finding] }),
        r#"{"error":"no","findings":[{"column":1,"file":"wasmill.toml","hint":"did you mean `lanes`?","key":"lane","line":3,"message":"unknown key `lane`","severity":"error","source":"lane = 1","width":4}]}"#
    );
}

#[test]
fn a_reload_is_answered_as_pinned() {
    let row = |pipeline: &str, done| Row {
        pipeline: pipeline.to_owned(),
        done,
        keys: Vec::new(),
        reason: None,
        swap: serde_json::Value::Null,
    };
    let reloaded = Reloaded {
        applied: false,
        pipelines: vec![
            row("a", Done::Unchanged),
            Row { keys: vec!["handler"], swap: json!(outcome()), ..row("b", Done::Swapped) },
            Row { keys: vec!["members"], reason: Some("no".to_owned()), ..row("c", Done::NotApplied) },
        ],
        process: vec!["kafka.bootstrap"],
    };
    assert_eq!(
        sent(reloaded),
        r#"{"applied":false,"pipelines":[{"done":"unchanged","pipeline":"a"},{"done":"swapped","keys":["handler"],"pipeline":"b","swap":"#
            .to_owned()
            + OUTCOME
            + r#"},{"done":"not-applied","keys":["members"],"pipeline":"c","reason":"no"}],"process":["kafka.bootstrap"]}"#
    );
}

#[test]
fn a_restart_is_answered_as_pinned() {
    let left = |number: i32, committed| Left { partition: format!("in/{number}"), committed };
    let restarted = Restarted {
        pipeline: "a".to_owned(),
        keys: vec!["members"],
        settled: false,
        reason: Some("late".to_owned()),
        left: vec![left(0, Some(7)), left(1, None)],
        process: vec!["kafka.bootstrap"],
    };
    assert_eq!(
        sent(restarted),
        r#"{"keys":["members"],"left":[{"committed":7,"partition":"in/0"},{"committed":null,"partition":"in/1"}],"pipeline":"a","process":["kafka.bootstrap"],"reason":"late","settled":false}"#
    );
}

#[test]
fn a_status_is_answered_as_pinned() {
    let status = super::routes::Status {
        version: "1",
        uptime_seconds: 5,
        ready: false,
        pipelines: vec![PipelineStatus {
            serving: ServingStatus {
                name: "orders".to_owned(),
                group: "g".to_owned(),
                topics: vec!["in".to_owned()],
                plugin: "a".to_owned(),
                source: "a.wasm".to_owned(),
                swaps: 1,
            },
            trial: Some(TrialStatus {
                plugin: "b".to_owned(),
                source: "b.wasm".to_owned(),
                rollout: "shadow",
                share: None,
                messages: 10,
                given_up: 1,
                crashes: 2,
                differing: Some(3),
            }),
            drift: Some(Drift { configured: "a".to_owned(), other: "b".to_owned(), reason: "r".to_owned() }),
            control: Some(ControlStatus { process: "p".to_owned(), epoch: 3, agreed: 4 }),
            work: WorkStatus {
                generations: 2,
                ready: false,
                held: Some("h".to_owned()),
                producer: Some(ProducerStatus { reason: "p".to_owned(), failures: 3, next_in_ms: 1200 }),
                topics_gone: vec!["in".to_owned()],
                outputs_in_flight: 3,
                members: vec![MemberStatus {
                    member: 0,
                    state: "polling".to_owned(),
                    joined: true,
                    partitions: 1,
                    commit_error: None,
                    commit_failures: 0,
                    silent_ms: 4,
                }],
                lanes: vec![LaneStatus { lane: 1, partitions: 1, memory_bytes: 65536, recycled: 0, trouble: None }],
                partitions: vec![PartitionStatus {
                    topic: "in".to_owned(),
                    partition: 2,
                    member: 0,
                    lane: Some(1),
                    generation: 1,
                    state: "stopped",
                    position: 5,
                    watermark: 4,
                    committed: Some(4),
                    end: None,
                    lag: None,
                    span_messages: 1,
                    span_bytes: 10,
                    offset: Some(4),
                    attempt: None,
                    next_attempt_in_ms: None,
                    reason: Some("given up".to_owned()),
                }],
            },
        }],
    };
    assert_eq!(
        serde_json::to_string(&status).expect("plain data"),
        r#"{"version":"1","uptime_seconds":5,"ready":false,"pipelines":[{"name":"orders","group":"g","topics":["in"],"plugin":"a","source":"a.wasm","swaps":1,"trial":{"plugin":"b","source":"b.wasm","rollout":"shadow","share":null,"messages":10,"given_up":1,"crashes":2,"differing":3},"drift":{"configured":"a","other":"b","reason":"r"},"control":{"process":"p","epoch":3,"agreed":4},"generations":2,"ready":false,"held":"h","producer":{"reason":"p","failures":3,"next_in_ms":1200},"topics_gone":["in"],"outputs_in_flight":3,"members":[{"member":0,"state":"polling","joined":true,"partitions":1,"commit_error":null,"commit_failures":0,"silent_ms":4}],"lanes":[{"lane":1,"partitions":1,"memory_bytes":65536,"recycled":0,"trouble":null}],"partitions":[{"topic":"in","partition":2,"member":0,"lane":1,"generation":1,"state":"stopped","position":5,"watermark":4,"committed":4,"end":null,"lag":null,"span_messages":1,"span_bytes":10,"offset":4,"reason":"given up"}]}]}"#
    );
}
