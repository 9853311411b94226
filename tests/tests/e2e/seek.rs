//! An operator moves running partitions: back, forth, out of a stop, and what a crash leaves of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, Options};
use wasmill_tests::shared::{Shared, shared};

const SOON: Duration = Duration::from_secs(60);

struct Moved<'a> {
    shared: &'a Shared,
    case: Case,
    options: Options,
    mill: Mill,
}

impl<'a> Moved<'a> {
    fn start(shared: &'a Shared, name: &str, partitions: u32, handler: &str, lines: &str) -> Result<Self> {
        let case = Case::new(&shared.eye, name, partitions)?;
        let options = case.options(&shared.broker.bootstrap(), handler, lines)?;
        let mill = Mill::start(&options)?;
        Ok(Self { shared, case, options, mill })
    }

    fn produce(&self, partition: i32, values: &[&str]) -> Result<()> {
        let messages: Vec<_> = values.iter().map(|value| Message::new("k", *value).on(partition)).collect();
        self.shared.eye.produce(&self.case.input, &messages).map(drop)
    }

    fn committed(&self, offsets: &[(i32, i64)]) -> Result<()> {
        let offsets: Offsets = offsets.iter().copied().collect();
        self.shared.eye.wait_committed(&self.case.name, &self.case.input, &offsets, SOON)
    }

    /// What Kafka has of partition 0 now.
    fn commit_of_0(&self) -> Result<(i64, String)> {
        let commits = self.shared.eye.committed(&self.case.name, &self.case.input)?;
        let commit = commits.get(&0).context("nothing is committed for partition 0")?;
        Ok((commit.offset, commit.metadata.clone()))
    }

    fn seek(&self, words: &[&str]) -> Result<Value> {
        let mut all = vec!["seek", &self.case.name, "--json"];
        all.extend(words);
        Ok(serde_json::from_str(&self.mill.command(&all)?)?)
    }

    fn refused(&self, words: &[&str]) -> Result<String> {
        let answer = self.seek(words).err().with_context(|| format!("{words:?} was not refused"))?;
        Ok(format!("{answer:#}"))
    }

    fn call(&self, words: &[&str]) -> Result<()> {
        let mut all = vec![words[0], &self.case.name];
        all.extend(&words[1..]);
        self.mill.command(&all).map(drop)
    }

    fn outputs(&self) -> Result<Vec<String>> {
        self.case.outputs(&self.shared.eye)
    }

    fn wait_state(&self, state: &str, offset: i64) -> Result<()> {
        let there = |status: &Value| {
            let partitions = status["pipelines"][0]["partitions"].as_array();
            let at = |one: &Value| one["partition"] == 0 && one["state"] == state && one["offset"] == offset;
            partitions.is_some_and(|all| all.iter().any(at))
        };
        self.mill.wait_status(&format!("{state} at {offset}"), SOON, there).map(drop)
    }
}

#[test]
fn a_partition_goes_back_and_forth_and_what_is_committed_goes_with_it() -> Result<()> {
    let shared = &shared()?;
    let mut it = Moved::start(shared, "forth", 2, "echo", "")?;
    it.produce(0, &["0", "1", "2", "3", "4", "5"])?;
    it.produce(1, &["x", "y"])?;
    it.committed(&[(0, 6), (1, 2)])?;
    let answer = it.seek(&["--to", "2", "--partition", "0"])?;
    let place = format!("{}/0", it.case.input);
    ensure!(
        answer["sought"] == serde_json::json!([{ "partition": place, "from": 6, "to": 2, "dropped": 0 }]),
        "{answer}"
    );
    it.committed(&[(0, 6), (1, 2)])?;
    let of_0: Vec<_> = it.outputs()?.into_iter().filter(|value| !["x", "y"].contains(&value.as_str())).collect();
    ensure!(of_0 == ["0", "1", "2", "3", "4", "5", "2", "3", "4", "5"], "{of_0:?}");
    let commits = shared.eye.commits(&it.case.name, &it.case.input)?;
    let commits: Vec<_> = commits.iter().filter(|one| one.partition == 0).map(|one| one.offset).collect();
    let back = commits.windows(2).filter(|pair| pair[1] < pair[0]).count();
    ensure!(back == 1 && commits.contains(&2) && commits.last() == Some(&6), "{commits:?}");

    // Forth, while it is paused: what lies between is never handled, and the pause stays.
    it.call(&["pause", "--partition", "0"])?;
    it.produce(0, &["6", "7", "8"])?;
    it.seek(&["--to", "8", "--partition", "0"])?;
    it.committed(&[(0, 8), (1, 2)])?;
    let status = it.mill.status()?;
    let paused = |one: &Value| one["partition"] == 0 && one["state"] == "paused" && one["position"] == 8;
    ensure!(status["pipelines"][0]["partitions"].as_array().is_some_and(|all| all.iter().any(paused)), "{status}");
    it.call(&["resume"])?;
    it.committed(&[(0, 9), (1, 2)])?;
    ensure!(it.outputs()?.last().map(String::as_str) == Some("8") && it.outputs()?.len() == 13, "{:?}", it.outputs()?);

    // All partitions at once, by a word and by an age.
    it.seek(&["--to", "latest"])?;
    it.committed(&[(0, 9), (1, 2)])?;
    ensure!(it.outputs()?.len() == 13);
    let answer = it.seek(&["--to", "1h ago"])?;
    ensure!(answer["sought"].as_array().is_some_and(|all| all.iter().all(|one| one["to"] == 0)), "{answer}");
    it.committed(&[(0, 9), (1, 2)])?;
    ensure!(it.outputs()?.len() == 13 + 11, "{:?}", it.outputs()?);
    let several = it.refused(&["--to", "1"])?;
    ensure!(several.contains("add --partition N"), "{several}");
    ensure!(it.mill.stop()?.success());
    it.committed(&[(0, 9), (1, 2)])
}

