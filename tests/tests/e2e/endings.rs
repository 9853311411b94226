//! How a process ends: exit codes, signals, and what is left to the next one.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::broker::{Broker, Options};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{self, Mill, binary};
use wasmill_tests::ports;
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::{Place, Shared, shared};
use wasmill_tests::signal::Signal;

const SOON: Duration = Duration::from_secs(60);
/// What is at once on a machine that is busy with something else.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Besides `drain_timeout`, an end may wait so long for the group and for threads.
const CLOSE_SLACK: Duration = Duration::from_secs(10);

fn on(partition: i32, value: &str) -> Message {
    Message::new("k", value).on(partition)
}

/// Waits for the end, which has to be with this exit code.
fn ends_with(expected: i32, mill: &mut Mill, timeout: Duration) -> Result<()> {
    let code = mill.wait(timeout)?.code().context("ended by a signal")?;
    ensure!(code == expected, "it ended with {code}, not with {expected}\n{}", mill.log());
    Ok(())
}

/// True while the first partition of a pipeline has messages that were handed over and are not complete.
fn is_busy(status: &Value) -> bool {
    let busy = |one: &Value| one["partitions"][0]["span_messages"].as_u64().is_some_and(|span| span > 0);
    status["pipelines"].as_array().is_some_and(|all| all.iter().any(busy))
}

/// `wasmill WORDS` in a folder with this configuration.
fn wasmill(config: &str, words: &[&str]) -> Result<Output> {
    let folder = Scratch::new("command")?;
    std::fs::write(folder.path().join("wasmill.toml"), config)?;
    let mut command = Command::new(binary()?);
    command.args(words).current_dir(folder.path()).stdin(Stdio::null());
    command.output().context("cannot start wasmill")
}

/// What it said; `check` tells mistakes on standard output.
fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn a_handler_that_does_not_start_ends_the_process_with_3_before_anything_is_consumed() -> Result<()> {
    let shared = &shared()?;
    for (how, told) in [
        ("error", "the handler refused to start: no licence for today"),
        ("panic", "cannot bear to start"),
        ("spin", "init did not end within limits.init_time"),
        ("hoard", "more memory to start than limits.memory"),
    ] {
        let case = Case::new(&shared.eye, "init", 1)?;
        shared.eye.produce(&case.input, &[on(0, "a")])?;
        let reason = if how == "error" { ", reason = \"no licence for today\"" } else { "" };
        let lines = format!("config = {{ how = \"{how}\"{reason} }}\nlimits.init_time = \"300ms\"");
        let mut mill = Mill::spawn(&case.options(&shared.broker.bootstrap(), "init_fails", &lines)?)?;
        ends_with(3, &mut mill, SOON).context(how)?;
        let log = mill.log();
        ensure!(log.contains(told) && log.contains(&case.name), "{how}: {log}");
        ensure!(shared.eye.group(&case.name)?.state == "Dead", "{how}: nobody ever was in the group");
        ensure!(shared.eye.committed(&case.name, &case.input)?.is_empty(), "{how}: nothing was committed");
    }
    Ok(())
}

#[test]
fn a_start_that_the_cluster_or_the_machine_refuses_ends_with_3() -> Result<()> {
    let shared = &shared()?;
    let bootstrap = shared.broker.bootstrap();
    let nowhere = Case::named("nowhere");
    let mut mill = Mill::spawn(&nowhere.options(&bootstrap, "echo", "")?)?;
    ends_with(3, &mut mill, SOON)?;
    for topic in [&nowhere.input, &nowhere.output, &nowhere.dead] {
        ensure!(mill.log().contains(topic.as_str()), "{topic} is not named: {}", mill.log());
    }
    let case = Case::new(&shared.eye, "taken", 1)?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?;
    let table = case.table("echo", "")?;
    let config = format!("[kafka]\nbootstrap = \"{bootstrap}\"\n\n[admin]\nlisten = \"{port}\"\n\n{table}");
    let output = wasmill(&config, &["run"])?;
    ensure!(output.status.code() == Some(3), "{output:?}");
    let text = told(&output);
    ensure!(text.contains(&format!("admin port {port} cannot be opened")) && text.contains("hint: "), "{text}");
    ensure!(shared.eye.group(&case.name)?.state == "Dead", "nobody ever was in the group");
    Ok(())
}

#[test]
fn a_signal_while_the_cluster_is_looked_for_is_an_order_and_no_failure() -> Result<()> {
    let case = Case::named("nobody");
    let nobody = format!("127.0.0.1:{}", ports::free()?);
    let mut mill = Mill::spawn(&case.options(&nobody, "echo", "")?)?;
    mill.wait_log("looking for the cluster", SOON)?;
    mill.signal(Signal::Term)?;
    ends_with(0, &mut mill, AT_ONCE)
}

