//! `cargo xtask ledger` and `cargo xtask mutants` run this. The exit code says whether a promise was broken (10) or the
//! ledger could not be run (1).

#![deny(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use wasmill_tests::ledger::Options;
use wasmill_tests::ledger::run::{Report, run};

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Passed on to the processes, which must have been built with the feature `mutants`
    #[arg(long)]
    mutant: Option<String>,
    #[arg(long, default_value_t = Options::default().processes)]
    processes: usize,
    #[arg(long, default_value_t = Options::default().partitions)]
    partitions: u32,
    #[arg(long, default_value_t = Options::default().per_second)]
    per_second: u32,
    /// Keep the logs of the processes even if nothing is found
    #[arg(long)]
    keep: bool,
    /// Where the report goes; by default into the target folder
    #[arg(long)]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    match ledger(Arguments::parse()) {
        Ok(report) if report.passed => ExitCode::SUCCESS,
        Ok(report) if !report.verdict.holds() => ExitCode::from(wasmill_setup::built::FOUND),
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn ledger(arguments: Arguments) -> Result<Report> {
    let Arguments { minutes, seed, mutant, processes, partitions, per_second, keep, report } = arguments;
    let options = Options { minutes, seed, mutant, processes, partitions, per_second, keep, ..Options::default() };
    let told = run(&options, &|line| eprintln!("{line}"))?;
    let path = report.unwrap_or_else(|| wasmill_setup::process::target().join("ledger-report.json"));
    std::fs::write(&path, serde_json::to_string_pretty(&told)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    summary(&told);
    eprintln!("report: {}", path.display());
    Ok(told)
}

fn summary(report: &Report) {
    let verdict = &report.verdict;
    let mut kinds = std::collections::BTreeMap::new();
    report.disturbances.iter().for_each(|one| *kinds.entry(one.kind).or_insert(0) += 1);
    eprintln!("disturbances: {kinds:?}");
    eprintln!(
        "messages: {} in, {} out, {} lost, {} handled again",
        verdict.given, verdict.copies, verdict.lost, verdict.duplicates
    );
    eprintln!("handled again because of: {:?}", verdict.duplicates_by_cause);
    let most = verdict.kills.iter().max_by_key(|kill| kill.again);
    let (again, bound) = most.map_or((0, 0), |kill| (kill.again, kill.bound));
    let (in_flight, kills) = (verdict.kills_in_flight, verdict.kills.len());
    eprintln!(
        "kills: {kills}, {in_flight} with messages in flight; the costliest repeated {again} messages ({bound} allowed)"
    );
    let oldest = verdict.kills.iter().map(|kill| kill.since_commit_ms).max().unwrap_or(0);
    eprintln!("oldest last commit at a kill: {oldest} ms");
    eprintln!("commits checked: {}", verdict.commits);
    report.reasons.iter().for_each(|reason| eprintln!("found: {reason}"));
    eprintln!("{}", if report.passed { "passed" } else { "FAILED" });
}
