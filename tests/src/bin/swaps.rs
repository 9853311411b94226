//! `cargo xtask swaps` runs this. Without `--gap` the exit code says whether a promise was broken (10) or it could not be
//! run (1); with it, whether it could be run.

#![deny(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;
use wasmill_tests::broker::{self, Broker};
use wasmill_tests::swaps::{gap, proof};

#[derive(Parser)]
struct Arguments {
    /// Swaps in a row
    #[arg(long, default_value_t = proof::Options::default().swaps)]
    swaps: usize,
    /// Different versions
    #[arg(long, default_value_t = proof::Options::default().digests)]
    digests: u32,
    /// Messages a second: as many as the broker takes, or with --gap 20000
    #[arg(long)]
    per_second: Option<u32>,
    /// Measure for how long nothing comes out around a swap
    #[arg(long)]
    gap: bool,
    /// Of --gap
    #[arg(long, default_value_t = gap::Options::default().rounds)]
    rounds: usize,
    /// Of --gap: length of a segment
    #[arg(long, default_value_t = gap::Options::default().seconds)]
    seconds: u64,
    /// Of --gap: how long the backlog of the full load is produced
    #[arg(long, default_value_t = gap::Options::default().backlog_seconds)]
    backlog_seconds: u64,
    /// Of --gap: only this load, steady or full
    #[arg(long)]
    load: Option<String>,
    /// Where the report goes; by default into the target folder
    #[arg(long)]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    match swaps(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(wasmill_setup::built::FOUND),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn swaps(arguments: Arguments) -> Result<bool> {
    let Arguments { swaps, digests, per_second, gap, rounds, seconds, backlog_seconds, load, report } = arguments;
    let say = |line: &str| eprintln!("{line}");
    let broker = Broker::start(&broker::Options { heap_megabytes: 1024, full_speed: true, ..Default::default() })?;
    if gap {
        let default = gap::Options::default();
        let per_second = per_second.unwrap_or(default.per_second);
        let options = gap::Options { rounds, seconds, per_second, backlog_seconds, only: load };
        let told = gap::run(&options, &broker, &say)?;
        write(&told, report)?;
        return Ok(true);
    }
    let per_second = per_second.unwrap_or(proof::Options::default().per_second);
    let told = proof::run(&proof::Options { swaps, digests, per_second }, &broker, &say)?;
    write(&told, report)?;
    summary(&told);
    Ok(told.reasons.is_empty())
}

fn write(told: &impl Serialize, path: Option<PathBuf>) -> Result<()> {
    let path = path.unwrap_or_else(|| wasmill_setup::process::target().join("swaps-report.json"));
    std::fs::write(&path, serde_json::to_string_pretty(told)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("report: {}", path.display());
    Ok(())
}

fn summary(report: &proof::Report) {
    let verdict = &report.verdict;
    eprintln!(
        "swaps: {} in {:.1} s, {} versions, {} of them compiled meanwhile",
        report.options.swaps, report.seconds, report.options.digests, report.cold
    );
    eprintln!("messages: {} in, {} out, {:.0} a second", verdict.given, verdict.copies, report.rate);
    eprintln!("runs: {}, and {} that had no message", verdict.runs, verdict.empty_runs);
    eprintln!("pause of a lane, us: {}", report.pause_us);
    eprintln!("handover, ms: {}", report.handover_ms);
    eprintln!("gate, ms: {}", report.gate_ms);
    eprintln!("gate with compilation, ms: {}", report.gate_cold_ms);
    eprintln!("memory, MB: {:.0?}, then {:.0?}", report.resident_mb[0], report.resident_mb[1]);
    report.reasons.iter().for_each(|reason| eprintln!("found: {reason}"));
    eprintln!("{}", if report.reasons.is_empty() { "passed" } else { "FAILED" });
}