#[test]
fn a_time_is_the_first_message_of_that_time_or_later() -> Result<()> {
    let shared = &shared()?;
    let mut it = Moved::start(shared, "time", 1, "echo", "")?;
    let at = |value: &str, second: i64| Message { timestamp: Some(second * 1000), ..Message::new("k", value).on(0) };
    // 1,767,225,600 is the beginning of 2026.
    let messages = [at("a", 1_767_225_600), at("b", 1_767_225_660), at("c", 1_767_225_720)];
    shared.eye.produce(&it.case.input, &messages)?;
    it.committed(&[(0, 3)])?;
    let answer = it.seek(&["--to", "2026-01-01T01:00:30+01:00"])?;
    ensure!(answer["sought"][0]["to"] == 1, "{answer}");
    it.committed(&[(0, 3)])?;
    ensure!(it.outputs()? == ["a", "b", "c", "b", "c"], "{:?}", it.outputs()?);
    let answer = it.seek(&["--to", "2027-01-01T00:00:00Z"])?;
    ensure!(answer["sought"][0]["to"] == 3, "behind the newest one if none is so young: {answer}");
    let words = it.refused(&["--to", "yesterday"])?;
    ensure!(words.contains("2h ago"), "{words}");
    ensure!(it.mill.stop()?.success());
    Ok(())
}

#[test]
fn a_message_that_is_retried_is_left_behind_and_tried_anew_when_it_comes_again() -> Result<()> {
    let shared = &shared()?;
    let lines = "config.when = \"value-prefix\"\nretry.attempts = 9\nretry.backoff = \"1h\"\nretry.max_delay = \"1h\"";
    let mut it = Moved::start(shared, "retried", 1, "retry", lines)?;
    it.produce(0, &["a", "!b", "c"])?;
    it.wait_state("waiting", 1)?;
    it.committed(&[(0, 1)])?;
    let attempt =
        |it: &Moved<'_>| Ok::<_, anyhow::Error>(it.mill.status()?["pipelines"][0]["partitions"][0]["attempt"].clone());
    // To the message itself: its attempts begin anew.
    it.seek(&["--to", "1"])?;
    it.wait_state("waiting", 1)?;
    ensure!(attempt(&it)? == 2, "counted on from before: {}", attempt(&it)?);
    it.seek(&["--to", "2"])?;
    it.committed(&[(0, 3)])?;
    ensure!(it.outputs()? == ["a", "c"], "{:?}", it.outputs()?);
    it.call(&["pause"])?;
    it.seek(&["--to", "earliest"])?;
    let (offset, note) = it.commit_of_0()?;
    ensure!(offset == 0 && !note.contains(";r=") && !note.contains(";d="), "attempts are remembered: {offset} {note}");
    it.call(&["resume"])?;
    it.wait_state("waiting", 1)?;
    ensure!(attempt(&it)? == 2, "counted on from before: {}", attempt(&it)?);
    it.committed(&[(0, 1)])?;
    ensure!(it.outputs()? == ["a", "c", "a"], "{:?}", it.outputs()?);
    ensure!(it.mill.stop()?.success());
    Ok(())
}

