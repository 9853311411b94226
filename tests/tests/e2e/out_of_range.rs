//! A group whose position is gone: what each `out_of_range` does when retention overtakes it, in the middle of reading and at
//! the start, and `start = "error"` when it has none.

use std::time::Duration;

use anyhow::{Result, ensure};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, Options};
use wasmill_tests::shared::{Shared, shared};
use wasmill_tests::signal::Signal;

const SOON: Duration = Duration::from_secs(60);
/// Messages 0 to 2 are handled, 3 perhaps, 4 to 8 are deleted unseen, 9 to 11 are left.
const LEFT: i64 = 9;
const END: i64 = 12;

struct Overtaken<'a> {
    shared: &'a Shared,
    case: Case,
    options: Options,
}

impl<'a> Overtaken<'a> {
    fn new(shared: &'a Shared, policy: &str) -> Result<Self> {
        let case = Case::new(&shared.eye, policy, 1)?;
        // The process must not lose its partitions while it is frozen.
        let lines = format!("out_of_range = \"{policy}\"\nsession_timeout = \"45s\"");
        let options = case.options(&shared.broker.bootstrap(), "echo", &lines)?;
        Ok(Self { shared, case, options })
    }

    fn produce(&self, values: &[&str]) -> Result<()> {
        let messages: Vec<_> = values.iter().map(|value| Message::new("k", *value).on(0)).collect();
        self.shared.eye.produce(&self.case.input, &messages).map(drop)
    }

    fn wait_committed(&self, offset: i64) -> Result<()> {
        self.shared.eye.wait_committed(&self.case.name, &self.case.input, &Offsets::from([(0, offset)]), SOON)
    }

    fn begin(&self) -> Result<Mill> {
        self.produce(&["before-0", "before-1", "before-2"])?;
        let mill = Mill::start(&self.options)?;
        self.wait_committed(3)?;
        Ok(mill)
    }

    /// Deletes what lies before the process, which must not be reading meanwhile.
    fn overtake(&self) -> Result<()> {
        // A request that was under way when the process was frozen is answered with this one, so with none of the others.
        self.produce(&["passing"])?;
        self.produce(&["gone-0", "gone-1", "gone-2", "gone-3", "gone-4"])?;
        self.produce(&["left-0", "left-1", "left-2"])?;
        self.shared.eye.delete_records(&self.case.input, 0, LEFT)
    }

    /// The same to a process that is reading.
    fn overtake_frozen(&self, mill: &mut Mill) -> Result<()> {
        mill.signal(Signal::Stop)?;
        let done = self.overtake();
        mill.signal(Signal::Cont)?;
        done
    }

    /// Everything that came out, without the message that may have been under way.
    fn outputs(&self) -> Result<Vec<String>> {
        let outputs = self.case.outputs(&self.shared.eye)?;
        Ok(outputs.into_iter().filter(|value| value != "passing").collect())
    }

    fn wait_stopped(&self, mill: &Mill) -> Result<()> {
        mill.wait_status("a stopped partition", SOON, |status| {
            let partition = &status["pipelines"][0]["partitions"][0];
            let reason = partition["reason"].as_str().unwrap_or_default();
            partition["state"] == "stopped" && reason.contains("out of range")
        })?;
        let (code, text) = mill.get("/readyz")?;
        ensure!(code == 200 && text.contains("out of range"), "/readyz says {code}: {text}");
        ensure!(mill.get("/readyz?strict=1")?.0 == 503, "for alerts it is not ready");
        Ok(())
    }

    /// `wasmill resume` after a stop, and everything up to the end of the process.
    fn resumes(&self, mut mill: Mill) -> Result<()> {
        let skipped = mill.command(&["skip", &self.case.name, "--partition", "0", "--offset", "3"]);
        ensure!(format!("{skipped:?}").contains("wasmill resume"), "there is nothing to skip: {skipped:?}");
        mill.command(&["resume", &self.case.name])?;
        self.wait_committed(END)?;
        mill.wait_ready(SOON)?;
        self.produce(&["later"])?;
        self.wait_committed(END + 1)?;
        ensure!(mill.stop()?.success());
        let expected = ["before-0", "before-1", "before-2", "left-0", "left-1", "left-2", "later"];
        ensure!(self.outputs()? == expected, "{:?}", self.outputs()?);
        Ok(())
    }
}

