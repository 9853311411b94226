//! What a handler is charged with, and what it may take of the machine beneath it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::Mill;
use wasmill_tests::shared::shared;

const SOON: Duration = Duration::from_secs(90);
/// What the process is given of each tenth of a second.
const GIVEN: Duration = Duration::from_millis(10);
const TAKEN: Duration = Duration::from_millis(90);

/// Takes the processor away from a process, nine tenths of the time, until told to end.
fn starve(pid: u32, end: &AtomicBool) -> Result<()> {
    let signal = |name: &str| -> Result<()> {
        let status = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status();
        ensure!(status.context("cannot run `kill`")?.success(), "cannot send SIG{name} to process {pid}");
        Ok(())
    };
    while !end.load(Ordering::Acquire) {
        signal("STOP")?;
        std::thread::sleep(TAKEN);
        signal("CONT")?;
        std::thread::sleep(GIVEN);
    }
    Ok(())
}

#[test]
fn a_processor_that_is_taken_away_fails_no_message() -> Result<()> {
    let shared = &shared()?;
    let case = Case::new(&shared.eye, "starved", 1)?;
    // About a tenth of a second of a processor for each message, which then takes a second.
    let lines = "config.rounds = \"150000000\"\nlimits.time = \"500ms\"\nretry.attempts = 1\nbatch.messages = 1";
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "spin", lines)?)?;
    let end = AtomicBool::new(false);
    let pid = mill.pid();
    std::thread::scope(|scope| -> Result<()> {
        let starving = scope.spawn(|| starve(pid, &end));
        let messages: Vec<_> = (0..6).map(|n| Message::new("k", n.to_string()).on(0)).collect();
        shared.eye.produce(&case.input, &messages)?;
        let all = Offsets::from([(0, 6)]);
        let committed = shared.eye.wait_committed(&case.name, &case.input, &all, SOON);
        end.store(true, Ordering::Release);
        starving.join().expect("it returns its errors")?;
        committed.map(drop)
    })?;
    ensure!(mill.stop()?.success());
    ensure!(case.dead_letters(&shared.eye)?.is_empty(), "{:?}", case.dead_letters(&shared.eye)?);
    ensure!(case.outputs(&shared.eye)? == ["0", "1", "2", "3", "4", "5"]);
    Ok(())
}