#[test]
fn a_partition_that_has_stopped_goes_on_where_it_is_moved_to() -> Result<()> {
    let shared = &shared()?;
    let lines = "config.when = \"value-prefix\"\non_exhausted = \"stop\"";
    let mut it = Moved::start(shared, "stopped", 1, "reject", lines)?;
    it.produce(0, &["a", "!b", "c"])?;
    it.wait_state("stopped", 1)?;
    it.seek(&["--to", "2"])?;
    it.committed(&[(0, 3)])?;
    it.mill.wait_ready(SOON)?;
    ensure!(it.outputs()? == ["a", "c"], "{:?}", it.outputs()?);
    ensure!(it.mill.stop()?.success());
    Ok(())
}

#[test]
fn out_of_range_is_refused_with_the_range_and_a_partition_that_stands_there_can_be_moved() -> Result<()> {
    let shared = &shared()?;
    let mut it = Moved::start(shared, "range", 1, "echo", "")?;
    it.produce(0, &["0", "1", "2", "3", "4"])?;
    it.committed(&[(0, 5)])?;
    shared.eye.delete_records(&it.case.input, 0, 3)?;
    for to in ["0", "2", "6", "99"] {
        let words = it.refused(&["--to", to])?;
        ensure!(words.contains(&format!("offset {to} of {}/0 is out of range", it.case.input)), "{words}");
        ensure!(words.contains("holds 3 to 5"), "{words}");
    }
    it.committed(&[(0, 5)])?;
    ensure!(it.outputs()?.len() == 5, "{:?}", it.outputs()?);
    it.seek(&["--to", "earliest"])?;
    it.committed(&[(0, 5)])?;
    ensure!(it.outputs()?[5..] == ["3", "4"], "{:?}", it.outputs()?);
    let here = it.refused(&["--to", "3", "--partition", "7"])?;
    ensure!(here.contains("/7 is not assigned to this process"), "{here}");
    ensure!(it.mill.stop()?.success());

    // The group stands where nothing is left: its client has given the partition up, and the next one goes on.
    shared.eye.commit(&it.case.name, &it.case.input, &Offsets::from([(0, 1)]))?;
    it.mill = Mill::spawn(&it.options)?;
    it.wait_state("stopped", 1)?;
    let answer = it.seek(&["--to", "4"])?;
    ensure!(answer["sought"][0]["to"] == 4, "{answer}");
    it.mill.wait_ready(SOON)?;
    it.committed(&[(0, 5)])?;
    ensure!(it.outputs()?[7..] == ["4"], "{:?}", it.outputs()?);
    ensure!(it.mill.stop()?.success());
    Ok(())
}

#[test]
fn a_kill_right_behind_the_answer_does_not_undo_it() -> Result<()> {
    let shared = &shared()?;
    for (name, lines) in [
        ("manual", ""),
        ("sync", "commit.sync = true"),
        ("interval", "commit.interval = \"1h\""),
        ("auto", "commit.mode = \"auto\"\ncommit.interval = \"1h\""),
    ] {
        // It never settles anything again once it is moved: what is committed is the seek's own.
        let lines = format!(
            "{lines}\nconfig.when = \"value-prefix\"\nretry.attempts = 9\nretry.backoff = \"1h\"\nretry.max_delay = \"1h\""
        );
        let mut it = Moved::start(shared, name, 1, "retry", &lines)?;
        it.produce(0, &["a", "b", "!c", "d"])?;
        it.wait_state("waiting", 2)?;
        it.seek(&["--to", "2"])?;
        it.mill.kill()?;
        let (offset, note) = it.commit_of_0()?;
        ensure!(offset == 2, "{name}: {offset} {note}");
        let mut again = Mill::spawn(&it.options)?;
        std::mem::swap(&mut again, &mut it.mill);
        it.wait_state("waiting", 2)?;
        it.seek(&["--to", "1"])?;
        it.mill.kill()?;
        ensure!(it.commit_of_0()?.0 == 1, "{name}: {:?}", it.commit_of_0()?);
    }
    Ok(())
}

#[test]
fn under_load_what_is_in_flight_is_let_finish_and_nothing_below_the_target_comes_twice() -> Result<()> {
    let shared = &shared()?;
    let mut it = Moved::start(shared, "load", 2, "echo", "output.linger = \"50ms\"")?;
    shared.eye.start_stream(&it.case.input, 2, 8, 2000)?;
    let far = |status: &Value| {
        let partitions = status["pipelines"][0]["partitions"].as_array();
        partitions.is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["committed"].as_i64() >= Some(1500)))
    };
    it.mill.wait_status("1500 messages committed in both", SOON, far)?;
    let answer = it.seek(&["--to", "1000", "--partition", "0"])?;
    let from = answer["sought"][0]["from"].as_i64().context("no position before")?;
    ensure!(from >= 1500 && answer["sought"][0]["dropped"] == 0, "{answer}");
    let ends = shared.eye.stop_stream(&it.case.input)?;
    it.committed(&[(0, ends[0]), (1, ends[1])])?;
    // 1000 to `from` of partition 0 once more, and nothing else.
    let out = shared.eye.end_offsets(&it.case.output)?[&0];
    let expected = ends.iter().sum::<i64>() + from - 1000;
    ensure!(out == expected, "{out} outputs, {expected} expected: {answer}, {ends:?}");
    ensure!(it.mill.stop()?.success());
    Ok(())
}

