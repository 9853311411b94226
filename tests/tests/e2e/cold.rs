//! A cluster with a cold: partitions without a leader, too few replicas, permissions that come and go, batches that cannot be
//! decoded, brokers that are away. Whatever the cluster can give back is named and waited for, and nobody has to do anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::broker::Options as BrokerOptions;
use wasmill_tests::case::Case;
use wasmill_tests::cluster::Cluster;
use wasmill_tests::company::company;
use wasmill_tests::eye::{Eye, Offsets};
use wasmill_tests::message::Message;
use wasmill_tests::mill::{Mill, Options};
use wasmill_tests::rights::Resource;
use wasmill_tests::shared::{Place, shared};

const SOON: Duration = Duration::from_secs(90);
/// How soon something is named.
const NAMED: Duration = Duration::from_secs(30);

fn produce(eye: &Eye, case: &Case, partitions: i32, values: &[&str]) -> Result<()> {
    let of = |partition| values.iter().map(move |value| Message::new("k", *value).on(partition));
    eye.produce(&case.input, &(0..partitions).flat_map(of).collect::<Vec<_>>()).map(drop)
}

fn wait_committed(eye: &Eye, case: &Case, offsets: &[i64]) -> Result<()> {
    let offsets: Offsets = (0..).zip(offsets.iter().copied()).collect();
    eye.wait_committed(&case.name, &case.input, &offsets, SOON)
}

/// The first condition of this kind.
fn condition(status: &Value, code: &str) -> Option<Value> {
    let conditions = status["pipelines"][0]["conditions"].as_array()?;
    conditions.iter().find(|one| one["code"] == code).cloned()
}

/// Waits until the first condition of this kind has these words, in its subject, reason or hint.
fn wait_condition(mill: &Mill, code: &str, words: &[&str]) -> Result<()> {
    let text = |one: Value| format!("{} {} {}", one["subject"], one["reason"], one["hint"]);
    mill.wait_status(&format!("{code} with {words:?}"), NAMED, |status| {
        condition(status, code).is_some_and(|one| words.iter().all(|word| text(one.clone()).contains(word)))
    })?;
    Ok(())
}

/// Waits until nothing keeps the pipeline from all of its work.
fn wait_well(mill: &Mill) -> Result<()> {
    mill.wait_status("no condition", SOON, |status| {
        status["pipelines"][0]["conditions"].as_array().is_some_and(Vec::is_empty)
    })?;
    let (code, page) = mill.get("/readyz")?;
    ensure!((code, page.as_str()) == (200, "ready\n"), "/readyz says {code}: {page}");
    Ok(())
}

/// Partition 0 lies on node 1 alone and 1 on node 2, which may die. Offsets are on both.
fn two_nodes(name: &str, lines: &str) -> Result<(Cluster, Eye, Case, Options)> {
    let cluster = Cluster::start(2, &BrokerOptions::default())?;
    let eye = cluster.eye()?;
    let case = Case::named(name);
    eye.create_topic_on(&case.input, &[&[1], &[2]], &[])?;
    eye.create_topic_on(&case.output, &[&[1]], &[])?;
    eye.create_topic_on(&case.dead, &[&[1]], &[])?;
    let options = case.options(&cluster.bootstrap(), "echo", lines)?;
    Ok((cluster, eye, case, options))
}

#[test]
fn a_partition_without_a_leader_holds_nobody_else_up_and_goes_on_by_itself() -> Result<()> {
    let _place = Place::take_all();
    let (cluster, eye, case, options) = two_nodes("leaderless", "")?;
    produce(&eye, &case, 2, &["a", "b"])?;
    cluster.node(2).kill()?;
    eye.wait_leaders(&case.input, &[1, -1], SOON)?;
    // At a start: what can be read flows, the other one is named.
    let mut mill = Mill::start(&options)?;
    eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 2)]), SOON)?;
    wait_condition(&mill, "partition-waits", &[&format!("{}/1", case.input)])?;
    let (code, page) = mill.get("/readyz")?;
    ensure!(code == 200 && page.starts_with("ready, degraded"), "/readyz says {code}: {page}");
    ensure!(mill.get("/healthz")?.0 == 200, "nothing that a restart would mend");
    cluster.node(2).start_again()?;
    wait_committed(&eye, &case, &[2, 2])?;
    wait_well(&mill)?;
    // In the middle of the work: the same.
    cluster.node(2).kill()?;
    eye.wait_leaders(&case.input, &[1, -1], SOON)?;
    eye.produce(&case.input, &[Message::new("k", "c").on(0)])?;
    eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 3)]), SOON)?;
    wait_condition(&mill, "partition-waits", &["has no leader"])?;
    cluster.node(2).start_again()?;
    eye.produce(&case.input, &[Message::new("k", "c").on(1)])?;
    wait_committed(&eye, &case, &[3, 3])?;
    wait_well(&mill)?;
    ensure!(mill.stop()?.success());
    let mut outputs = case.outputs(&eye)?;
    outputs.sort();
    ensure!(outputs == ["a", "a", "b", "b", "c", "c"], "{outputs:?}");
    Ok(())
}