#[test]
fn earliest_goes_on_in_mid_run_with_the_first_message_that_is_left() -> Result<()> {
    let shared = shared()?;
    let case = Overtaken::new(&shared, "earliest")?;
    let mut mill = case.begin()?;
    case.overtake_frozen(&mut mill)?;
    case.wait_committed(END)?;
    case.produce(&["later"])?;
    case.wait_committed(END + 1)?;
    assert!(mill.stop()?.success());
    assert_eq!(case.outputs()?, ["before-0", "before-1", "before-2", "left-0", "left-1", "left-2", "later"]);
    Ok(())
}

#[test]
fn latest_goes_on_in_mid_run_with_what_comes_then() -> Result<()> {
    let shared = shared()?;
    let case = Overtaken::new(&shared, "latest")?;
    let mut mill = case.begin()?;
    case.overtake_frozen(&mut mill)?;
    case.wait_committed(END)?;
    case.produce(&["later"])?;
    case.wait_committed(END + 1)?;
    assert!(mill.stop()?.success());
    assert_eq!(case.outputs()?, ["before-0", "before-1", "before-2", "later"]);
    Ok(())
}

#[test]
fn stop_stops_in_mid_run_and_resume_goes_on_with_the_first_message_that_is_left() -> Result<()> {
    let shared = shared()?;
    let case = Overtaken::new(&shared, "stop")?;
    let mut mill = case.begin()?;
    case.overtake_frozen(&mut mill)?;
    case.wait_stopped(&mill)?;
    case.resumes(mill)
}

#[test]
fn stop_stops_at_the_start_and_resume_goes_on_with_the_first_message_that_is_left() -> Result<()> {
    let shared = shared()?;
    let case = Overtaken::new(&shared, "stop")?;
    assert!(case.begin()?.stop()?.success());
    case.overtake()?;
    let mill = Mill::spawn(&case.options)?;
    case.wait_stopped(&mill)?;
    case.resumes(mill)
}

#[test]
fn a_group_without_offsets_that_may_begin_nowhere_commits_nothing_until_it_is_resumed() -> Result<()> {
    let shared = shared()?;
    let case = Case::new(&shared.eye, "nowhere", 2)?;
    let messages: Vec<_> = (0..6).map(|number| Message::new("k", number.to_string()).on(number % 2)).collect();
    shared.eye.produce(&case.input, &messages)?;
    for (mode, resumed) in [("auto", false), ("manual", true)] {
        let lines = format!("start = \"error\"\ncommit.mode = \"{mode}\"\noutput.linger = \"0s\"");
        let mut mill = Mill::spawn(&case.options(&shared.broker.bootstrap(), "echo", &lines)?)?;
        mill.wait_status("two stopped partitions", SOON, |status| {
            let partitions = status["pipelines"][0]["partitions"].as_array();
            let stands = |one: &serde_json::Value| {
                let reason = one["reason"].as_str().unwrap_or_default();
                one["state"] == "stopped" && one["committed"].is_null() && reason.contains("no offset")
            };
            partitions.is_some_and(|all| all.len() == 2 && all.iter().all(stands))
        })?;
        if resumed {
            mill.command(&["resume", &case.name])?;
            shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 3), (1, 3)]), SOON)?;
            mill.wait_ready(SOON)?;
        }
        ensure!(mill.stop()?.success(), "it ends in good order");
        let commits = shared.eye.commits(&case.name, &case.input)?;
        ensure!(commits.is_empty() != resumed, "in mode {mode} was committed: {commits:?}");
    }
    let mut outputs = case.outputs(&shared.eye)?;
    outputs.sort();
    ensure!(outputs == ["0", "1", "2", "3", "4", "5"], "{outputs:?}");
    Ok(())
}