#[test]
fn partitions_of_another_process_are_named_and_not_moved() -> Result<()> {
    let shared = &shared()?;
    let mut it = Moved::start(shared, "elsewhere", 2, "echo", "")?;
    it.produce(0, &["a", "b"])?;
    it.produce(1, &["c", "d"])?;
    it.committed(&[(0, 2), (1, 2)])?;
    let mut second = Mill::start(&it.options)?;
    let one_left = |status: &Value| {
        status["pipelines"][0]["partitions"]
            .as_array()
            .is_some_and(|held| held.len() == 1 && held[0]["state"] == "running")
    };
    let status = it.mill.wait_status("one partition left", SOON, one_left)?;
    let here = status["pipelines"][0]["partitions"][0]["partition"].as_i64().context("a number")?;
    let there = format!("{}/{}", it.case.input, 1 - here);
    let answer = it.seek(&["--to", "earliest"])?;
    ensure!(answer["not_here"] == serde_json::json!([there]), "{answer}");
    ensure!(answer["sought"].as_array().map(Vec::len) == Some(1), "{answer}");
    it.committed(&[(0, 2), (1, 2)])?;
    let mut outputs = it.outputs()?.split_off(4);
    outputs.sort();
    ensure!(outputs == if here == 0 { ["a", "b"] } else { ["c", "d"] }, "{outputs:?}");
    let other = it.refused(&["--to", "earliest", "--partition", &(1 - here).to_string()])?;
    ensure!(other.contains(&format!("{there} is not assigned to this process")), "{other}");
    ensure!(second.stop()?.success() && it.mill.stop()?.success());
    Ok(())
}

#[test]
fn of_several_topics_one_can_be_named() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "topics", 2)?;
    let second = format!("{}-second", case.name);
    shared.eye.create_topic(&second, 1, &[])?;
    let both =
        |text: String| text.replace(&format!("[\"{}\"]", case.input), &format!("[\"{}\", \"{second}\"]", case.input));
    let options = Options::new(&shared.broker.bootstrap(), both(case.table("echo", "")?));
    let mut it = Moved { shared, mill: Mill::start(&options)?, options, case: case.clone() };
    it.produce(0, &["a"])?;
    it.produce(1, &["b"])?;
    shared.eye.produce(&second, &[Message::new("k", "c").on(0)])?;
    it.committed(&[(0, 1), (1, 1)])?;
    let of_second = |offset| shared.eye.wait_committed(&case.name, &second, &Offsets::from([(0, offset)]), SOON);
    of_second(1)?;
    for words in [&["seek", "--to", "0", "--partition", "0"][..], &["pause", "--partition", "0"]] {
        let words = format!("{:#}", it.call(words).err().context("which of the two?")?);
        ensure!(words.contains("the pipeline has several topics: name one"), "{words}");
    }
    let unknown = it.refused(&["--to", "earliest", "--topic", "elsewhere"])?;
    ensure!(unknown.contains("no topic `elsewhere` is read here") && unknown.contains(&second), "{unknown}");

    // A pause, and what is not paused beside it.
    it.call(&["pause", "--partition", "0", "--topic", &second])?;
    it.produce(0, &["d"])?;
    shared.eye.produce(&second, &[Message::new("k", "e").on(0)])?;
    it.committed(&[(0, 2), (1, 1)])?;
    of_second(1)?;
    it.call(&["pause"])?;
    it.call(&["resume", "--partition", "0", "--topic", &second])?;
    of_second(2)?;
    it.call(&["resume"])?;

    it.seek(&["--to", "earliest", "--topic", &second])?;
    of_second(2)?;
    it.committed(&[(0, 2), (1, 1)])?;
    let mut outputs = it.outputs()?;
    outputs.sort();
    ensure!(outputs == ["a", "b", "c", "c", "d", "e", "e"], "{outputs:?}");
    ensure!(it.mill.stop()?.success());
    Ok(())
}
