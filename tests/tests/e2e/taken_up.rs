//! What a configuration asks for and what serves may differ: a version that was taken back or swapped in by hand stays
//! until the file says something new.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, Options};
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::{Shared, shared};
use wasmill_tests::versions::Version;

use crate::hot_swap::{events, serves, swap, wait_event};

const SOON: Duration = Duration::from_secs(60);

/// The table of a pipeline whose handler is this file.
fn table(case: &Case, handler: &std::path::Path, lines: &str) -> Result<String> {
    let guest = wasmill_tests::mill::guest("echo")?;
    Ok(case.table("echo", lines)?.replace(&guest, &handler.display().to_string()))
}

fn reload(mill: &Mill) -> Result<Value> {
    Ok(serde_json::from_str(&mill.command(&["reload", "--json"])?)?)
}

fn row<'a>(answer: &'a Value, case: &Case) -> &'a Value {
    let rows = answer["pipelines"].as_array();
    rows.and_then(|rows| rows.iter().find(|row| row["pipeline"] == case.name.as_str())).unwrap_or(&Value::Null)
}

fn drift(mill: &Mill) -> Result<Value> {
    Ok(mill.status()?["pipelines"][0]["drift"].clone())
}

fn processed(shared: &Shared, case: &Case, count: i64) -> Result<()> {
    shared.eye.produce(&case.input, &[Message::new("k", "0 0 x").on(0)])?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, count)]), SOON)
}

#[test]
fn a_reload_for_another_reason_brings_back_no_version_that_was_taken_back_and_keeps_a_fix() -> Result<()> {
    let (shared, folder) = (&shared()?, Scratch::new("taken-up")?);
    let (case, other) = (Case::new(&shared.eye, "taken-up", 1)?, Case::new(&shared.eye, "beside", 1)?);
    let version = |name, number| Version::write(folder.path(), name, number);
    let (good, bad, fix) = (version("stamp", 0)?, version("stamp", 1)?, version("stamp", 2)?);
    let handler = folder.path().join("handler.wasm");
    std::fs::copy(&good.path, &handler)?;
    let options = |lines: &str, more: &str| -> Result<Options> {
        Ok(Options::new(&shared.broker.bootstrap(), table(&case, &handler, lines)? + more))
    };
    let mut mill = Mill::start(&options("", "")?)?;
    std::fs::copy(&bad.path, &handler)?;
    ensure!(row(&reload(&mill)?, &case)["done"] == "swapped" && serves(&mill)? == bad.digest);
    mill.command(&["rollback", &case.name])?;
    ensure!(serves(&mill)? == good.digest);
    // A pipeline more.
    let beside = other.table("echo", "")?;
    mill.configure(&options("", &beside)?)?;
    let answer = reload(&mill)?;
    ensure!(answer["applied"] == true && row(&answer, &other)["done"] == "started", "{answer}");
    ensure!(row(&answer, &case)["done"] == "unchanged" && serves(&mill)? == good.digest, "{answer}");
    let reason = row(&answer, &case)["reason"].as_str().unwrap_or_default().to_owned();
    ensure!(reason.contains("goes on: the file names") && reason.contains("hint: wasmill swap"), "{answer}");
    ensure!(drift(&mill)?["configured"] == bad.digest.as_str() && drift(&mill)?["cause"] == "swap");
    // Another setting of the pipeline itself: the setting changes, and the handler does not.
    mill.configure(&options("retry.attempts = 2", &beside)?)?;
    let answer = reload(&mill)?;
    ensure!(row(&answer, &case)["keys"] == serde_json::json!(["retry.attempts"]), "{answer}");
    ensure!(serves(&mill)? == good.digest, "{answer}");
    // A fix by hand.
    swap(&mill, &case, &fix.path, &[])?;
    mill.configure(&options("retry.attempts = 2", "")?)?;
    let answer = reload(&mill)?;
    ensure!(row(&answer, &case)["done"] == "unchanged" && serves(&mill)? == fix.digest, "{answer}");
    // The file has something new to say.
    std::fs::copy(&good.path, &handler)?;
    let answer = reload(&mill)?;
    ensure!(row(&answer, &case)["done"] == "swapped" && serves(&mill)? == good.digest, "{answer}");
    ensure!(drift(&mill)?.is_null(), "{}", drift(&mill)?);
    processed(shared, &case, 1)?;
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_file_that_is_built_anew_is_told_from_a_version_that_was_swapped_in() -> Result<()> {
    let (shared, folder) = (&shared()?, Scratch::new("rebuilt")?);
    let case = Case::new(&shared.eye, "rebuilt", 1)?;
    let (old, new) = (Version::write(folder.path(), "stamp", 0)?, Version::write(folder.path(), "stamp", 1)?);
    let handler = folder.path().join("handler.wasm");
    std::fs::copy(&old.path, &handler)?;
    let mut mill = Mill::start(&Options::new(&shared.broker.bootstrap(), table(&case, &handler, "")?))?;
    // The same source gives the same bytes.
    std::fs::copy(&old.path, &handler)?;
    ensure!(drift(&mill)?.is_null(), "{}", drift(&mill)?);
    std::fs::copy(&new.path, &handler)?;
    let seen = drift(&mill)?;
    ensure!(seen["cause"] == "file" && seen["configured"] == new.digest.as_str(), "{seen}");
    let status = mill.command(&["status"])?;
    ensure!(status.contains("file changed: ") && status.contains("wasmill reload takes it up"), "{status}");
    let drifts = |cause: &str| -> Result<bool> {
        let row = format!("wasmill_drift{{pipeline=\"{}\",cause=\"{cause}\"}} 1", case.name);
        Ok(mill.metrics()?.contains(&row))
    };
    ensure!(drifts("file")? && !drifts("swap")?);
    std::fs::copy(&old.path, &handler)?;
    swap(&mill, &case, &new.path, &[])?;
    ensure!(drift(&mill)?["cause"] == "swap" && drifts("swap")? && !drifts("file")?);
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_swap_says_that_it_is_watched_and_one_that_waits_ends_with_what_came_of_it() -> Result<()> {
    let (shared, folder) = (&shared()?, Scratch::new("waits")?);
    let case = Case::new(&shared.eye, "waits", 1)?;
    let (old, new) = (Version::write(folder.path(), "stamp", 0)?, Version::write(folder.path(), "stamp", 1)?);
    let bad = Version::write(folder.path(), "stamp_rejects", 0)?;
    let lines = "batch.messages = 10\nswap.rollback = { messages = 300, time = \"5m\" }\nswap.budget.window = 50\n";
    let mut mill = Mill::start(&Options::new(&shared.broker.bootstrap(), table(&case, &old.path, lines)?))?;
    shared.eye.start_stream(&case.input, 1, 200, 2000)?;
    let told = mill.command(&["swap", &case.name, &new.name()])?;
    ensure!(
        told.contains("is being watched, for 300 messages or 5m, and goes back by itself if it is worse"),
        "{told}"
    );
    wait_event(&mill, &case, "confirmed")?;
    let told = mill.command(&["swap", &case.name, &old.name(), "--wait"])?;
    ensure!(told.contains("confirmed: ") && serves(&mill)? == old.digest, "{told}");
    let done = mill.output(&["swap", &case.name, &bad.name(), "--wait"])?;
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(done.status.code() == Some(1) && told.contains("rollback: "), "{:?}: {told}", done.status);
    ensure!(serves(&mill)? == old.digest && events(&mill, &case)?.last().is_some_and(|last| last == "rollback"));
    shared.eye.stop_stream(&case.input)?;
    ensure!(mill.stop()?.success());
    Ok(())
}
