//! Some swaps in a row under load. A thousand of them: `cargo xtask swaps`.

use anyhow::{Result, ensure};
use wasmill_tests::shared::shared;
use wasmill_tests::swaps::proof::{Options, run};

#[test]
fn through_swaps_in_a_row_each_version_handles_what_the_answers_say_and_nothing_is_lost_or_comes_twice() -> Result<()> {
    let shared = shared()?;
    let options = Options { swaps: 60, digests: 20, per_second: 20_000 };
    let report = run(&options, shared.broker, &|line| eprintln!("{line}"))?;
    ensure!(report.reasons.is_empty(), "{}", report.reasons.join("\n"));
    Ok(())
}
