//! How processes come to run: one bad pipeline among good ones, and two processes with one identity.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, Options};
use wasmill_tests::shared::{Shared, shared};

const SOON: Duration = Duration::from_secs(60);

fn processed(shared: &Shared, case: &Case, offset: i64) -> Result<()> {
    shared.eye.produce(&case.input, &[Message::new("k", "v").on(0)])?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, offset)]), SOON)
}

#[test]
fn one_bad_pipeline_keeps_the_others_from_starting_or_does_not_as_the_file_says() -> Result<()> {
    let shared = &shared()?;
    let (good, homeless) = (Case::new(&shared.eye, "good", 1)?, Case::named("homeless"));
    let bad = Case::new(&shared.eye, "bad-init", 1)?;
    let tables = [homeless.table("echo", "")?, good.table("echo", "")?, bad.table("init_fails", "")?].concat();
    let options = Options::new(&shared.broker.bootstrap(), &tables);
    let mut mill = Mill::spawn(&options)?;
    ensure!(mill.wait(SOON)?.code() == Some(3), "{}", mill.log());

    let others = Options { top: "on_start_failure = \"start_others\"".to_owned(), ..options };
    let mut mill = Mill::spawn(&others)?;
    processed(shared, &good, 1)?;
    let (code, why) = mill.get("/readyz")?;
    ensure!(code == 503, "{why}");
    for (case, reason) in [(&homeless, "topics that do not exist"), (&bad, "the handler refused to start")] {
        ensure!(why.contains(&format!("pipeline {}: cannot start: ", case.name)) && why.contains(reason), "{why}");
    }
    // Nothing else is kept from being taken up.
    let answer: serde_json::Value = serde_json::from_slice(&mill.output(&["reload", "--json"])?.stdout)?;
    let done = |name: &str| -> Option<&str> {
        answer["pipelines"].as_array()?.iter().find(|row| row["pipeline"] == name)?["done"].as_str()
    };
    ensure!(done(&good.name) == Some("unchanged") && done(&homeless.name) == Some("failed"), "{answer}");
    // What was missing is there: it starts by itself.
    for topic in [&homeless.input, &homeless.output, &homeless.dead] {
        shared.eye.create_topic(topic, 1, &[])?;
    }
    processed(shared, &homeless, 1)?;
    mill.wait_log("pipeline starts after all", SOON)?;
    // The other one goes out of the file.
    let tables = [homeless.table("echo", "")?, good.table("echo", "")?].concat();
    mill.configure(&Options { pipelines: tables, ..others })?;
    mill.command(&["reload"])?;
    mill.wait_ready(SOON)?;
    processed(shared, &good, 2)?;
    ensure!(mill.stop()?.success());

    // None can start.
    let text = bad.table("init_fails", "")?;
    let none = Options {
        top: "on_start_failure = \"start_others\"".to_owned(),
        ..Options::new(&shared.broker.bootstrap(), text)
    };
    let mut mill = Mill::spawn(&none)?;
    ensure!(mill.wait(SOON)?.code() == Some(3), "{}", mill.log());
    Ok(())
}

#[test]
fn of_two_processes_with_one_instance_id_one_always_works_and_in_the_end_one_has_left_the_other_alone() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "twins", 1)?;
    let options = case.options(&shared.broker.bootstrap(), "echo", "instance_id = \"one\"")?;
    let mut first = Mill::start(&options)?;
    processed(shared, &case, 1)?;
    let mut second = Mill::start(&options)?;
    let rests = "took this member's place; it rests for a session and then tries once";
    first.wait_log(rests, SOON)?;
    ensure!(first.is_running(), "{}", first.log());
    processed(shared, &case, 2)?;
    // The first one tries once, and the second one rests.
    second.wait_log(rests, SOON)?;
    processed(shared, &case, 3)?;
    // And the other way round: that was twice.
    let ended = first.wait(SOON)?;
    ensure!(ended.code() == Some(5), "{ended}: {}", first.log());
    ensure!(
        first.log().contains("again, with the same instance_id; it stays out until the next start"),
        "{}",
        first.log()
    );
    processed(shared, &case, 4).with_context(|| second.log())?;
    ensure!(second.stop()?.success());
    Ok(())
}
