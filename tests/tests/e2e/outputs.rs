//! What goes out: topics that nobody made, limits of clients and topics, timestamps that a topic refuses.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, binary};
use wasmill_tests::shared::{Shared, shared};

const SOON: Duration = Duration::from_secs(60);

/// `wasmill produce TOPIC` with one line; whether it said that it worked.
fn produce_line(mill: &Mill, topic: &str) -> Result<bool> {
    let mut command = Command::new(binary()?);
    command.args(["produce", topic, "--config"]).arg(mill.folder().join("wasmill.toml"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    child.stdin.take().context("no stdin")?.write_all(b"{\"value\": \"x\"}\n")?;
    Ok(child.wait()?.success())
}

/// Who makes a topic that is there is refused.
fn was_not_made(shared: &Shared, topic: &str) -> Result<()> {
    shared.eye.create_topic(topic, 2, &[]).map(drop).with_context(|| format!("{topic} was made by somebody"))
}

#[test]
fn no_command_makes_a_topic_by_asking_for_it_or_sending_to_it() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "asking", 1)?;
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", "")?)?;
    let name = |what: &str| format!("{}-{what}", case.name);
    for words in [&["topic", "describe"][..], &["consume"], &["topic", "delete"]] {
        let topic = name(&words.join("-"));
        let mut words = words.to_vec();
        words.push(&topic);
        ensure!(!mill.output(&words)?.status.success(), "{words:?} found a topic");
        was_not_made(shared, &topic)?;
    }
    let topic = name("produce");
    ensure!(!produce_line(&mill, &topic)?, "sent to a topic that does not exist");
    was_not_made(shared, &topic)?;
    ensure!(mill.stop()?.success());
    Ok(())
}

/// The broker would make it again with one partition and without its configuration, and outputs would go there.
#[test]
fn an_output_topic_that_is_deleted_under_load_is_not_made_again() -> Result<()> {
    let shared = &shared()?;
    let case = Case::named("deleted-out");
    shared.eye.create_topic(&case.input, 1, &[])?;
    shared.eye.create_topic(&case.output, 6, &[("cleanup.policy", "compact")])?;
    shared.eye.create_topic(&case.dead, 1, &[])?;
    let lines = "output.properties = { \"topic.metadata.refresh.interval.ms\" = \"200\", \
                 \"topic.metadata.propagation.max.ms\" = \"1000\" }";
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", lines)?)?;
    let some = |round: usize| -> Vec<_> {
        (0..20).map(|n| Message::new(format!("k{n}"), format!("{round}-{n}")).on(0)).collect()
    };
    shared.eye.produce(&case.input, &some(0))?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 20)]), SOON)?;
    shared.eye.delete_topic(&case.output)?;
    shared.eye.produce(&case.input, &some(1))?;
    mill.wait_status("a partition that stopped", SOON, |status| {
        status["pipelines"][0]["partitions"][0]["state"] == "stopped"
    })?;
    ensure!(mill.stop()?.success());
    was_not_made(shared, &case.output)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 20)]), SOON)
}
