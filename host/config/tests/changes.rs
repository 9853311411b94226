//! What a running process sees of a file that was edited.

use wasmill_config::{Change, Config, changes, parse_with, process_changes};

/// A whole file; `lines` stand in its pipeline.
fn file(top: &str, lines: &str) -> Config {
    let text = format!(
        "{top}\n[pipelines.a]\ntopics = [\"in\"]\ngroup = \"g\"\n{lines}\n{}{}",
        if lines.contains("handler =") { "" } else { "handler = \"h.wasm\"\n" },
        if lines.contains("dead_letter") || lines.contains("on_exhausted") { "" } else { "dead_letter = \"dead\"\n" },
    );
    parse_with("wasmill.toml", &text, &|_| None).unwrap_or_else(|mistakes| panic!("{mistakes}")).config
}

const TOP: &str = "[kafka]\nbootstrap = \"localhost:9092\"";

/// The keys that differ from the least file's when `lines` are added, and whether all of them are live.
fn of(lines: &str) -> (Vec<&'static str>, bool) {
    let found = changes(&file(TOP, "").pipelines[0], &file(TOP, lines).pipelines[0]);
    (found.iter().map(|change| change.key).collect(), found.iter().all(|change| change.live))
}

#[test]
fn what_the_next_batch_can_be_handled_with_is_live() {
    for (lines, key) in [
        ("handler = \"other.wasm\"", "handler"),
        ("grant = [\"clock\"]", "grant"),
        ("config = { mask = true }", "config"),
        ("limits.memory = \"32MiB\"", "limits.memory"),
        ("limits.log_line = \"1KiB\"", "limits.log_line"),
        ("retry.attempts = 7", "retry.attempts"),
        ("retry.backoff = \"1s\"", "retry.backoff"),
        ("limits.component = \"1MiB\"", "limits.component"),
        ("swap.watch = true", "swap.watch"),
        ("swap.rollout = \"canary\"", "swap.rollout"),
        ("swap.budget.crashes = 3", "swap.budget"),
    ] {
        assert_eq!(of(lines), (vec![key], true), "{lines}");
    }
}

#[test]
fn what_members_lanes_and_producer_are_made_with_is_not() {
    for (lines, keys) in [
        ("members = 2", vec!["members"]),
        ("lanes = 1", vec!["lanes"]),
        ("start = \"latest\"", vec!["start"]),
        ("out_of_range = \"earliest\"", vec!["out_of_range"]),
        ("assignor = \"cooperative-sticky\"", vec!["assignor"]),
        ("session_timeout = \"6s\"", vec!["session_timeout", "heartbeat_interval"]),
        ("drain_timeout = \"1s\"", vec!["drain_timeout"]),
        ("instance_id = \"i\"", vec!["instance_id"]),
        ("output = \"out\"", vec!["output.topic"]),
        ("output = { topic = \"out\", linger = \"7ms\" }", vec!["output.topic", "output.linger"]),
        ("dead_letter = \"other\"", vec!["dead_letter"]),
        ("dead_letter = { topic = \"dead\", oversized = \"strip\" }", vec!["dead_letter.oversized"]),
        ("output.timestamp = \"now\"\noutput.topic = \"out\"", vec!["output.topic", "output.timestamp"]),
        (
            "output = { topic = \"out\", timestamp_refused = \"fail\" }",
            vec!["output.topic", "output.timestamp_refused"],
        ),
        ("on_exhausted = \"stop\"", vec!["on_exhausted"]),
        ("commit.sync = true", vec!["commit"]),
        ("span.messages = 1000", vec!["span.messages"]),
        ("batch.messages = 7", vec!["batch.messages"]),
        ("batch.bytes = \"2MiB\"", vec!["batch.bytes"]),
        ("output = { topic = \"out\", digest_header = true }", vec!["output.topic", "output.digest_header"]),
        ("breaker = false", vec!["breaker"]),
        ("swap.control_topic = \"control\"", vec!["swap.control_topic"]),
        ("swap.group_timeout = \"2m\"", vec!["swap.group_timeout"]),
        ("properties = { \"fetch.min.bytes\" = 2 }", vec!["properties"]),
    ] {
        assert_eq!(of(lines), (keys, false), "{lines}");
    }
}

#[test]
fn one_change_that_is_not_live_beside_one_that_is_keeps_its_name() {
    let (keys, live) = of("retry.attempts = 7\nmembers = 2");
    assert!(keys.contains(&"retry.attempts") && keys.contains(&"members") && !live, "{keys:?}");
}

#[test]
fn what_changes_nothing_that_runs_is_no_change() {
    for lines in ["", "batch.messages = 512", "dev.partitions = 9", "# a comment"] {
        assert_eq!(of(lines), (vec![], true), "{lines}");
    }
}

#[test]
fn what_the_whole_process_uses_is_named_with_its_table() {
    let old = file(TOP, "");
    let of = |top: &str| process_changes(&old, &file(top, ""));
    assert_eq!(of(TOP), []);
    let fixed = |key| Change { key, live: false };
    assert_eq!(of("[kafka]\nbootstrap = \"elsewhere:9092\""), [fixed("kafka.bootstrap")]);
    assert_eq!(of(&format!("{TOP}\ntoken_file = \"token\"")), [fixed("kafka.token")]);
    assert_eq!(of(&format!("memory = \"1GiB\"\n{TOP}")), [fixed("memory")]);
    assert_eq!(of(&format!("state = \"elsewhere\"\n{TOP}")), [fixed("state")]);
    assert_eq!(of(&format!("on_start_failure = \"start_others\"\n{TOP}")), [fixed("on_start_failure")]);
    assert_eq!(of(&format!("{TOP}\n[admin]")), [fixed("admin")]);
    let moved = file(&format!("{TOP}\n[admin]\nlisten = \"127.0.0.1:9999\""), "");
    assert_eq!(process_changes(&file(&format!("{TOP}\n[admin]"), ""), &moved), [fixed("admin.listen")]);
}
