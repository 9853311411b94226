//! All processes of a group are given another handler at once, or none is: through the control topic, while processes join,
//! leave and are killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Eye, Message, Offsets};
use wasmill_tests::mill::{Mill, Options, guest};
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::{Shared, shared};
use wasmill_tests::signal::Signal;
use wasmill_tests::versions::Version;

const SOON: Duration = Duration::from_secs(90);
const PARTITIONS: u32 = 6;

/// A group with a control topic, and the versions of its handler.
struct Setting {
    shared: Shared,
    case: Case,
    folder: Scratch,
    control: String,
}

impl Setting {
    fn new(name: &str, partitions: u32) -> Result<Self> {
        let shared = shared()?;
        let case = Case::new(&shared.eye, name, partitions)?;
        let control = format!("{}-control", case.name);
        shared.eye.create_topic(&control, 1, &[("cleanup.policy", "compact")])?;
        Ok(Self { shared, case, folder: Scratch::new(name)?, control })
    }

    fn version(&self, number: u32) -> Result<Version> {
        Version::write(self.folder.path(), "stamp", number)
    }

    fn options(&self, handler: &Path, lines: &str) -> Result<Options> {
        let lines = format!("swap.control_topic = \"{}\"\n{lines}", self.control);
        let mut options = self.case.options(&self.shared.broker.bootstrap(), "echo", &lines)?;
        options.pipelines = options.pipelines.replace(&guest("echo")?, &handler.display().to_string());
        Ok(options)
    }

    fn start(&self, handler: &Path, lines: &str) -> Result<Mill> {
        Mill::start(&self.options(handler, lines)?)
    }

    fn swap(&self, mill: &Mill, file: &Path) -> Result<Value> {
        let file = file.display().to_string();
        Ok(serde_json::from_str(&mill.command(&["swap", &self.case.name, &file, "--group", "--json"])?)?)
    }

    fn refusal(&self, mill: &Mill, words: &[&str]) -> Result<String> {
        let error = mill.command(&[&[words[0], self.case.name.as_str()], &words[1..]].concat());
        Ok(error.err().context("it was let in")?.to_string())
    }

    fn wait_committed(&self, given: &[i64]) -> Result<()> {
        let ends: Offsets = (0..).zip(given.iter().copied()).collect();
        self.shared.eye.wait_committed(&self.case.name, &self.case.input, &ends, SOON)
    }
}

fn pipeline(status: &Value) -> &Value {
    &status["pipelines"][0]
}

/// The digest of the version that serves.
fn serves(mill: &Mill) -> Result<String> {
    Ok(pipeline(&mill.status()?)["plugin"].as_str().context("no digest")?.to_owned())
}

/// The name of a process in the control topic.
fn process(mill: &Mill) -> Result<String> {
    Ok(pipeline(&mill.status()?)["control"]["process"].as_str().context("no control topic")?.to_owned())
}

/// Waits until a process serves this version.
fn wait_serves(mill: &Mill, version: &Version) -> Result<()> {
    let wanted = |status: &Value| pipeline(status)["plugin"] == version.digest.as_str();
    mill.wait_status("the version of the group", SOON, wanted).map(drop)
}

/// The versions of a group one after the other, and where each partition passed from one to the next.
struct Story {
    stamps: Vec<String>,
    /// By version behind the first, by partition: the first offset that was reported.
    firsts: Vec<BTreeMap<i32, i64>>,
}

impl Story {
    fn new(first: &Version) -> Self {
        Self { stamps: vec![first.stamp().to_owned()], firsts: Vec::new() }
    }

    fn told(&mut self, to: &Version, answer: &Value, partitions: u32) -> Result<()> {
        ensure!(answer["outcome"] == "switched" && answer["to"] == to.digest.as_str(), "{answer:#}");
        let first = |one: &Value| {
            let number = i32::try_from(one["partition"].as_i64().context("no partition")?)?;
            Ok((number, one["first_offset"].as_i64().context("no offset")?))
        };
        let told = answer["partitions"].as_array().context("no partitions")?;
        let firsts = told.iter().map(first).collect::<Result<BTreeMap<_, _>>>()?;
        ensure!(firsts.len() == partitions as usize, "{answer:#}");
        self.stamps.push(to.stamp().to_owned());
        self.firsts.push(firsts);
        Ok(())
    }

