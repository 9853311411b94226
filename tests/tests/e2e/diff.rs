//! `wasmill diff` and the backtest: two versions over messages of the past, and nothing of it anywhere afterwards.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{binary, guest};
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::{Shared, shared, unique};
use wasmill_tests::tool;

use crate::lag;

/// Messages of each test's topic, in four partitions.
const MESSAGES: usize = 4000;

struct Done {
    code: i32,
    out: String,
    err: String,
}

fn wasmill(words: &[&str]) -> Result<Done> {
    let folder = Scratch::new("diff")?;
    let mut command = Command::new(binary()?);
    command.args(words).current_dir(folder.path()).stdin(Stdio::null());
    let done = command.output().context("cannot start wasmill")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Done { code: done.status.code().unwrap_or(-1), out: text(&done.stdout), err: text(&done.stderr) })
}

/// `wasmill diff` of two guests.
fn diff(shared: &Shared, [old, new]: [&str; 2], words: &[&str]) -> Result<Done> {
    let (old, new, bootstrap) = (guest(old)?, guest(new)?, shared.broker.bootstrap());
    wasmill(&[&["diff", &old, &new, "--bootstrap", &bootstrap][..], words].concat())
}

fn told(done: &Done) -> Result<Value> {
    serde_json::from_str(&done.out).with_context(|| format!("{} {} {}", done.code, done.out, done.err))
}

/// Orders `k0`, `k1` and so on, the last in each partition a marker of a transaction.
fn orders(shared: &Shared, topic: &str) -> Result<()> {
    shared.eye.create_topic(topic, 4, &[])?;
    let all: Vec<_> = (0..MESSAGES)
        .map(|number| Message::new(format!("k{number}"), format!("order {number}")).on((number % 4) as i32))
        .collect();
    let (most, last) = all.split_at(MESSAGES - 4);
    shared.eye.produce(topic, most)?;
    shared.eye.produce_with(topic, last, &json!({ "transactional.id": topic }), false)?;
    Ok(())
}

#[test]
fn one_field_in_a_hundredth_of_the_messages_is_named_and_nothing_is_left_behind() -> Result<()> {
    let shared = shared()?;
    let topic = unique("diff-price");
    orders(&shared, &topic)?;
    let output = unique("diff-output");
    shared.eye.create_topic(&output, 1, &[])?;
    let before = shared.eye.end_offsets(&topic)?;
    let all = ["--topic", &topic, "--since", "1h", "--output", &output, "--json"];
    let done = diff(&shared, ["price", "price_raised"], &all)?;
    let report = told(&done)?;
    assert_eq!((done.code, report["messages"].as_u64()), (0, Some(MESSAGES as u64)), "{report:#}");
    assert_eq!((&report["differing"], &report["complete"]), (&json!(MESSAGES / 100), &json!(true)));
    assert_eq!(report["fields"], json!({ "output value.items[].price": MESSAGES / 100 }));
    let first = &report["differences"][0];
    assert_eq!(first["fields"], json!([{ "field": "output 0 value.items[1].price", "old": "100", "new": "101" }]));
    assert_eq!((&first["topic"], first["partition"].as_i64()), (&json!(topic), Some(0)));
    for side in ["old", "new"] {
        let side = &report[side];
        assert_eq!((&side["acks"], &side["outputs"]), (&json!(MESSAGES), &json!(MESSAGES)), "{side:#}");
        assert_eq!((&side["rejects"], &side["retries"], &side["crashes"]), (&json!(0), &json!(0), &json!(0)));
        ensure!(
            side["mean_us"].as_f64().is_some_and(|mean| mean > 0.0)
                && side["p99_us"].as_f64() > side["mean_us"].as_f64().map(|mean| mean / 2.0),
            "{side:#}"
        );
        ensure!(side["memory_bytes"].as_u64() > Some(60_000), "{side:#}");
    }
    // Nothing was published, and no group was made. Other tests make groups meanwhile, and none of this name.
    assert_eq!(shared.eye.end_offsets(&topic)?, before);
    let groups = tool::groups(&shared.broker.bootstrap())?;
    ensure!(!groups.iter().any(|group| group.contains("without-group")), "{groups:?}");
    assert_eq!(shared.eye.end_offsets(&output)?, Offsets::from([(0, 0)]));

    let done = diff(&shared, ["price", "price_raised"], &[&all[..6], &["--fail", "--show", "2"]].concat())?;
    ensure!(done.code == 1 && !done.out.contains('\x1b'), "{} {}", done.code, done.out);
    ensure!(done.out.contains("  output 0 value.items[1].price: 100 -> 101\n"), "{}", done.out);
    ensure!(
        done.out.contains("... 38 more messages differ") && done.out.contains("40 of 4000 messages differ (1%)"),
        "{}",
        done.out
    );
    let done = diff(&shared, ["price", "price"], &[&all[..6], &["--fail"]].concat())?;
    ensure!(done.code == 0 && done.out.contains("both versions make the same of all 4000 messages"), "{}", done.out);
    ensure!(done.out.contains("the same file"), "{}", done.out);
    Ok(())
}