#[test]
fn outputs_that_nobody_confirms_are_named_with_what_the_metadata_tells() -> Result<()> {
    let _place = Place::take_all();
    let cluster = Cluster::start(2, &BrokerOptions::default())?;
    let eye = cluster.eye()?;
    let case = Case::named("thin");
    eye.create_topic_on(&case.input, &[&[1]], &[])?;
    eye.create_topic_on(&case.output, &[&[1, 2]], &[("min.insync.replicas", "2")])?;
    eye.create_topic_on(&case.dead, &[&[1]], &[])?;
    let mut mill = Mill::start(&case.options(&cluster.bootstrap(), "echo", "")?)?;
    cluster.node(2).kill()?;
    produce(&eye, &case, 1, &["a", "b"])?;
    let words = [case.output.as_str(), "1 in-sync replicas of 2", "min.insync.replicas"];
    wait_condition(&mill, "outputs-unconfirmed", &words)?;
    mill.wait_log("outputs-unconfirmed", SOON)?;
    let (code, page) = mill.get("/readyz")?;
    ensure!(code == 200 && page.contains("outputs-unconfirmed"), "/readyz says {code}: {page}");
    ensure!(mill.get("/readyz?strict=1")?.0 == 503);
    ensure!(mill.metrics()?.contains("condition=\"outputs-unconfirmed\"} 1"), "a metric has it");
    cluster.node(2).start_again()?;
    wait_committed(&eye, &case, &[2])?;
    wait_well(&mill)?;
    ensure!(mill.stop()?.success());
    ensure!(case.outputs(&eye)? == ["a", "b"], "each once");
    Ok(())
}

#[test]
fn a_permission_that_is_taken_away_and_given_back_needs_no_operator() -> Result<()> {
    let shared = &company()?;
    let eye = &shared.eye;
    let (case, person) = (Case::new(eye, "denied", 2)?, shared.person()?);
    let (name, input, output) = (&person.name, Resource::Topic(&case.input), Resource::Topic(&case.output));
    let group = Resource::Group(&case.name);
    // Nothing is allowed but to see the topics: named with what to allow, and it joins by itself.
    for topic in [input, output, Resource::Topic(&case.dead)] {
        eye.allow(name, topic, &["Describe"])?;
    }
    let options = case.options(&person.bootstrap, "echo", "")?.properties(&person.properties);
    let mut mill = Mill::spawn(&options)?;
    wait_condition(
        &mill,
        "not-joined",
        &["GROUP_AUTHORIZATION_FAILED", &format!("allow Read on group {}", case.name)],
    )?;
    ensure!(mill.get("/readyz")?.0 == 503);
    eye.allow(name, group, &["Read"])?;
    // Members may not read the topic: the first position cannot be committed.
    let allow_input = format!("allow Read and Describe on topic {}", case.input);
    wait_condition(&mill, "commits-fail", &["TOPIC_AUTHORIZATION_FAILED", &allow_input])?;
    eye.allow(name, input, &["Read"])?;
    produce(eye, &case, 2, &["a"])?;
    // Nothing may be written at all: no producer gets its id.
    let allow_output = "allow Write and Describe on topic";
    wait_condition(&mill, "producer-failed", &["CLUSTER_AUTHORIZATION_FAILED", allow_output, &case.output])?;
    eye.allow(name, output, &["Write"])?;
    wait_committed(eye, &case, &[1, 1])?;
    wait_well(&mill)?;
    // Taken away for a while in the middle of the work.
    eye.deny(name, output, &["Write"])?;
    produce(eye, &case, 2, &["b"])?;
    wait_condition(&mill, "partition-waits", &["TOPIC_AUTHORIZATION_FAILED", allow_output, &case.output])?;
    let (code, page) = mill.get("/readyz")?;
    ensure!(code == 200 && page.contains("partition-waits"), "/readyz says {code}: {page}");
    eye.remove_acls(name, output)?;
    eye.allow(name, output, &["Write", "Describe"])?;
    wait_committed(eye, &case, &[2, 2])?;
    wait_well(&mill)?;
    ensure!(mill.stop()?.success());
    let mut outputs = case.outputs(eye)?;
    outputs.sort();
    ensure!(outputs == ["a", "a", "b", "b"] && case.dead_letters(eye)?.is_empty(), "{outputs:?}");
    Ok(())
}