#[test]
fn a_wrong_command_line_or_configuration_ends_with_2_and_says_where() -> Result<()> {
    let config = "[kafka]\nbootstrap = \"localhost:9092\"\n\n[pipelines.p]\ntopics = [\"a\"]\ngruop = \"g\"\n";
    let none: &[&str] = &[];
    for (words, expected) in [
        (&["run", "--twice"][..], &["--twice"][..]),
        (&["walk"], &["walk"]),
        (none, &["Usage: "]),
        (&["run", "other.toml"], &["other.toml"]),
        (&["run"], &["wasmill.toml:6:1", "gruop", "group"]),
        (&["check"], &["wasmill.toml:6:1", "gruop", "group"]),
        (&["skip", "p", "--offset", "1"], &["--partition"]),
        (&["skip", "p", "--partition", "1"], &["--offset"]),
        (&["resume", "p", "--topic", "a"], &["--partition"]),
    ] {
        let output = wasmill(config, words)?;
        let text = told(&output);
        ensure!(output.status.code() == Some(2), "{words:?}: {:?} {text}", output.status);
        for part in expected {
            ensure!(text.contains(part), "{words:?}: nothing of `{part}` in {text}");
        }
    }
    Ok(())
}

/// Messages that each take a while, and a process in the middle of the first ones.
fn slow(shared: &Shared, name: &str, lines: &str) -> Result<(Case, Mill)> {
    let case = Case::new(&shared.eye, name, 1)?;
    shared.eye.produce(&case.input, &[on(0, "a"), on(0, "b"), on(0, "c"), on(0, "d")])?;
    let lines = format!("grant = [\"clock\"]\n{lines}");
    let mill = Mill::start(&case.options(&shared.broker.bootstrap(), "sleep", &lines)?)?;
    mill.wait_status("a call under way", SOON, is_busy)?;
    Ok((case, mill))
}

#[test]
fn a_signal_lets_the_call_under_way_finish_commits_it_and_hands_nothing_more_over() -> Result<()> {
    let shared = &shared()?;
    let lines = "config = { ms = 1500 }\nbatch.messages = 1\nlimits.time = \"30s\"\nlimits.time_cap = \"30s\"";
    let (case, mut mill) = slow(shared, "drains", lines)?;
    mill.signal(Signal::Term)?;
    ends_with(0, &mut mill, SOON)?;
    let out = case.outputs(&shared.eye)?;
    ensure!(!out.is_empty() && out.len() < 4, "the call under way, and not all of them: {out:?}");
    let committed = shared.eye.committed_offsets(&case.name, &case.input)?;
    ensure!(committed == Offsets::from([(0, out.len() as i64)]), "{out:?} came out, committed is {committed:?}");
    ensure!(shared.eye.group(&case.name)?.members.is_empty(), "it left the group");
    Ok(())
}

#[test]
fn two_signals_within_a_moment_are_one_and_the_process_drains() -> Result<()> {
    let shared = &shared()?;
    let lines = "config = { ms = 1500 }\nbatch.messages = 1\nlimits.time = \"30s\"\nlimits.time_cap = \"30s\"";
    let (case, mut mill) = slow(shared, "twice-at-once", lines)?;
    // Frozen, it meets both when it goes on.
    mill.signal(Signal::Stop)?;
    mill.signal(Signal::Term)?;
    mill.signal(Signal::Int)?;
    mill.signal(Signal::Cont)?;
    ends_with(0, &mut mill, SOON)?;
    let out = case.outputs(&shared.eye)?;
    let committed = shared.eye.committed_offsets(&case.name, &case.input)?;
    ensure!(!out.is_empty() && committed == Offsets::from([(0, out.len() as i64)]), "{out:?}, {committed:?}");
    Ok(())
}

#[test]
fn a_second_signal_ends_with_130_at_once() -> Result<()> {
    let shared = &shared()?;
    let lines = "config = { ms = 3600000 }\nlimits.time = \"10m\"\nlimits.time_cap = \"10m\"\ndrain_timeout = \"2m\"";
    for second in [Signal::Term, Signal::Int] {
        let (case, mut mill) = slow(shared, "asked-twice", lines)?;
        mill.signal(Signal::Term)?;
        mill.wait_log("a second signal ends at once", SOON)?;
        ensure!(mill.is_running(), "it waits for the call");
        // One that comes within a second of the first belongs to it.
        mill.wait_log("a signal from now on ends at once", SOON)?;
        mill.signal(second)?;
        ends_with(130, &mut mill, AT_ONCE)?;
        ensure!(mill.log().contains("what was not committed is handled again"), "{}", mill.log());
        ensure!(shared.eye.committed_offsets(&case.name, &case.input)? == Offsets::from([(0, 0)]));
    }
    Ok(())
}

