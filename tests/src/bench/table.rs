//! The report for people.

use std::fmt::Write;

use super::summary::{ArmReport, Bars, Figures, Ratio, Report, Spread};

/// A table for each arm.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    for arm in &report.arms {
        let told = one(arm, report);
        // A String takes everything.
        let _ = writeln!(text, "{told}");
    }
    text
}

fn one(arm: &ArmReport, report: &Report) -> String {
    let title = format!(
        "{}: {} messages of {} B, {} partitions, {} rounds",
        arm.arm, arm.messages, report.value_bytes, report.partitions, report.rounds
    );
    let heads =
        format!("{:20}{:>24}{:>24}{:>24}", "(min median max)", "thousand messages/s", "CPU µs/message", "peak MB");
    let program = |name: &str, figures: &Figures| {
        let Figures { rate, cpu_micros, peak_mb } = figures;
        let thousands = rate.map(|rate| rate / 1e3);
        format!("{name:20}{:>24}{:>24}{:>24}", cell(&thousands, 0), cell(cpu_micros, 3), cell(peak_mb, 0))
    };
    let ratio = |name: &str, ratio: &Ratio| format!("{name:20}{:>24}{:>24}", cell(&ratio.rate, 3), cell(&ratio.cpu, 3));
    let Bars { cpu, rate } = arm.bars;
    let reference = report.reference;
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    let bars = format!(
        "{:20}{:>24}{:>24}",
        "bars, by the median",
        format!("at least {rate:.2}: {}", verdict(arm.rate_met)),
        format!("at most {cpu:.2}: {}", verdict(arm.cpu_met)),
    );
    let lines = [
        title,
        heads,
        program(reference, &arm.reference),
        program("wasmill", &arm.wasmill),
        ratio(&format!("wasmill : {reference}"), &arm.ratio),
        ratio(&format!("{reference} : {reference}"), &arm.control),
        bars,
    ];
    lines.map(|line| line.trim_end().to_owned() + "\n").concat()
}

/// Lowest, middle and highest in one cell.
pub fn cell(spread: &Spread, digits: usize) -> String {
    let Spread { min, median, max } = spread;
    format!("{min:.digits$} {median:.digits$} {max:.digits$}")
}
