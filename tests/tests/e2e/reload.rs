//! A configuration that changes under a process that runs: `wasmill reload`, SIGHUP and `wasmill restart`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, Options, guest};
use wasmill_tests::shared::{Shared, shared};
use wasmill_tests::signal::Signal;

const SOON: Duration = Duration::from_secs(60);

/// A process with some pipelines, and what its file says of each.
struct Tables<'a> {
    shared: &'a Shared,
    tables: Vec<String>,
}

impl Tables<'_> {
    fn options(&self) -> Options {
        Options::new(&self.shared.broker.bootstrap(), self.tables.concat())
    }
}

fn produce(shared: &Shared, case: &Case, values: &[&str]) -> Result<()> {
    let messages: Vec<_> = values.iter().map(|value| Message::new("k", *value).on(0)).collect();
    shared.eye.produce(&case.input, &messages).map(drop)
}

fn committed(shared: &Shared, case: &Case, offset: i64) -> Result<()> {
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, offset)]), SOON)
}

fn pipeline<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["pipelines"].as_array()?.iter().find(|one| one["name"] == name)
}

fn names(mill: &Mill) -> Result<Vec<String>> {
    let status = mill.status()?;
    let all = status["pipelines"].as_array().cloned().unwrap_or_default();
    Ok(all.iter().map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect())
}

/// How often the pipeline was given partitions; the first time is waited for.
fn generations(mill: &Mill, case: &Case) -> Result<i64> {
    let of = |status: &Value| pipeline(status, &case.name)?["generations"].as_i64();
    let status = mill.wait_status("partitions", SOON, |status| of(status) >= Some(1))?;
    of(&status).with_context(|| format!("no pipeline {} in {status}", case.name))
}

/// What a reload answers, and whether all of it was applied by its exit code.
fn reload(mill: &Mill) -> Result<(bool, Value)> {
    let done = mill.output(&["reload", "--json"])?;
    let answer = serde_json::from_slice(&done.stdout)
        .with_context(|| format!("no answer: {}", String::from_utf8_lossy(&done.stderr)))?;
    Ok((done.status.success(), answer))
}

fn row<'a>(answer: &'a Value, case: &Case) -> Result<&'a Value> {
    let rows = answer["pipelines"].as_array().context("no pipelines in the answer")?;
    rows.iter().find(|row| row["pipeline"] == case.name.as_str()).with_context(|| format!("{} in {answer}", case.name))
}