#[test]
fn while_no_broker_answers_it_is_not_ready_and_says_so() -> Result<()> {
    let _place = Place::take();
    let broker = wasmill_tests::broker::Broker::start(&BrokerOptions::default())?;
    let eye = broker.eye()?;
    let case = Case::new(&eye, "away", 1)?;
    let mut mill = Mill::start(&case.options(&broker.bootstrap(), "echo", "")?)?;
    produce(&eye, &case, 1, &["a"])?;
    wait_committed(&eye, &case, &[1])?;
    broker.kill()?;
    wait_condition(&mill, "brokers-unreachable", &["no broker has answered", "bootstrap"])?;
    let (code, page) = mill.get("/readyz")?;
    ensure!(code == 503 && page.contains("brokers-unreachable"), "/readyz says {code}: {page}");
    ensure!(mill.get("/healthz")?.0 == 200, "a restart would not help");
    // Longer than its session: the group has given it up by then.
    wait_condition(&mill, "not-joined", &["not in the group"])?;
    broker.start_again()?;
    produce(&eye, &case, 1, &["b"])?;
    wait_committed(&eye, &case, &[2])?;
    wait_well(&mill)?;
    mill.wait_log("over", SOON)?;
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn failed_messages_are_seen_without_looking_for_them() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "seen", 2)?;
    let lines = "config = { when = \"value-prefix\" }";
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "reject", lines)?)?;
    let values: Vec<String> = (0..10).map(|number| format!("{}{number}", if number < 7 { "!" } else { "" })).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    produce(&shared.eye, &case, 1, &values)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 10)]), SOON)?;
    let status = mill.status()?;
    let pipeline = &status["pipelines"][0];
    ensure!(pipeline["failed"]["messages"] == 7, "{:#}", pipeline["failed"]);
    let last = &pipeline["failed"]["last"];
    ensure!(last["class"] == "rejected" && last["offset"] == 6 && last["topic"] == case.input, "{last:#}");
    let rows = pipeline["partitions"].as_array().context("no partitions")?;
    let failed: BTreeMap<_, _> =
        rows.iter().map(|row| (row["partition"].as_i64(), row["failed_messages"].as_i64())).collect();
    ensure!(failed == BTreeMap::from([(Some(0), Some(7)), (Some(1), Some(0))]), "{failed:?}");
    let told = mill.command(&["status"])?;
    ensure!(told.contains("failed: 7 messages") && told.contains("at 6 (rejected)"), "{told}");
    let log = mill.log();
    let lines = log.lines().filter(|line| line.contains("messages failed")).count();
    ensure!(lines == 1, "one line for seven: {log}");
    ensure!(log.contains(&case.dead), "it says where they are: {log}");
    ensure!(mill.stop()?.success());
    Ok(())
}

/// The segment of partition 0.
fn segment(folder: &Path, topic: &str) -> Result<PathBuf> {
    let wanted = format!("{topic}-0");
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)?.flatten().filter(|entry| entry.path().is_dir()) {
            if entry.file_name().to_str() == Some(&wanted) {
                return Ok(entry.path().join("00000000000000000000.log"));
            }
            folders.push(entry.path());
        }
    }
    anyhow::bail!("no partition 0 of {topic} below {}", folder.display())
}

#[test]
fn a_batch_that_is_damaged_is_waited_for_with_its_place_and_is_never_handled_as_data() -> Result<()> {
    let _place = Place::take();
    let broker = wasmill_tests::broker::Broker::start(&BrokerOptions::default())?;
    let eye = broker.eye()?;
    let (packed, plain) = (Case::new(&eye, "packed", 1)?, Case::new(&eye, "plain", 1)?);
    for (case, codec) in [(&packed, "gzip"), (&plain, "none")] {
        let properties = serde_json::json!({ "compression.type": codec });
        for value in ["first", "damaged damaged damaged damaged damaged", "last"] {
            // A batch each.
            eye.produce_with(&case.input, &[Message::new("k", value).on(0)], &properties, false)?;
        }
    }
    broker.stop()?;
    let folder = broker.log().parent().context("a folder")?.to_owned();
    for case in [&packed, &plain] {
        let path = segment(&folder, &case.input)?;
        let mut bytes = std::fs::read(&path)?;
        // A batch is 12 bytes longer than it says behind its offset. What is at the end of the second one is its record.
        let length = |at: usize, bytes: &[u8]| {
            12 + u32::from_be_bytes([bytes[at + 8], bytes[at + 9], bytes[at + 10], bytes[at + 11]]) as usize
        };
        let second = length(0, &bytes);
        let end = second + length(second, &bytes);
        bytes[end - 12..end - 4].iter_mut().for_each(|byte| *byte ^= 0x15);
        std::fs::write(&path, bytes)?;
    }
    broker.start_again()?;
    for case in [&packed, &plain] {
        let mut mill = Mill::start(&case.options(&broker.bootstrap(), "echo", "")?)?;
        wait_condition(&mill, "partition-waits", &["cannot be read at offset 1"])?;
        wait_committed(&eye, case, &[1])?;
        let (code, page) = mill.get("/readyz")?;
        ensure!(code == 200 && page.contains("cannot be read at offset 1"), "/readyz says {code}: {page}");
        let tries = mill.log().lines().filter(|line| line.contains("cannot be read at offset")).count();
        ensure!(tries <= 2, "told once, not at each try: {}", mill.log());
        mill.command(&["seek", &case.name, "--to", "2"])?;
        wait_committed(&eye, case, &[3])?;
        wait_well(&mill)?;
        ensure!(mill.stop()?.success());
        ensure!(case.outputs(&eye)? == ["first", "last"], "{:?}", case.outputs(&eye)?);
    }
    Ok(())
}