#[test]
fn a_call_that_outlasts_the_drain_is_cancelled_and_ends_the_process_with_4() -> Result<()> {
    let shared = &shared()?;
    let lines = "config = { when = \"value-prefix\", prefix = \"c\", ms = 3600000 }\nlimits.time = \"10m\"\n\
        limits.time_cap = \"10m\"\nbatch.messages = 1\ndrain_timeout = \"200ms\"";
    let (case, mut mill) = slow(shared, "outlasts", lines)?;
    // The messages before it are no part of what is not settled.
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 2)]), SOON)?;
    mill.wait_status("a call under way", SOON, is_busy)?;
    mill.signal(Signal::Term)?;
    ends_with(4, &mut mill, AT_ONCE)?;
    ensure!(mill.log().contains("not everything was settled in time"), "{}", mill.log());
    ensure!(shared.eye.committed_offsets(&case.name, &case.input)? == Offsets::from([(0, 2)]));
    ensure!(shared.eye.group(&case.name)?.members.is_empty(), "it left the group");
    let mut next = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", "")?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 4)]), SOON)?;
    ensure!(next.stop()?.success());
    assert_eq!(case.outputs(&shared.eye)?, ["a", "b", "c", "d"]);
    Ok(())
}

#[test]
fn what_the_broker_does_not_confirm_in_time_ends_the_process_with_4() -> Result<()> {
    let _place = Place::take();
    let broker = Broker::start(&Options::default())?;
    let eye = broker.eye()?;
    let case = Case::new(&eye, "frozen", 1)?;
    // The producer waits for more to send, so that all of it is still to be sent when the broker freezes.
    let lines = "output.linger = \"60s\"\ndrain_timeout = \"1s\"";
    let mut mill = Mill::start(&case.options(&broker.bootstrap(), "echo", lines)?)?;
    eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 0)]), SOON)?;
    eye.produce(&case.input, &[on(0, "a"), on(0, "b"), on(0, "c")])?;
    let all = |status: &Value| status["pipelines"][0]["partitions"][0]["span_messages"] == 3;
    mill.wait_status("messages in flight", SOON, all)?;
    broker.signal(Signal::Stop)?;
    let asked = Instant::now();
    mill.signal(Signal::Term)?;
    let ended = ends_with(4, &mut mill, SOON);
    let took = asked.elapsed();
    broker.signal(Signal::Cont)?;
    ended?;
    let bound = Duration::from_secs(1) + CLOSE_SLACK + AT_ONCE;
    ensure!(took < bound, "it took {took:?} to end, more than {bound:?}");
    ensure!(mill.log().contains("not everything was settled in time"), "{}", mill.log());
    eprintln!("ended {took:?} after the signal");
    let mut next = Mill::start(&case.options(&broker.bootstrap(), "echo", "")?)?;
    eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 3)]), SOON)?;
    ensure!(next.stop()?.success());
    let out = case.outputs(&eye)?;
    ensure!(["a", "b", "c"].iter().all(|one| out.iter().any(|out| out == one)), "lost: {out:?}");
    Ok(())
}

#[test]
fn a_pipeline_that_failed_decides_the_exit_code_whatever_the_others_did_not_settle() -> Result<()> {
    let shared = &shared()?;
    let bootstrap = shared.broker.bootstrap();
    let (fails, busy) = (Case::new(&shared.eye, "fails", 1)?, Case::new(&shared.eye, "busy", 1)?);
    shared.eye.produce(&busy.input, &[on(0, "a")])?;
    let one = "instance_id = \"one\"";
    let endless = "grant = [\"clock\"]\nconfig = { ms = 3600000 }\nlimits.time = \"10m\"\nlimits.time_cap = \"10m\"\ndrain_timeout = \"200ms\"";
    let tables = format!("{}\n{}", fails.table("echo", one)?, busy.table("sleep", endless)?);
    let mut mill = Mill::start(&mill::Options::new(&bootstrap, tables))?;
    mill.wait_status("a call under way", SOON, is_busy)?;
    // Another process takes the identity of the first pipeline's only member, and again when that comes back.
    let mut other = Mill::start(&fails.options(&bootstrap, "echo", one)?)?;
    ends_with(5, &mut mill, SOON)?;
    let log = mill.log();
    ensure!(log.contains("fenced twice") && log.contains("not everything was settled in time"), "{log}");
    ensure!(other.stop()?.success(), "the newer one is not disturbed");
    Ok(())
}