#[test]
fn a_pipeline_comes_and_one_goes_and_a_third_does_not_notice() -> Result<()> {
    let shared = &shared()?;
    let case = |name| Case::new(&shared.eye, name, 1);
    let (stays, goes, comes) = (Case::new(&shared.eye, "stays", 2)?, case("goes")?, case("comes")?);
    let mut tables = Tables { shared, tables: vec![stays.table("echo", "")?, goes.table("echo", "")?] };
    let mut mill = Mill::start(&tables.options())?;
    shared.eye.start_stream(&stays.input, 2, 8, 500)?;
    produce(shared, &goes, &["a", "b"])?;
    committed(shared, &goes, 2)?;
    let before = generations(&mill, &stays)?;
    tables.tables[1] = comes.table("upper", "")?;
    mill.configure(&tables.options())?;
    let (applied, answer) = reload(&mill)?;
    ensure!(applied && answer["applied"] == true, "{answer}");
    for (case, done) in [(&stays, "unchanged"), (&goes, "removed"), (&comes, "started")] {
        ensure!(row(&answer, case)?["done"] == done, "{answer}");
    }
    produce(shared, &comes, &["c"])?;
    committed(shared, &comes, 1)?;
    ensure!(comes.outputs(&shared.eye)? == ["C"]);
    ensure!(names(&mill)? == [stays.name.clone(), comes.name.clone()], "{:?}", names(&mill)?);
    shared.eye.wait_members(&goes.name, 0, SOON)?;
    committed(shared, &goes, 2)?;
    let ends = shared.eye.stop_stream(&stays.input)?;
    let expected: Offsets = (0..).zip(ends.iter().copied()).collect();
    shared.eye.wait_committed(&stays.name, &stays.input, &expected, SOON)?;
    ensure!(generations(&mill, &stays)? == before, "the pipeline that stays was rebalanced");
    let out = shared.eye.end_offsets(&stays.output)?[&0];
    ensure!(out == ends.iter().sum::<i64>(), "{out} outputs of {ends:?}: something was lost or handled twice");
    // The pipeline that went is not waited for, and the one that came drains like one of the first hour.
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_bad_file_changes_nothing_and_every_mistake_is_named_with_its_place() -> Result<()> {
    let shared = &shared()?;
    let (one, two) = (Case::new(&shared.eye, "kept", 1)?, Case::new(&shared.eye, "later", 1)?);
    let mut tables = Tables { shared, tables: vec![one.table("echo", "")?] };
    let mut mill = Mill::start(&tables.options())?;
    let before = generations(&mill, &one)?;
    tables.tables = vec![one.table("upper", "lanez = 1\nretry.attempts = 0")?];
    mill.configure(&tables.options())?;
    let (code, answer) = mill.post("/api/v1/reload", b"{}")?;
    let text = answer["error"].as_str().unwrap_or_default();
    ensure!(code == 409, "{code}: {answer}");
    for words in ["unknown key `lanez`", "wasmill.toml:", "attempts"] {
        ensure!(text.contains(words), "{words} is missing in {text}");
    }
    let mistakes = answer["findings"].as_array().cloned().unwrap_or_default();
    let mistakes: Vec<_> = mistakes.iter().filter(|one| one["severity"] == "error").collect();
    ensure!(mistakes.len() == 2 && mistakes.iter().all(|one| one["line"].is_number()), "{answer}");
    let refused = mill.command(&["reload"]).err().context("a bad file was reloaded")?;
    ensure!(format!("{refused:#}").contains("unknown key `lanez`"), "{refused:#}");
    let refused = mill.command(&["restart", &one.name]).err().context("restarted from a bad file")?;
    ensure!(format!("{refused:#}").contains("unknown key `lanez`"), "{refused:#}");
    mill.signal(Signal::Hup)?;
    mill.wait_log("configuration not reloaded", SOON)?;
    produce(shared, &one, &["a"])?;
    committed(shared, &one, 1)?;
    ensure!(one.outputs(&shared.eye)? == ["a"], "another handler has taken over");
    ensure!(generations(&mill, &one)? == before);

    tables.tables = vec![one.table("echo", "")?, two.table("echo", "")?];
    mill.configure(&tables.options())?;
    mill.signal(Signal::Hup)?;
    mill.wait_status("the pipeline that SIGHUP brought", SOON, |status| pipeline(status, &two.name).is_some())?;
    produce(shared, &two, &["b"])?;
    committed(shared, &two, 1)?;
    ensure!(generations(&mill, &one)? == before);
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn what_cannot_change_live_is_named_and_a_restart_takes_it_up() -> Result<()> {
    let shared = &shared()?;
    let (one, other) = (Case::new(&shared.eye, "fixed", 2)?, Case::new(&shared.eye, "other", 1)?);
    let mut tables = Tables { shared, tables: vec![one.table("echo", "")?, other.table("echo", "")?] };
    let mut mill = Mill::start(&tables.options())?;
    let (before, others) = (generations(&mill, &one)?, generations(&mill, &other)?);
    produce(shared, &one, &["a"])?;
    shared.eye.wait_committed(&one.name, &one.input, &Offsets::from([(0, 1), (1, 0)]), SOON)?;
    // The handler could change, and does not, since the members cannot.
    tables.tables[0] = one.table("upper", "members = 2\nspan.messages = 1000\nbatch.messages = 100")?;
    let options = Options { top: "memory = \"256MiB\"".to_owned(), ..tables.options() };
    mill.configure(&options)?;
    let (applied, answer) = reload(&mill)?;
    ensure!(!applied && answer["applied"] == false, "{answer}");
    let refused = row(&answer, &one)?;
    ensure!(refused["done"] == "not-applied", "{answer}");
    ensure!(refused["keys"] == serde_json::json!(["members", "batch.messages", "span.messages"]), "{answer}");
    let hint = format!("hint: wasmill restart {}", one.name);
    ensure!(refused["reason"].as_str().is_some_and(|reason| reason.contains(&hint)), "{answer}");
    ensure!(
        row(&answer, &other)?["done"] == "unchanged" && answer["process"] == serde_json::json!(["memory"]),
        "{answer}"
    );
    let told = String::from_utf8_lossy(&mill.output(&["reload"])?.stdout).into_owned();
    ensure!(told.contains("not applied: memory; hint: restart the process") && told.contains(&hint), "{told}");
    ensure!(generations(&mill, &one)? == before);

    let answer: Value = serde_json::from_str(&mill.command(&["restart", &one.name, "--json"])?)?;
    ensure!(answer["settled"] == true, "{answer}");
    let left = [(0, 1), (1, 0)]
        .map(|(number, at)| serde_json::json!({ "partition": format!("{}/{number}", one.input), "committed": at }));
    ensure!(answer["left"] == serde_json::json!(left), "{answer}");
    let two = |status: &Value| {
        let joined = |members: &Vec<Value>| members.len() == 2 && members.iter().all(|member| member["joined"] == true);
        pipeline(status, &one.name).and_then(|one| one["members"].as_array()).is_some_and(joined)
    };
    mill.wait_status("two members", SOON, two)?;
    produce(shared, &one, &["b"])?;
    shared.eye.wait_committed(&one.name, &one.input, &Offsets::from([(0, 2), (1, 0)]), SOON)?;
    ensure!(one.outputs(&shared.eye)? == ["a", "B"], "{:?}", one.outputs(&shared.eye)?);
    ensure!(generations(&mill, &other)? == others, "the other pipeline was touched");
    mill.configure(&tables.options())?;
    let (applied, answer) = reload(&mill)?;
    ensure!(applied && row(&answer, &one)?["done"] == "unchanged", "{answer}");
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn if_one_thing_does_not_pass_nothing_changes() -> Result<()> {
    let shared = &shared()?;
    let [one, goes, fine, bad, homeless] = [
        Case::new(&shared.eye, "stands", 1)?,
        Case::new(&shared.eye, "gone", 1)?,
        Case::new(&shared.eye, "fine", 1)?,
        Case::new(&shared.eye, "bad", 1)?,
        Case::named("homeless"),
    ];
    let mut tables = Tables { shared, tables: vec![one.table("echo", "config = { x = 1 }")?, goes.table("echo", "")?] };
    let mut mill = Mill::start(&tables.options())?;
    let all = names(&mill)?;
    let before = (generations(&mill, &one)?, generations(&mill, &goes)?);
    // A swap that would pass, a pipeline that would start, one whose `init` fails, one without topics, one that is missing.
    tables.tables = vec![
        one.table("upper", "")?,
        fine.table("echo", "")?,
        bad.table("init_fails", "")?,
        homeless.table("echo", "")?,
    ];
    mill.configure(&tables.options())?;
    let refused = format!("{:#}", mill.command(&["reload"]).err().context("it was reloaded")?);
    for words in [format!("pipeline {}: handler", bad.name), format!("topics that do not exist: {}", homeless.input)] {
        ensure!(refused.contains(&words), "{words} is missing in {refused}");
    }
    ensure!(names(&mill)? == all, "{:?}", names(&mill)?);
    ensure!((generations(&mill, &one)?, generations(&mill, &goes)?) == before);
    produce(shared, &one, &["a"])?;
    committed(shared, &one, 1)?;
    ensure!(one.outputs(&shared.eye)? == ["a"], "the swap was made though the rest was refused");
    // The handler of one that is restarted does not pass either: the running one goes on.
    tables.tables = vec![one.table("init_fails", "")?, goes.table("echo", "")?];
    mill.configure(&tables.options())?;
    mill.command(&["restart", &one.name]).err().context("restarted with a handler that does not start")?;
    let unknown = format!("{:#}", mill.command(&["restart", "nobody"]).err().context("restarted nobody")?);
    ensure!(unknown.contains("no pipeline `nobody`") && unknown.contains(&one.name), "{unknown}");
    produce(shared, &one, &["b"])?;
    committed(shared, &one, 2)?;
    ensure!(generations(&mill, &one)? == before.0);
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_reload_swaps_the_handler_and_its_settings_within_the_generation_and_a_pause_outlasts_it() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "live", 2)?;
    let mut tables = Tables { shared, tables: vec![case.table("echo", "")?] };
    let mut mill = Mill::start(&tables.options())?;
    let before = generations(&mill, &case)?;
    let on = |partition, value: &str| Message::new("k", value).on(partition);
    shared.eye.produce(&case.input, &[on(0, "a"), on(1, "b")])?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1), (1, 1)]), SOON)?;
    mill.command(&["pause", &case.name, "--partition", "1"])?;
    tables.tables[0] = case.table("upper", "retry.attempts = 2\nlimits.memory = \"32MiB\"")?;
    mill.configure(&tables.options())?;
    let (applied, answer) = reload(&mill)?;
    ensure!(applied, "{answer}");
    let swapped = row(&answer, &case)?;
    ensure!(swapped["done"] == "swapped", "{answer}");
    let mut keys: Vec<_> = swapped["keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    keys.sort_unstable();
    ensure!(keys == ["handler", "limits.memory", "retry.attempts"], "{answer}");
    let mut first: Vec<_> = swapped["swap"]["partitions"].as_array().cloned().unwrap_or_default();
    first.sort_by_key(|one| one["partition"].to_string());
    let at: Vec<_> = first.iter().map(|one| one["first_offset"].as_i64()).collect();
    ensure!(at == [Some(1), Some(1)], "{answer}");
    shared.eye.produce(&case.input, &[on(1, "d"), on(0, "c")])?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 2), (1, 1)]), SOON)?;
    let status = mill.status()?;
    let paused = |one: &&Value| one["state"] == "paused" && one["partition"] == 1;
    ensure!(status["pipelines"][0]["partitions"].as_array().is_some_and(|all| all.iter().filter(paused).count() == 1));
    mill.command(&["resume", &case.name])?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 2), (1, 2)]), SOON)?;
    let mut outputs = case.outputs(&shared.eye)?;
    outputs.sort();
    ensure!(outputs == ["C", "D", "a", "b"], "{outputs:?}");
    ensure!(generations(&mill, &case)? == before, "a swap is no rebalance");
    // Nothing has changed since; a second time there is nothing to do.
    let (applied, answer) = reload(&mill)?;
    ensure!(applied && row(&answer, &case)?["done"] == "unchanged", "{answer}");
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_handler_that_is_other_under_the_same_name_is_taken_up() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "digest", 1)?;
    let table = case.table("echo", "")?.replace(&guest("echo")?, "handler.wasm");
    let mut mill =
        Mill::spawn(&Options::new(&shared.broker.bootstrap(), table.replace("handler.wasm", &guest("echo")?)))?;
    mill.wait_ready(SOON)?;
    let file = mill.folder().join("handler.wasm");
    std::fs::copy(guest("echo")?, &file)?;
    mill.configure(&Options::new(&shared.broker.bootstrap(), table))?;
    let (applied, answer) = reload(&mill)?;
    ensure!(applied && row(&answer, &case)?["keys"] == serde_json::json!(["handler"]), "{answer}");
    std::fs::copy(guest("upper")?, &file)?;
    let (applied, answer) = reload(&mill)?;
    ensure!(applied && row(&answer, &case)?["done"] == "swapped", "{answer}");
    produce(shared, &case, &["a"])?;
    committed(shared, &case, 1)?;
    ensure!(case.outputs(&shared.eye)? == ["A"]);
    let status = mill.status()?;
    ensure!(status["pipelines"][0]["drift"].is_null(), "a restart would run the same: {status}");
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn under_another_name_a_pipeline_goes_on_where_it_was() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "name", 1)?;
    let table = case.table("echo", "")?;
    let renamed = table.replace(&format!("[pipelines.{}]", case.name), "[pipelines.renamed]");
    let mut mill = Mill::start(&Options::new(&shared.broker.bootstrap(), table))?;
    produce(shared, &case, &["a"])?;
    committed(shared, &case, 1)?;
    mill.configure(&Options::new(&shared.broker.bootstrap(), renamed))?;
    // For a moment nothing runs, which does not end the process.
    let (applied, answer) = reload(&mill)?;
    ensure!(applied, "{answer}");
    produce(shared, &case, &["b"])?;
    committed(shared, &case, 2)?;
    ensure!(names(&mill)? == ["renamed"]);
    ensure!(case.outputs(&shared.eye)? == ["a", "b"], "{:?}", case.outputs(&shared.eye)?);
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_handler_that_is_no_regular_file_holds_no_reload_up_and_moves_nothing() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "irregular", 1)?;
    let table = case.table("echo", "")?;
    let options = |handler: &str| {
        let table = table.replace(&guest("echo").unwrap_or_default(), handler);
        Options::new(&shared.broker.bootstrap(), table)
    };
    let mut mill = Mill::start(&options(&guest("echo")?))?;
    let pipe = mill.folder().join("pipe.wasm");
    ensure!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
    for irregular in [pipe.display().to_string(), "/dev/zero".to_owned()] {
        mill.configure(&options(&irregular))?;
        let done = mill.output(&["reload"])?;
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        ensure!(!done.status.success() && said.contains("regular file"), "{irregular}: {said}");
        let swap = mill.output(&["swap", &case.name, &irregular])?;
        let said = String::from_utf8_lossy(&swap.stderr);
        ensure!(!swap.status.success() && said.contains("regular file"), "{irregular}: {said}");
    }
    // Neither is anything left behind that a later reload waits for.
    mill.configure(&options(&guest("echo")?))?;
    let (applied, answer) = reload(&mill)?;
    ensure!(applied, "{answer:#}");
    produce(shared, &case, &["a"])?;
    committed(shared, &case, 1)?;
    ensure!(mill.stop()?.success());
    Ok(())
}