    /// Holds what came out to the story: nothing is lost, each partition goes from version to version and never back, and
    /// each version has handled every message from its reported offset to the next one's and none below. Beyond it only if
    /// a process was killed: what that had handled and not committed comes out again, of the next version.
    fn check(&self, eye: &Eye, case: &Case, given: &[i64], killed: &[bool]) -> Result<()> {
        let mut at: BTreeMap<i32, usize> = BTreeMap::new();
        let mut seen: BTreeMap<(i32, i64), Vec<usize>> = BTreeMap::new();
        let bound = |version: usize, partition: i32| self.firsts.get(version).map(|firsts| firsts[&partition]);
        for value in case.outputs(eye)? {
            let mut words = value.trim_start_matches('!').split(' ');
            let mut number = || words.next().and_then(|word| word.parse::<i64>().ok());
            let (partition, offset) = number().zip(number()).with_context(|| format!("not of the stream: {value}"))?;
            let (partition, stamp) = (i32::try_from(partition)?, value.rsplit(' ').next().unwrap_or_default());
            let now = at.entry(partition).or_default();
            let next = (*now..self.stamps.len()).find(|place| self.stamps[*place] == stamp);
            *now = next.with_context(|| {
                let known = self.stamps.iter().position(|known| known == stamp);
                format!("{partition}/{offset} went back from version {now} to {known:?}")
            })?;
            let from = now.checked_sub(1).and_then(|before| bound(before, partition)).unwrap_or(0);
            let to = bound(*now, partition).unwrap_or(i64::MAX);
            ensure!(offset >= from, "{partition}/{offset} came out of version {now}, which begins at {from}");
            let beyond = offset >= to && !killed.get(*now).is_some_and(|killed| *killed);
            ensure!(!beyond, "{partition}/{offset} came out of version {now}, which ends at {to}");
            seen.entry((partition, offset)).or_default().push(*now);
        }
        let again = seen.values().filter(|versions| versions.len() > 1).count();
        let overtaken = seen.values().filter(|versions| versions.first() != versions.last()).count();
        eprintln!("{} messages, {again} more than once, {overtaken} of these of two versions", seen.len());
        for (partition, count) in (0..).zip(given) {
            for offset in 0..*count {
                let rightful = (0..).find(|version| bound(*version, partition).is_none_or(|to| offset < to));
                let handled = seen.get(&(partition, offset)).zip(rightful).is_some_and(|(by, one)| by.contains(&one));
                ensure!(handled, "{partition}/{offset} is lost: version {rightful:?} has not handled it");
            }
        }
        Ok(())
    }
}

/// What happens beside a swap.
#[derive(Clone, Copy, Debug)]
enum Beside {
    Nothing,
    Join,
    Leave,
    Kill,
}

/// Three processes more or less; a longer run, by the variable `WASMILL_GROUP_SWAPS`, goes through it again and again.
const SCRIPT: [Beside; 8] = [
    Beside::Nothing,
    Beside::Join,
    Beside::Leave,
    Beside::Kill,
    Beside::Join,
    Beside::Kill,
    Beside::Join,
    Beside::Nothing,
];