#[test]
fn a_sample_is_as_large_as_was_asked_for_and_begins_and_ends_with_what_is_there() -> Result<()> {
    let shared = shared()?;
    let topic = unique("diff-sample");
    orders(&shared, &topic)?;
    let report = |words: &[&str]| {
        let done =
            diff(&shared, ["echo", "upper"], &[&["--topic", &topic, "--json", "--show", "5000"], words].concat())?;
        told(&done)
    };
    let offsets = |report: &Value, partition: i64| -> Vec<i64> {
        let of_partition = |one: &&Value| one["partition"] == partition;
        let all = report["differences"].as_array().into_iter().flatten().filter(of_partition);
        all.filter_map(|one| one["offset"].as_i64()).collect()
    };
    let sample = report(&["--sample", "400"])?;
    // The markers at the ends have offsets, and are no messages.
    assert_eq!((&sample["messages"], &sample["differing"]), (&json!(396), &json!(396)), "{:#}", sample["old"]);
    for partition in 0..4 {
        let found = offsets(&sample, partition);
        assert_eq!((found.len(), found.first(), found.last()), (99, Some(&0), Some(&999)), "{found:?}");
        ensure!(found.is_sorted() && found.iter().any(|offset| (300..700).contains(offset)), "{found:?}");
    }
    assert_eq!(report(&[])?["messages"], json!(996), "1000 by default");
    let limited = report(&["--limit", "8"])?;
    assert_eq!(limited["messages"], json!(8));
    assert_eq!(offsets(&limited, 3), [0, 1]);
    let partition = report(&["--partition", "2", "--since", "1h", "--limit", "5"])?;
    assert_eq!(offsets(&partition, 2), [0, 1, 2, 3, 4]);
    let fields = &sample["fields"];
    assert_eq!(fields, &json!({ "output value": 396 }), "they have no headers to lose");
    assert_eq!(report(&["--within", "0s"])?["complete"], json!(false));
    Ok(())
}

#[test]
fn gaps_of_compaction_aborted_messages_and_retention_hold_nothing_up() -> Result<()> {
    let shared = shared()?;
    let topic = unique("diff-gaps");
    shared.eye.create_topic(&topic, 2, &[])?;
    let some = |from: usize| -> Vec<_> {
        (from..from + 500).map(|number| Message::new(format!("k{number}"), "v").on((number % 2) as i32)).collect()
    };
    shared.eye.produce(&topic, &some(0))?;
    let aborted = json!({ "transactional.id": topic });
    shared.eye.produce_with(&topic, &some(500), &aborted, true)?;
    shared.eye.produce(&topic, &some(1000)[..300])?;
    shared.eye.produce_with(&topic, &some(1500), &aborted, true)?;
    shared.eye.delete_records(&topic, 1, 100)?;
    let report =
        |words: &[&str]| told(&diff(&shared, ["echo", "echo"], &[&["--topic", &topic, "--json"], words].concat())?);
    let all = report(&["--since", "1h"])?;
    assert_eq!((&all["messages"], &all["complete"]), (&json!(250 + 150 + 150 + 150), &json!(true)), "{all:#}");
    let sample = report(&["--sample", "600"])?;
    let messages = sample["messages"].as_u64().context("messages")?;
    ensure!((100..=600).contains(&messages) && sample["complete"] == true, "{sample:#}");
    Ok(())
}

