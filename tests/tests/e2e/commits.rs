//! When offsets are committed: the modes, the first position, members that share a group.

use std::time::Duration;

use anyhow::Result;
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, Options};
use wasmill_tests::shared::{Shared, shared};
use wasmill_tests::signal::Signal;

const SOON: Duration = Duration::from_secs(60);

/// A pipeline that stops at a message it gives up on.
fn options(case: &Case, shared: &Shared, lines: &str) -> Result<Options> {
    case.options(&shared.broker.bootstrap(), "echo", &format!("on_exhausted = \"stop\"\n{lines}"))
}

fn numbered(count: i32, partitions: i32) -> Vec<Message> {
    (0..count).map(|number| Message::new(format!("k{number}"), format!("v{number}")).on(number % partitions)).collect()
}

#[test]
fn before_its_interval_has_passed_a_mode_commits_only_the_first_position() -> Result<()> {
    for mode in ["auto", "manual"] {
        let shared = &shared()?;
        let case = Case::new(&shared.eye, "interval", 1)?;
        let options = options(&case, shared, &format!("commit.mode = \"{mode}\"\ncommit.interval = \"120s\""))?;
        shared.eye.produce(&case.input, &numbered(10, 1))?;
        let mut mill = Mill::start(&options)?;
        shared.eye.read_count(&case.output, 10, SOON)?;
        shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 0)]), SOON)?;
        mill.signal(Signal::Kill)?;
        mill.wait(SOON)?;
        // Nothing of it was committed, so all of it is handled again; an orderly end commits the rest.
        let mut mill = Mill::start(&options)?;
        shared.eye.read_count(&case.output, 20, SOON)?;
        assert!(mill.stop()?.success());
        shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 10)]), SOON)?;
    }
    Ok(())
}

#[test]
fn a_group_that_begins_at_the_latest_message_commits_that_before_any_message_comes() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "latest", 1)?;
    shared.eye.produce(&case.input, &numbered(3, 1))?;
    let options = options(&case, shared, "start = \"latest\"")?;
    let mut mill = Mill::start(&options)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 3)]), SOON)?;
    mill.signal(Signal::Kill)?;
    mill.wait(SOON)?;
    // What comes while nobody is there is not jumped over.
    shared.eye.produce(&case.input, &[Message::new("k", "between").on(0)])?;
    let mut mill = Mill::start(&options)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 4)]), SOON)?;
    mill.stop()?;
    let texts: Vec<_> = shared.eye.read(&case.output, &Offsets::new())?.iter().map(Message::text).collect();
    assert_eq!(texts, ["between"]);
    Ok(())
}

#[test]
fn synchronous_commits_follow_every_message() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "sync", 2)?;
    shared.eye.produce(&case.input, &numbered(20, 2))?;
    let options = options(&case, shared, "commit.sync = true\nbatch.messages = 1")?;
    let mut mill = Mill::start(&options)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 10), (1, 10)]), SOON)?;
    assert!(mill.stop()?.success());
    assert_eq!(shared.eye.read(&case.output, &Offsets::new())?.len(), 20);
    Ok(())
}

#[test]
fn members_of_a_group_share_its_partitions_and_hand_them_on_without_repeating() -> Result<()> {
    for assignor in ["range", "cooperative-sticky"] {
        let shared = &shared()?;
        let case = Case::new(&shared.eye, "members", 4)?;
        let options = options(&case, shared, &format!("members = 2\nassignor = \"{assignor}\""))?;
        let mut first = Mill::start(&options)?;
        shared.eye.produce(&case.input, &numbered(100, 4))?;
        let mut second = Mill::start(&options)?;
        shared.eye.produce(&case.input, &numbered(100, 4))?;
        let all = Offsets::from([(0, 50), (1, 50), (2, 50), (3, 50)]);
        shared.eye.wait_committed(&case.name, &case.input, &all, SOON)?;
        assert!(first.stop()?.success());
        shared.eye.produce(&case.input, &numbered(100, 4))?;
        let all = Offsets::from([(0, 75), (1, 75), (2, 75), (3, 75)]);
        shared.eye.wait_committed(&case.name, &case.input, &all, SOON)?;
        assert!(second.stop()?.success());
        assert_eq!(shared.eye.read(&case.output, &Offsets::new())?.len(), 300, "{assignor}: each message once");
    }
    Ok(())
}