#[test]
fn a_group_swaps_while_processes_join_leave_and_are_killed_and_no_partition_goes_back() -> Result<()> {
    let it = Setting::new("together", PARTITIONS)?;
    let first = it.version(0)?;
    let mut mills = (0..3).map(|_| it.start(&first.path, "")).collect::<Result<Vec<_>>>()?;
    it.shared.eye.wait_members(&it.case.name, 3, SOON)?;
    let mut story = Story::new(&first);
    it.shared.eye.start_stream(&it.case.input, PARTITIONS, 40, 3000)?;
    let swaps = std::env::var("WASMILL_GROUP_SWAPS").ok().and_then(|swaps| swaps.parse().ok()).unwrap_or(SCRIPT.len());
    let script: Vec<Beside> = SCRIPT.into_iter().cycle().take(swaps).collect();
    for (number, beside) in (1..).zip(script.iter().copied()) {
        let version = it.version(number)?;
        // The last one goes, and the first one asks.
        let mut other = match beside {
            Beside::Join => Some(Mill::spawn(&it.options(&first.path, "")?)?),
            Beside::Leave | Beside::Kill => mills.pop(),
            Beside::Nothing => None,
        };
        let answer = std::thread::scope(|scope| {
            let asks = scope.spawn(|| it.swap(&mills[0], &version.path));
            match (beside, &mut other) {
                (Beside::Leave, Some(other)) => ensure!(other.stop()?.success(), "it leaves in good order"),
                (Beside::Kill, Some(other)) => {
                    // Somewhere between the first word and the last.
                    std::thread::sleep(Duration::from_millis(u64::from(number) * 137 % 900));
                    other.kill()?;
                }
                _ => {}
            }
            asks.join().expect("no panic")
        })
        .with_context(|| format!("swap {number}, {beside:?}"))?;
        story.told(&version, &answer, PARTITIONS).with_context(|| format!("swap {number}, {beside:?}"))?;
        if let (Beside::Join, Some(mut other)) = (beside, other) {
            other.wait_ready(SOON)?;
            wait_serves(&other, &version)?;
            mills.push(other);
        }
    }
    let back: Value = serde_json::from_str(&mills[0].command(&["rollback", &it.case.name, "--group", "--json"])?)?;
    let before = it.version(script.len() as u32 - 1)?;
    story.told(&before, &back, PARTITIONS)?;
    let given = it.shared.eye.stop_stream(&it.case.input)?;
    it.wait_committed(&given)?;
    for mill in &mut mills {
        ensure!(serves(mill)? == before.digest);
        ensure!(mill.stop()?.success());
    }
    // A kill beside a swap comes before its answer or after it: it may be of the version before or of the new one that the
    // killed process had handled messages without committing them.
    let killed_beside = |swap: usize| matches!(script.get(swap), Some(Beside::Kill));
    let killed: Vec<bool> = (0..=script.len())
        .map(|version| killed_beside(version) || (version > 0 && killed_beside(version - 1)))
        .collect();
    story.check(&it.shared.eye, &it.case, &given, &killed)
}

#[test]
fn one_that_is_on_its_way_out_does_not_refuse_for_those_that_stay() -> Result<()> {
    let it = Setting::new("leaves", 2)?;
    let version = |number| Version::write(it.folder.path(), "sleep", number);
    let (first, second) = (version(0)?, version(1)?);
    let lines = "grant = [\"clock\"]\nconfig = { ms = 4000 }\nlimits.time = \"30s\"\nlimits.time_cap = \"30s\"";
    let mut mills = [it.start(&first.path, lines)?, it.start(&first.path, lines)?];
    it.shared.eye.wait_members(&it.case.name, 2, SOON)?;
    let has_one = |status: &Value| pipeline(status)["partitions"].as_array().is_some_and(|held| held.len() == 1);
    let held = mills[1].wait_status("a partition each", SOON, has_one)?;
    let number = i32::try_from(pipeline(&held)["partitions"][0]["partition"].as_i64().context("no partition")?)?;
    it.shared.eye.produce(&it.case.input, &[Message::new("k", "slow").on(number)])?;
    let is_busy = |status: &Value| pipeline(status)["partitions"][0]["span_messages"] == 1;
    mills[1].wait_status("a call under way", SOON, is_busy)?;
    mills[1].signal(Signal::Term)?;
    mills[1].wait_log("draining", SOON)?;
    let answer = it.swap(&mills[0], &second.path)?;
    ensure!(answer["outcome"] == "switched" && answer["to"] == second.digest.as_str(), "{answer:#}");
    ensure!(mills[1].wait(SOON)?.success(), "it leaves in good order");
    ensure!(mills[0].stop()?.success());
    Ok(())
}

#[test]
fn where_one_process_refuses_nobody_swaps_and_the_answer_names_it() -> Result<()> {
    let it = Setting::new("one-refuses", 3)?;
    let first = it.version(0)?;
    let granted = "grant = [\"clock\"]";
    let mut mills = [it.start(&first.path, granted)?, it.start(&first.path, granted)?, it.start(&first.path, "")?];
    it.shared.eye.wait_members(&it.case.name, 3, SOON)?;
    let needs_a_clock = guest("sleep")?;
    let text = it.refusal(&mills[0], &["swap", &needs_a_clock, "--group"])?;
    let refuses = process(&mills[2])?;
    for words in [refuses.as_str(), "nobody swaps", "gate `imports`", "grant = [\"clock\"]"] {
        ensure!(text.contains(words), "{words} is missing: {text}");
    }
    for mill in &mills {
        ensure!(serves(mill)? == first.digest);
    }
    let text = it.refusal(&mills[0], &["rollback", "--group"])?;
    ensure!(text.contains("nothing to go back to"), "{text}");
    // One process alone is not swapped, and nothing has been left behind.
    let second = it.version(1)?;
    let text = it.refusal(&mills[1], &["swap", &second.name()])?;
    ensure!(text.contains("gate `group`") && text.contains("--group"), "{text}");
    let answer = it.swap(&mills[1], &second.path)?;
    ensure!(answer["processes"].as_array().is_some_and(|all| all.len() == 3), "{answer:#}");
    for mill in &mut mills {
        wait_serves(mill, &second)?;
        ensure!(mill.stop()?.success());
    }
    Ok(())
}