#[test]
fn what_compaction_left_is_read_and_its_gaps_are_passed() -> Result<()> {
    let shared = shared()?;
    let topic = unique("diff-compacted");
    let end = lag::compacted(&shared, &topic)?;
    for words in [&["--since", "1h"][..], &["--sample", "50"], &["--sample", "1"], &["--limit", "3"]] {
        let words = [&["--topic", &topic, "--json", "--show", "1000"], words].concat();
        let report = told(&diff(&shared, ["echo", "upper"], &words)?)?;
        let messages = report["messages"].as_i64().context("messages")?;
        ensure!((1..end).contains(&messages) && report["complete"] == true, "{words:?} of {end}: {report:#}");
    }
    Ok(())
}

#[test]
fn versions_that_reject_retry_and_crash_are_told_beside_each_other() -> Result<()> {
    let shared = shared()?;
    let topic = unique("diff-bad");
    shared.eye.create_topic(&topic, 1, &[])?;
    let messages = ["a", "!b", "c", "!d", "e"].map(|value| Message::new("k", value).on(0).header("h", "1"));
    shared.eye.produce(&topic, &messages)?;
    let words = ["--topic", &topic, "--since", "1h", "--set", "when=value-prefix", "--json"];
    let report = told(&diff(&shared, ["reject", "trap"], &words)?)?;
    assert_eq!((&report["messages"], &report["differing"]), (&json!(5), &json!(2)), "{report:#}");
    let (old, new) = (&report["old"], &report["new"]);
    assert_eq!(
        (&old["acks"], &old["rejects"], &old["given_up"], &old["crashes"]),
        (&json!(3), &json!(2), &json!(2), &json!(0))
    );
    assert_eq!((&new["acks"], &new["rejects"], &new["given_up"]), (&json!(3), &json!(0), &json!(2)));
    // Five attempts each, and the calls that failed before they were alone with a new instance.
    ensure!(new["crashes"].as_u64() > Some(10) && new["retries"] == 8, "{new:#}");
    let first = &report["differences"][0];
    let fields: Vec<_> =
        first["fields"].as_array().into_iter().flatten().filter_map(|one| one["field"].as_str()).collect();
    assert_eq!((&first["offset"], &fields[..]), (&json!(1), &["verdict", "reason", "attempts"][..]));
    assert_eq!((&first["fields"][0]["old"], &first["fields"][0]["new"]), (&json!("rejected"), &json!("trap")));
    let report = told(&diff(&shared, ["reject", "retry"], &words)?)?;
    assert_eq!(report["differences"][0]["fields"][0]["new"], "retries-exhausted", "{report:#}");
    Ok(())
}

