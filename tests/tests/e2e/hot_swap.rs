//! A running pipeline is given another handler: where it takes over, what is refused, and the ways back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Eye, Message, Offsets};
use wasmill_tests::mill::{Mill, Options, guest};
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::shared;
use wasmill_tests::versions::Version;

pub(crate) const SOON: Duration = Duration::from_secs(60);
pub(crate) const PARTITIONS: u32 = 4;

/// What came out: by input partition and offset, the stamps of the versions that were given the message.
pub(crate) type Seen = BTreeMap<(i32, i64), Vec<String>>;

/// A pipeline whose handler is a file of its own.
pub(crate) fn options(bootstrap: &str, case: &Case, handler: &Path, lines: &str) -> Result<Options> {
    let mut options = case.options(bootstrap, "echo", lines)?;
    options.pipelines = options.pipelines.replace(&guest("echo")?, &handler.display().to_string());
    Ok(options)
}

fn parsed(value: &str) -> Result<((i32, i64), String)> {
    let mut words = value.trim_start_matches('!').split(' ');
    let mut number = || words.next().and_then(|word| word.parse::<i64>().ok());
    let place = number().zip(number()).with_context(|| format!("not of the stream: {value}"))?;
    let stamp = value.rsplit(' ').next().unwrap_or_default().to_owned();
    Ok(((i32::try_from(place.0)?, place.1), stamp))
}

/// Reads the output, and holds it to the order of each input partition.
pub(crate) fn seen(eye: &Eye, case: &Case) -> Result<Seen> {
    let (mut seen, mut last) = (Seen::new(), BTreeMap::new());
    for value in case.outputs(eye)? {
        let ((partition, offset), stamp) = parsed(&value)?;
        let before = last.insert(partition, offset);
        ensure!(before.is_none_or(|before| before < offset), "{partition}/{offset} came behind {before:?}");
        seen.entry((partition, offset)).or_default().push(stamp);
    }
    Ok(seen)
}

/// Ends the stream, waits until all is committed, and holds the output to each message having come out once.
pub(crate) fn finish(eye: &Eye, case: &Case) -> Result<(Seen, Vec<i64>)> {
    let given = eye.stop_stream(&case.input)?;
    let ends: Offsets = (0..).zip(given.iter().copied()).collect();
    eye.wait_committed(&case.name, &case.input, &ends, SOON)?;
    let seen = seen(eye, case)?;
    let dead = case.dead_letters(eye)?.len();
    ensure!(seen.len() + dead == given.iter().sum::<i64>() as usize, "{} and {dead} of {given:?}", seen.len());
    ensure!(seen.values().all(|stamps| stamps.len() == 1), "something came out twice");
    Ok((seen, given))
}

pub(crate) fn swap(mill: &Mill, case: &Case, file: &Path, more: &[&str]) -> Result<Value> {
    let file = file.display().to_string();
    let words = [&["swap", case.name.as_str(), file.as_str(), "--json"], more].concat();
    Ok(serde_json::from_str(&mill.command(&words)?)?)
}

fn refusal(mill: &Mill, case: &Case, file: &Path) -> Result<String> {
    let error = mill.command(&["swap", &case.name, &file.display().to_string()]);
    Ok(error.err().context("it was let in")?.to_string())
}

/// Digest of the version that serves.
pub(crate) fn serves(mill: &Mill) -> Result<String> {
    Ok(mill.status()?["pipelines"][0]["plugin"].as_str().context("no digest")?.to_owned())
}

pub(crate) fn history(mill: &Mill, case: &Case) -> Result<Vec<Value>> {
    let answer: Value = serde_json::from_str(&mill.command(&["history", &case.name, "--json", "--last", "1000"])?)?;
    Ok(answer["history"].as_array().context("no history")?.clone())
}

pub(crate) fn events(mill: &Mill, case: &Case) -> Result<Vec<String>> {
    Ok(history(mill, case)?.iter().map(|one| one["what"].as_str().unwrap_or("-").to_owned()).collect())
}