#[test]
fn a_swap_whose_initiator_is_killed_is_refused_by_the_others_and_the_next_one_is_not() -> Result<()> {
    let it = Setting::new("headless", 3)?;
    let first = it.version(0)?;
    let lines = "swap.group_timeout = \"8s\"";
    let mut mills = (0..3).map(|_| it.start(&first.path, lines)).collect::<Result<Vec<_>>>()?;
    it.shared.eye.wait_members(&it.case.name, 3, SOON)?;
    let (second, third) = (it.version(1)?, it.version(2)?);
    let mut leader = mills.remove(0);
    // One that cannot answer keeps it from being decided.
    mills[1].signal(Signal::Stop)?;
    let mut command = std::process::Command::new(wasmill_tests::mill::binary()?);
    command.args(["swap", &it.case.name, &second.name(), "--group", "--config"]);
    let mut asks = command.arg(leader.folder().join("wasmill.toml")).stderr(std::process::Stdio::null()).spawn()?;
    leader.wait_log("asked the group to swap", SOON)?;
    leader.kill()?;
    mills[1].signal(Signal::Cont)?;
    ensure!(!asks.wait()?.success(), "the command has no answer");
    it.shared.eye.wait_members(&it.case.name, 2, SOON)?;
    // Until somebody gives it up, another one is refused.
    let end = Instant::now() + SOON;
    let answer = loop {
        match it.swap(&mills[0], &third.path) {
            Ok(answer) => break answer,
            Err(error) => {
                let text = error.to_string();
                ensure!(text.contains("another swap of the group is under way"), "{text}");
                ensure!(Instant::now() < end, "{text}");
                for mill in &mills {
                    ensure!(serves(mill)? == first.digest);
                }
            }
        }
    };
    ensure!(answer["from"] == first.digest.as_str() && answer["to"] == third.digest.as_str(), "{answer:#}");
    for mill in &mut mills {
        wait_serves(mill, &third)?;
        ensure!(mill.stop()?.success());
    }
    Ok(())
}

#[test]
fn of_two_that_ask_at_once_one_is_first_and_all_run_the_same() -> Result<()> {
    let it = Setting::new("two-ask", 3)?;
    let first = it.version(0)?;
    let mut mills = (0..3).map(|_| it.start(&first.path, "")).collect::<Result<Vec<_>>>()?;
    it.shared.eye.wait_members(&it.case.name, 3, SOON)?;
    for round in 0..4 {
        let versions = [it.version(2 * round + 1)?, it.version(2 * round + 2)?];
        let (it, mills) = (&it, &mills);
        let answers = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..2).map(|who| (who, versions[who].path.clone())).collect();
            let asked: Vec<_> =
                asked.into_iter().map(|(who, path)| scope.spawn(move || it.swap(&mills[who], &path))).collect();
            asked.into_iter().map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
        });
        let mut latest: Option<&Value> = None;
        for answer in &answers {
            match answer {
                Ok(answer) => {
                    let epoch = |answer: &Value| answer["epoch"].as_u64();
                    latest = latest.filter(|latest| epoch(latest) > epoch(answer)).or(Some(answer));
                }
                Err(error) => ensure!(error.to_string().contains("another swap of the group"), "{error}"),
            }
        }
        let latest = latest.context("neither of the two swapped")?;
        let chosen = versions.iter().find(|version| latest["to"] == version.digest.as_str()).context("neither")?;
        for mill in mills {
            wait_serves(mill, chosen)?;
        }
    }
    for mill in &mut mills {
        ensure!(mill.stop()?.success());
    }
    Ok(())
}

