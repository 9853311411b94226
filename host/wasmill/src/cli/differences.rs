//! What `diff` shows people: the first messages that differ, field by field, then both versions in numbers.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use wasmill_deploy::replay::backtest::percent;
use wasmill_deploy::replay::numbers::Numbers;
use wasmill_deploy::replay::side_by_side::{Differing, Report};

use super::output::table;

/// Fields of the summary that are shown.
const FIELDS: usize = 15;
/// Characters of a digest that are shown.
const DIGEST: usize = 12;

const DIM: Style = Style::new().dimmed();

fn style(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(color.into()))
}

/// The whole report. `pipeline`: whose settings were used, if anybody's.
pub fn text(report: &Report, refused: Option<&str>, pipeline: Option<&str>) -> String {
    let mut text = String::new();
    for differing in &report.differences {
        text += &message(differing);
    }
    let summary = &report.summary;
    let unseen = summary.differing - report.differences.len() as u64;
    if unseen > 0 && !report.differences.is_empty() {
        let _ = writeln!(text, "{DIM}... {unseen} more messages differ; --show N shows more{DIM:#}\n");
    }
    if !summary.fields.is_empty() {
        let _ = writeln!(text, "differing messages by field");
        for (field, count) in summary.by_count().into_iter().take(FIELDS) {
            let _ = writeln!(text, "  {count:>8}  {field}");
        }
        if summary.fields.len() > FIELDS || summary.other_fields > 0 {
            let _ = writeln!(text, "  {DIM}and others{DIM:#}");
        }
        text.push('\n');
    }
    if summary.messages > 0 {
        text += &beside(&report.old, &report.new);
        text.push('\n');
    }
    text += &verdict(report);
    let settings = pipeline.map_or_else(|| "defaults".to_owned(), |name| format!("settings of pipeline {name}"));
    let _ = writeln!(text, "; {settings}, {:.1} s", report.seconds);
    if !report.complete {
        let yellow = style(AnsiColor::Yellow);
        let _ = writeln!(text, "{yellow}the time was up before all messages were compared{yellow:#}");
    }
    if let Some(reason) = refused {
        let red = style(AnsiColor::Red);
        let _ = writeln!(text, "{red}refused{red:#}  {reason}");
    }
    text
}

fn message(differing: &Differing) -> String {
    let Differing { topic, partition, offset, key, differences } = differing;
    let key = key.as_deref().unwrap_or("(absent)");
    let mut text = format!("{topic}/{partition} @{offset}  {DIM}key{DIM:#} {key}\n");
    let (red, green) = (style(AnsiColor::Red), style(AnsiColor::Green));
    let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "(absent)".to_owned());
    for one in &differences.fields {
        let (old, new) = (side(&one.old), side(&one.new));
        let _ = writeln!(text, "  {}: {red}{old}{red:#} -> {green}{new}{green:#}", one.field);
    }
    if differences.more > 0 {
        let _ = writeln!(text, "  {DIM}... {} fields more{DIM:#}", differences.more);
    }
    text.push('\n');
    text
}

fn beside(old: &Numbers, new: &Numbers) -> String {
    let count = |name: &str, of: fn(&Numbers) -> u64| {
        let (was, is) = (of(old), of(new));
        let change = is as i128 - was as i128;
        row(name, was.to_string(), is.to_string(), if change == 0 { String::new() } else { format!("{change:+}") })
    };
    let measured = |name: &str, show: fn(f64) -> String, of: fn(&Numbers) -> f64| {
        let (was, is) = (of(old), of(new));
        row(name, show(was), show(is), if was > 0.0 { format!("x{:.2}", is / was) } else { String::new() })
    };
    let digest = |numbers: &Numbers| numbers.digest.chars().take(DIGEST).collect::<String>();
    let size = |bytes: f64| bytesize::ByteSize(bytes as u64).display().iec().to_string();
    let micros = |micros: f64| format!("{micros:.1} µs");
    let same = if old.digest == new.digest { "the same file".to_owned() } else { String::new() };
    let rows = [
        row("digest", digest(old), digest(new), same),
        count("messages", |it| it.messages),
        count("acknowledged", |it| it.acks),
        count("rejected", |it| it.rejects),
        count("given up, rejected too", |it| it.given_up),
        count("retries", |it| it.retries),
        count("crashes", |it| it.crashes),
        count("outputs", |it| it.outputs),
        measured("time of a message, mean", micros, |it| it.mean_us),
        measured("time of a message, p99", micros, |it| it.p99_us),
        measured("memory, at most", size, |it| it.memory_bytes as f64),
    ];
    table(["", "old", "new", ""], rows)
}

fn row(name: &str, old: String, new: String, change: String) -> [String; 4] {
    [name.to_owned(), old, new, change]
}

fn verdict(report: &Report) -> String {
    let summary = &report.summary;
    let (messages, differing) = (summary.messages, summary.differing);
    let (green, yellow) = (style(AnsiColor::Green), style(AnsiColor::Yellow));
    match (messages, differing) {
        (0, _) => format!("{yellow}there are no messages: nothing was compared{yellow:#}"),
        (_, 0) => format!("{green}both versions make the same of all {messages} messages{green:#}"),
        _ => format!("{yellow}{differing} of {messages} messages differ{yellow:#} ({})", percent(summary.share())),
    }
}
