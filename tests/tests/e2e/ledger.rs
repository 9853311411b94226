//! A minute of the ledger. Ten minutes with other seeds, and with a count of kills that proves more:
//! `cargo xtask ledger --minutes 10 --seed N`.

use anyhow::{Result, ensure};
use wasmill_tests::ledger::Options;
use wasmill_tests::ledger::run::run;
use wasmill_tests::shared::Place;

#[test]
fn nothing_is_lost_through_a_minute_of_kills_and_outages() -> Result<()> {
    // Both places: its timeouts are the timeouts of production, and its processes are many.
    let _places = Place::take_all();
    let report = run(&Options::default(), &|line| eprintln!("{line}"))?;
    // How many kills fit into the minute depends on the machine; that some cost something does not.
    ensure!(report.verdict.holds(), "{}", report.reasons.join("\n"));
    ensure!(report.verdict.duplicates > 0, "kills without a duplicate caught nothing in flight");
    Ok(())
}