#[test]
fn a_process_that_starts_later_runs_what_the_group_runs_and_says_that_its_configuration_does_not() -> Result<()> {
    let it = Setting::new("late", 2)?;
    let (first, second) = (it.version(0)?, it.version(1)?);
    let mut mill = it.start(&first.path, "")?;
    it.swap(&mill, &second.path)?;
    ensure!(mill.stop()?.success());
    // Nobody is there who could tell it: the component and its name are in the control topic.
    let mut mill = it.start(&first.path, "")?;
    let status = mill.status()?;
    let pipeline = pipeline(&status);
    ensure!(
        pipeline["plugin"] == second.digest.as_str() && pipeline["drift"]["configured"] == first.digest.as_str(),
        "{pipeline:#}"
    );
    ensure!(mill.log().contains("the group runs another handler than the configuration names"), "{}", mill.log());
    it.shared.eye.produce(&it.case.input, &[Message::new("k", "v").on(0)])?;
    let out = it.shared.eye.read_count(&it.case.output, 1, SOON)?;
    ensure!(out[0].text() == format!("v {}", second.stamp()), "{out:?}");
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_control_topic_that_was_made_again_holds_no_partition_up() -> Result<()> {
    let it = Setting::new("again", 2)?;
    let (first, second) = (it.version(0)?, it.version(1)?);
    let mut mill = it.start(&first.path, "")?;
    it.swap(&mill, &second.path)?;
    ensure!(mill.stop()?.success());
    // The commits of both partitions name a version that nobody knows any more.
    it.shared.eye.delete_topic(&it.control)?;
    it.shared.eye.create_topic(&it.control, 1, &[("cleanup.policy", "compact")])?;
    let mut mill = it.start(&first.path, "")?;
    it.shared.eye.produce(&it.case.input, &[Message::new("k", "v").on(0), Message::new("k", "v").on(1)])?;
    let out = it.shared.eye.read_count(&it.case.output, 2, SOON)?;
    ensure!(out.iter().all(|one| one.text() == format!("v {}", first.stamp())), "{out:?}");
    ensure!(mill.log().contains("a version that the control topic does not know"), "{}", mill.log());
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_member_that_says_nothing_in_the_control_topic_is_named_and_nobody_swaps() -> Result<()> {
    let it = Setting::new("stranger", 2)?;
    let (first, second) = (it.version(0)?, it.version(1)?);
    let mut mill = it.start(&first.path, "")?;
    let mut stranger = Mill::start(&it.case.options(&it.shared.broker.bootstrap(), "echo", "")?)?;
    it.shared.eye.wait_members(&it.case.name, 2, SOON)?;
    let text = it.refusal(&mill, &["swap", &second.name(), "--group"])?;
    let client = format!("client wasmill-{}-0", it.case.name);
    ensure!(text.contains(&client) && text.contains("says nothing in the control topic"), "{text}");
    let text = it.refusal(&stranger, &["swap", &second.name(), "--group"])?;
    ensure!(text.contains("swap.control_topic"), "{text}");
    ensure!(serves(&mill)? == first.digest);
    ensure!(mill.stop()?.success() && stranger.stop()?.success());
    Ok(())
}

#[test]
fn a_control_topic_that_would_forget_or_has_no_order_is_refused_with_what_to_do() -> Result<()> {
    let it = Setting::new("unfit", 1)?;
    let first = it.version(0)?;
    let create = "--partitions 1 --set cleanup.policy=compact";
    for (name, partitions, policy, words) in [
        ("forgets", 1, "delete", "has cleanup.policy=delete"),
        ("forgets-too", 1, "compact,delete", "has cleanup.policy=compact,delete"),
        ("unordered", 2, "compact", "has 2 partitions, and 1 is needed"),
        ("missing", 0, "", "does not exist"),
    ] {
        let topic = format!("{}-{name}", it.case.name);
        if partitions > 0 {
            it.shared.eye.create_topic(&topic, partitions, &[("cleanup.policy", policy)])?;
        }
        let mut options = it.options(&first.path, "")?;
        options.pipelines = options.pipelines.replace(&it.control, &topic);
        let mut mill = Mill::spawn(&options)?;
        let status = mill.wait(SOON)?;
        let log = mill.log();
        ensure!(status.code() == Some(3) && log.contains(words) && log.contains(create), "{name}: {status}\n{log}");
    }
    Ok(())
}