/// Waits until the history ends with this event.
pub(crate) fn wait_event(mill: &Mill, case: &Case, what: &str) -> Result<Value> {
    let end = std::time::Instant::now() + SOON;
    loop {
        let last = history(mill, case)?.pop().unwrap_or_default();
        if last["what"] == what {
            return Ok(last);
        }
        ensure!(std::time::Instant::now() < end, "no {what}, but {last}\n{}", mill.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until so many messages have come out of the version with this stamp.
pub(crate) fn wait_stamped(eye: &Eye, case: &Case, stamp: &str, count: usize) -> Result<()> {
    let end = std::time::Instant::now() + SOON;
    loop {
        let outputs = case.outputs(eye)?;
        if outputs.iter().filter(|value| value.ends_with(stamp)).count() >= count {
            return Ok(());
        }
        ensure!(std::time::Instant::now() < end, "fewer than {count} of {stamp} among {}", outputs.len());
    }
}

#[test]
fn each_partition_passes_on_at_the_offset_that_the_answer_names() -> Result<()> {
    let (shared, folder) = (shared()?, Scratch::new("swaps")?);
    let case = Case::new(&shared.eye, "boundary", PARTITIONS)?;
    let versions = (0..9).map(|number| Version::write(folder.path(), "stamp", number)).collect::<Result<Vec<_>>>()?;
    let lines = "output.digest_header = true\nswap.rollback = false\n";
    let mut mill = Mill::start(&options(&shared.broker.bootstrap(), &case, &versions[0].path, lines)?)?;
    shared.eye.start_stream(&case.input, PARTITIONS, 40, 4000)?;
    // By partition: from which offset on, which version.
    let mut bounds: BTreeMap<i32, Vec<(i64, &str)>> =
        (0..PARTITIONS as i32).map(|partition| (partition, vec![(0, versions[0].stamp())])).collect();
    wait_stamped(&shared.eye, &case, versions[0].stamp(), 500)?;
    for version in &versions[1..] {
        let answer = swap(&mill, &case, &version.path, &[])?;
        ensure!(answer["outcome"] == "swapped" && answer["to"]["digest"] == version.digest.as_str(), "{answer}");
        ensure!(answer["waiting"].as_array().is_some_and(Vec::is_empty), "{answer}");
        let partitions = answer["partitions"].as_array().context("no partitions")?;
        ensure!(partitions.len() == PARTITIONS as usize, "{answer}");
        for one in partitions {
            let name = one["partition"].as_str().context("no partition")?;
            let number: i32 = name.rsplit('/').next().context("no number")?.parse()?;
            let first = one["first_offset"].as_i64().context("no offset")?;
            bounds.get_mut(&number).context("an unknown partition")?.push((first, version.stamp()));
        }
        wait_stamped(&shared.eye, &case, version.stamp(), 200)?;
    }
    let (seen, _) = finish(&shared.eye, &case)?;
    for ((partition, offset), stamps) in &seen {
        let expected = bounds[partition].iter().rev().find(|(first, _)| first <= offset).context("before the first")?;
        ensure!(stamps[0] == expected.1, "{partition}/{offset} is of {}, and was to be of {}", stamps[0], expected.1);
    }
    for message in shared.eye.read(&case.output, &Offsets::new())? {
        let digest = message.header_text("wasmill.plugin").context("no digest in a header")?;
        ensure!(message.text().ends_with(&digest[..12]), "{message:?}");
    }
    ensure!(events(&mill, &case)?.iter().filter(|what| *what == "swap").count() == 8);
    let metrics = mill.metrics()?;
    ensure!(metrics.contains(&format!("digest=\"{}\"", versions[8].digest)), "{metrics}");
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn what_does_not_pass_the_gate_changes_nothing() -> Result<()> {
    let (shared, folder) = (shared()?, Scratch::new("gate")?);
    let case = Case::new(&shared.eye, "gate", 1)?;
    let version = Version::write(folder.path(), "stamp", 0)?;
    let file = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    };
    let cases = file(
        "stamped.toml",
        b"[[case]]\nname = \"upper\"\n[[case.message]]\nvalue = \"a\"\nexpect.verdict = \"ack\"\nexpect.output = [{ value = \"A\" }]\n",
    )?;
    let lines =
        format!("limits.init_time = \"300ms\"\nlimits.component = \"1MiB\"\nswap.tests = [\"{}\"]\n", cases.display());
    let mut mill = Mill::start(&options(&shared.broker.bootstrap(), &case, &version.path, &lines)?)?;
    let whole = std::fs::read(&version.path)?;
    let socket = wat::parse_str(r#"(component (import "wasi:sockets/tcp@0.2.0" (instance)))"#)?;
    let refusals = [
        (file("empty.wasm", b"")?, "format", "the file is empty"),
        (file("text.wasm", b"hello")?, "format", "this is not WebAssembly"),
        (file("half.wasm", &whole[..whole.len() / 2])?, "format", ""),
        (file("socket.wasm", &socket)?, "imports", "wasi:sockets/tcp@0.2.0"),
        (file("large.wasm", &vec![0; 2 << 20])?, "size", "limits.component"),
        (guest("sleep")?.into(), "imports", "grant = [\"clock\"]"),
        (guest("init_fails")?.into(), "init", "refused to start"),
        // It does pass everything else.
        (Version::write(folder.path(), "stamp", 1)?.path, "tests", "case `upper`"),
    ];
    for (path, gate, words) in &refusals {
        let text = refusal(&mill, &case, path)?;
        ensure!(text.contains(&format!("refused at the gate `{gate}`")) && text.contains(words), "{gate}: {text}");
    }
    ensure!(serves(&mill)? == version.digest);
    ensure!(history(&mill, &case)?.iter().filter(|one| one["what"] == "refused").count() >= refusals.len() - 1);
    shared.eye.produce(&case.input, &[Message::new("k", "v").on(0)])?;
    let out = shared.eye.read_count(&case.output, 1, SOON)?;
    ensure!(out[0].text() == format!("v {}", version.stamp()));
    let unknown = mill.command(&["swap", "nothing", &version.name()]).err().context("no such pipeline")?.to_string();
    ensure!(unknown.contains("no pipeline `nothing`; there is"), "{unknown}");
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_retry_goes_on_with_the_new_version_and_its_attempts_are_counted_on() -> Result<()> {
    let (shared, folder) = (shared()?, Scratch::new("retry")?);
    let case = Case::new(&shared.eye, "carried", 1)?;
    let [old, new] = [0, 1].map(|number| Version::write(folder.path(), "stamp", number));
    let (old, new) = (old?, new?);
    let lines = "retry.backoff = \"3s\"\n";
    let mut mill = Mill::start(&options(&shared.broker.bootstrap(), &case, &old.path, lines)?)?;
    shared.eye.produce(&case.input, &[Message::new("k", "wait").on(0), Message::new("k", "behind").on(0)])?;
    let waits = |status: &Value| status["pipelines"][0]["partitions"][0]["attempt"] == 2;
    mill.wait_status("the first attempt", SOON, waits)?;
    let answer = swap(&mill, &case, &new.path, &[])?;
    let first = &answer["partitions"][0];
    ensure!(first["first_offset"] == 0 && first["attempt"] == 2, "{answer}");
    let out = shared.eye.read_count(&case.output, 2, SOON)?;
    let expected = [format!("wait attempt 3 {}", new.stamp()), format!("behind {}", new.stamp())];
    ensure!(out.iter().map(Message::text).eq(expected), "{out:?}");
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn ten_swaps_at_a_time_are_answered_one_after_the_other() -> Result<()> {
    let (shared, folder) = (shared()?, Scratch::new("ten")?);
    let case = Case::new(&shared.eye, "ten", PARTITIONS)?;
    let versions = (0..11).map(|number| Version::write(folder.path(), "stamp", number)).collect::<Result<Vec<_>>>()?;
    let mut mill = Mill::start(&options(&shared.broker.bootstrap(), &case, &versions[0].path, "")?)?;
    shared.eye.start_stream(&case.input, PARTITIONS, 40, 2000)?;
    let answers: Vec<Result<Value>> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            versions[1..].iter().map(|version| scope.spawn(|| swap(&mill, &case, &version.path, &[]))).collect();
        asked.into_iter().map(|one| one.join().expect("no panic")).collect()
    });
    let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
    let serials: BTreeSet<_> = answers.iter().filter_map(|answer| answer["serial"].as_u64()).collect();
    ensure!(serials == (1..=10).collect(), "{serials:?}");
    let last = answers.iter().max_by_key(|answer| answer["serial"].as_u64()).context("no answers")?;
    ensure!(last["to"]["digest"] == serves(&mill)?.as_str());
    // Each begins where another one ended.
    let ends: BTreeSet<_> = answers.iter().map(|answer| answer["to"]["digest"].as_str()).collect();
    ensure!(ends.len() == 10);
    finish(&shared.eye, &case)?;
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_version_that_is_worse_is_taken_back_by_itself() -> Result<()> {
    const WINDOW: usize = 100;
    const BATCH: usize = 50;
    let (shared, folder) = (shared()?, Scratch::new("worse")?);
    for (worse, reason) in [("stamp_rejects", "messages were given up"), ("stamp_traps", "calls crashed")] {
        let case = Case::new(&shared.eye, "worse", PARTITIONS)?;
        let old = Version::write(folder.path(), "stamp", 0)?;
        let new = Version::write(folder.path(), worse, 0)?;
        let lines = format!("batch.messages = {BATCH}\nswap.budget.window = {WINDOW}\nretry.attempts = 3\n");
        let mut mill = Mill::start(&options(&shared.broker.bootstrap(), &case, &old.path, &lines)?)?;
        shared.eye.start_stream(&case.input, PARTITIONS, 40, 8000)?;
        wait_stamped(&shared.eye, &case, old.stamp(), 500)?;
        // It is to meet as many messages as it could take: the bound must not hold for want of them.
        mill.command(&["pause", &case.name])?;
        let from: i64 = shared.eye.end_offsets(&case.input)?.values().sum();
        let end = std::time::Instant::now() + SOON;
        while shared.eye.end_offsets(&case.input)?.values().sum::<i64>() < from + 30_000 {
            ensure!(std::time::Instant::now() < end, "no stream");
        }
        swap(&mill, &case, &new.path, &[])?;
        mill.command(&["resume", &case.name])?;
        let back = wait_event(&mill, &case, "rollback")?;
        ensure!(back["reason"].as_str().is_some_and(|text| text.contains(reason)), "{back}");
        ensure!(serves(&mill)? == old.digest);
        let (seen, _) = finish(&shared.eye, &case)?;
        let dead = case.dead_letters(&shared.eye)?;
        ensure!(dead.iter().all(|one| one.header_text("wasmill.plugin").as_deref() == Some(&new.digest)), "{dead:?}");
        let stamped = seen.values().filter(|stamps| stamps[0] == new.stamp()).count();
        let bound = WINDOW + PARTITIONS as usize * BATCH;
        ensure!(stamped + dead.len() <= bound, "{worse}: {stamped} and {} of {bound}", dead.len());
        ensure!(mill.command(&["rollback", &case.name]).is_err(), "there is nothing before the first");
        ensure!(mill.stop()?.success());
    }
    Ok(())
}

#[test]
fn an_operator_goes_back_and_a_restart_that_would_bring_another_handler_is_told_of() -> Result<()> {
    let (shared, folder) = (shared()?, Scratch::new("back")?);
    let case = Case::new(&shared.eye, "back", 1)?;
    let (old, new) = (Version::write(folder.path(), "stamp", 0)?, Version::write(folder.path(), "stamp", 1)?);
    let handler = folder.path().join("handler.wasm");
    std::fs::copy(&old.path, &handler)?;
    let mut mill = Mill::start(&options(&shared.broker.bootstrap(), &case, &handler, "")?)?;
    let drift = |mill: &Mill| -> Result<Value> { Ok(mill.status()?["pipelines"][0]["drift"].clone()) };
    ensure!(drift(&mill)?.is_null());
    swap(&mill, &case, &new.path, &[])?;
    let seen = drift(&mill)?;
    ensure!(seen["configured"] == old.digest.as_str() && seen["other"] == new.digest.as_str(), "{seen}");
    ensure!(mill.command(&["status"])?.contains("drift: a restart runs"));
    std::fs::copy(&new.path, &handler)?;
    ensure!(drift(&mill)?.is_null(), "the file that a restart would run is the one that serves");
    let answer: Value = serde_json::from_str(&mill.command(&["rollback", &case.name, "--json"])?)?;
    ensure!(answer["outcome"] == "rolled-back" && answer["to"]["digest"] == old.digest.as_str(), "{answer}");
    ensure!(serves(&mill)? == old.digest && !drift(&mill)?.is_null());
    ensure!(events(&mill, &case)? == ["start", "swap", "rollback"]);
    ensure!(swap(&mill, &case, &old.path, &[])?["outcome"] == "unchanged");
    ensure!(mill.stop()?.success());
    mill.start_again()?;
    mill.wait_log("the configuration names another handler than the one that ran before", SOON)?;
    ensure!(serves(&mill)? == new.digest);
    Ok(())
}

#[test]
fn a_file_that_is_replaced_is_swapped_in_and_half_of_one_is_not() -> Result<()> {
    let (shared, folder) = (shared()?, Scratch::new("watched")?);
    let case = Case::new(&shared.eye, "watched", 1)?;
    let (old, new) = (Version::write(folder.path(), "stamp", 0)?, Version::write(folder.path(), "stamp", 1)?);
    let home = Scratch::new("watched-handler")?;
    let handler = home.path().join("handler.wasm");
    std::fs::copy(&old.path, &handler)?;
    let mut mill = Mill::start(&options(&shared.broker.bootstrap(), &case, &handler, "swap.watch = true\n")?)?;
    let whole = std::fs::read(&new.path)?;
    std::fs::write(&handler, &whole[..whole.len() / 2])?;
    wait_event(&mill, &case, "refused")?;
    ensure!(serves(&mill)? == old.digest);
    std::fs::write(home.path().join("next"), &whole)?;
    std::fs::rename(home.path().join("next"), &handler)?;
    let event = wait_event(&mill, &case, "swap")?;
    ensure!(event["by"] == "watch" && event["to"]["digest"] == new.digest.as_str(), "{event}");
    ensure!(mill.stop()?.success());
    Ok(())
}