#[test]
fn a_command_that_makes_no_sense_says_what_to_do() -> Result<()> {
    let shared = shared()?;
    let (topic, empty) = (unique("diff-input"), unique("diff-empty"));
    orders(&shared, &topic)?;
    shared.eye.create_topic(&empty, 3, &[])?;
    let (echo, folder) = (guest("echo")?, Scratch::new("diff-input")?);
    let not_wasm = folder.path().join("not.wasm").display().to_string();
    std::fs::write(&not_wasm, "hello")?;
    let missing = folder.path().join("missing.wasm").display().to_string();
    let bootstrap = shared.broker.bootstrap();
    for (old, new, words, code, said) in [
        (&missing, &echo, &["--topic", &topic][..], 2, "missing.wasm: No such file"),
        (&echo, &not_wasm, &["--topic", &topic], 3, "not.wasm: "),
        (&echo, &echo, &["--topic", "no-such-topic"], 3, "hint: `wasmill topic list`"),
        (&echo, &echo, &["--topic", &topic, "--partition", "9"], 2, "--partition 9: topic"),
        (&echo, &echo, &["--topic", &topic, "--since", "9999-01-01T00:00:00Z"], 2, "it is in the future"),
        (&echo, &echo, &["--topic", &topic, "--since", "5"], 2, "hint: how long ago"),
        (&echo, &echo, &["--topic", &topic, "--since", "1h", "--sample", "5"], 2, "cannot be used with"),
        (&echo, &echo, &[], 2, "--topic"),
        (&echo, &echo, &["--pipeline", "x"], 2, "there is no pipeline `x`; hint: --config FILE"),
        (&echo, &echo, &["--gate"], 2, "there is no pipeline with a swap.backtest"),
    ] {
        let done = wasmill(&[&["diff", old, new, "--bootstrap", &bootstrap][..], words].concat())?;
        ensure!(done.code == code && done.err.contains(said), "{words:?}: {} {}", done.code, done.err);
    }
    let done = diff(&shared, ["echo", "upper"], &["--topic", &empty, "--fail"])?;
    ensure!(done.code == 0 && done.out.contains("there are no messages: nothing was compared"), "{}", done.out);
    let done = diff(&shared, ["echo", "init_fails"], &["--topic", &topic])?;
    ensure!(done.code == 3 && done.err.contains("the new version does not start: "), "{} {}", done.code, done.err);
    let done = diff(&shared, ["sleep", "echo"], &["--topic", &topic])?;
    ensure!(done.code == 3 && done.err.contains("hint: --grant clock"), "{} {}", done.code, done.err);
    Ok(())
}

#[test]
fn the_gate_judges_as_the_pipeline_says() -> Result<()> {
    let shared = shared()?;
    let case = Case::new(&shared.eye, "diff-gate", 4)?;
    let all: Vec<_> =
        (0..MESSAGES).map(|number| Message::new(format!("k{number}"), "v").on((number % 4) as i32)).collect();
    shared.eye.produce(&case.input, &all)?;
    let folder = Scratch::new("diff-gate")?;
    let file = folder.path().join("wasmill.toml");
    let gate = |backtest: &str, [old, new]: [&str; 2]| -> Result<Done> {
        let table = case.table("price", &format!("swap.backtest = {backtest}"))?;
        std::fs::write(&file, format!("[kafka]\nbootstrap = \"{}\"\n{table}", shared.broker.bootstrap()))?;
        wasmill(&["diff", &guest(old)?, &guest(new)?, "--gate", "--config", &file.display().to_string()])
    };
    let prices = ["price", "price_raised"];
    let done = gate("{ since = \"1h\", differ = \"0.5%\" }", prices)?;
    let said = "40 of 4000 messages come out otherwise (1%)";
    ensure!(
        done.code == 1 && done.out.contains(said) && done.out.contains("output 0 value.items[1].price"),
        "{}",
        done.out
    );
    let done = gate("{ since = \"1h\", differ = \"1%\" }", prices)?;
    ensure!(done.code == 0 && done.out.contains("settings of pipeline"), "{} {}", done.out, done.err);
    let done = gate("{ sample = 40 }", ["echo", "upper"])?;
    ensure!(done.code == 0 && done.out.contains("40 of 40 messages differ"), "not judged: {} {}", done.out, done.err);
    let done = gate("{ sample = 40 }", ["echo", "reject"])?;
    ensure!(
        done.code == 1 && done.out.contains("gives up 40 of 40 messages (100%), the old one 0 (0%)"),
        "{}",
        done.out
    );
    // One that never comes back costs what the time allows, and no more.
    let began = std::time::Instant::now();
    let done = gate("{ sample = 40, time = \"3s\" }", ["echo", "spin"])?;
    ensure!(done.code == 3 && done.err.contains("no message was compared within 3s"), "{} {}", done.out, done.err);
    ensure!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    assert_eq!(shared.eye.end_offsets(&case.output)?, Offsets::from([(0, 0)]));
    assert_eq!(shared.eye.end_offsets(&case.dead)?, Offsets::from([(0, 0)]));
    assert!(shared.eye.committed_offsets(&case.name, &case.input)?.is_empty());
    Ok(())
}
