//! The report as Markdown.

use std::fmt::Write;

use super::report::{Cost, Language, Report};

/// Columns of what a message costs: command, bytes, head.
const COLUMNS: [(&str, Option<usize>, &str); 5] = [
    ("drop", Some(100), "ack, 100 B"),
    ("drop", Some(1000), "ack, 1 kB"),
    ("upper", Some(100), "upper, 100 B"),
    ("upper", Some(1000), "upper, 1 kB"),
    ("json", None, "json, 200 B"),
];

/// Two tables: what a handler is and costs, and the costs in units beside their bars.
pub fn text(report: &Report) -> String {
    let Report { batch, rounds, unit_nanos, left_out, .. } = report;
    let mut text = String::new();
    row(
        &mut text,
        "",
        ["component", "compiled in", "started in", "memory"].into_iter().chain(heads()).map(str::to_owned),
    );
    rule(&mut text, 4 + COLUMNS.len());
    for language in &report.languages {
        row(&mut text, title(&language.name), about(language).into_iter().chain(cells(&language.costs, nanos)));
    }
    row(&mut text, "no sandbox", [const { String::new() }; 4].into_iter().chain(cells(&report.native, nanos)));
    // A String takes everything.
    let _ = writeln!(
        text,
        "\nNanoseconds of a message, the median of {rounds} rounds, in batches of {batch}. The unit, a native serde_json parse of a \
         document of 200 B, took {:.0} ns ({:.0} to {:.0}). In units:\n",
        unit_nanos.median, unit_nanos.min, unit_nanos.max
    );
    row(&mut text, "", heads().map(str::to_owned).chain(["bars, ack and upper of 100 B".to_owned()]));
    rule(&mut text, COLUMNS.len() + 1);
    for language in &report.languages {
        row(&mut text, title(&language.name), cells(&language.costs, units).chain([bars(&language.costs)]));
    }
    row(&mut text, "no sandbox", cells(&report.native, units).chain([String::new()]));
    if !left_out.is_empty() {
        let _ = writeln!(text, "\nLeft out, because the toolchain is missing: {}.", left_out.join(", "));
    }
    text
}

fn heads() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().map(|(.., head)| *head)
}

fn row(text: &mut String, title: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = std::iter::once(title.to_owned()).chain(cells).collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn rule(text: &mut String, figures: usize) {
    let _ = writeln!(text, "|---|{}", "--:|".repeat(figures));
}

/// A language by the name that people write.
fn title(name: &str) -> &str {
    wasmill_setup::languages::named(name).map_or(name, |language| &language.title)
}

fn about(language: &Language) -> [String; 4] {
    let Language { component_bytes, compile_ms, start_ms, memory_bytes, .. } = language;
    [bytes(*component_bytes), time(*compile_ms), time(start_ms.median), bytes(*memory_bytes)]
}

fn cells<'a>(costs: &'a [Cost], shown: fn(&Cost) -> String) -> impl Iterator<Item = String> + 'a {
    COLUMNS.iter().map(move |(command, bytes, _)| {
        let of_column = |cost: &&Cost| cost.command == *command && bytes.is_none_or(|bytes| cost.value_bytes == bytes);
        costs.iter().find(of_column).map(shown).unwrap_or_default()
    })
}

fn nanos(cost: &Cost) -> String {
    digits(cost.nanos.median)
}

fn units(cost: &Cost) -> String {
    let [median, min, max] = [cost.units.median, cost.units.min, cost.units.max].map(digits);
    format!("{median} ({min} to {max})")
}

fn bars(costs: &[Cost]) -> String {
    let told = costs.iter().filter_map(|cost| {
        let verdict = if cost.met? { "met" } else { "**not met**" };
        Some(format!("{} {verdict}", cost.bar?))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// Two digits that mean something, and no more than are needed.
fn digits(number: f64) -> String {
    match number {
        ..0.1 => format!("{number:.3}"),
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

fn bytes(bytes: u64) -> String {
    let kib = bytes as f64 / 1024.0;
    if kib < 1000.0 { format!("{kib:.0} KiB") } else { format!("{:.1} MiB", kib / 1024.0) }
}

fn time(ms: f64) -> String {
    if ms < 1.0 {
        format!("{:.0} µs", ms * 1e3)
    } else if ms < 1000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", ms / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::measured;
    use super::*;

    #[test]
    fn every_row_has_as_many_cells_as_its_head() {
        let text = text(&Report::new(&measured(), vec!["python".to_owned()]));
        let bars = |line: &str| line.matches('|').count();
        for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
            let head = bars(table.lines().next().unwrap());
            assert!(table.lines().all(|line| bars(line) == head), "{table}");
        }
        assert!(text.contains("| Zig | 2 KiB | 12 ms | 200 µs | 128 KiB | 20.0 |"), "{text}");
        assert!(text.contains("| 0.020 (0.019 to 0.050) |"), "{text}");
        assert!(text.contains("| 0.02 met, 0.12 **not met** |"), "{text}");
        assert!(text.ends_with("missing: python.\n"), "{text}");
    }
}
