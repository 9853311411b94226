//! What `dev` shows: messages, verdicts, outputs and committed offsets as they flow. Lanes put lines into a bounded
//! channel; a thread of its own prints them. A reader that is too slow costs lines, which are counted, never a lane's
//! time.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use parking_lot::Mutex;
use wasmill_config as config;
use wasmill_core::{Batch, Emitted, GivenUp, NextOffset};
use wasmill_kafka::TopicPartition;
use wasmill_pipeline::shared::Observer;

use crate::printed::wrote;

/// Blocks of lines that may wait to be printed.
const WAITING: usize = 4096;
/// Characters of a key or value that are shown.
const SHOWN: usize = 72;

const DIM: Style = Style::new().dimmed();
const GREEN: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
const YELLOW: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
const RED: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const CYAN: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Cyan)));

/// Where everything of `dev` is printed. Cheap to clone.
#[derive(Clone)]
pub struct Screen {
    lines: SyncSender<Option<String>>,
    dropped: Arc<AtomicU64>,
}

impl Screen {
    /// Starts the printer. [`Screen::close`] ends it.
    pub fn open() -> anyhow::Result<(Self, JoinHandle<()>)> {
        let (lines, waiting) = sync_channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = dropped.clone();
        let printer =
            std::thread::Builder::new().name("dev-print".to_owned()).spawn(move || run(&waiting, &counted))?;
        Ok((Self { lines, dropped }, printer))
    }

    /// From a lane: printed, or dropped and counted.
    fn offer(&self, text: String) {
        if self.lines.try_send(Some(text)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// From a thread that may wait.
    pub fn say(&self, text: &str) {
        // The printer is gone only when everything is.
        let _ = self.lines.send(Some(text.to_owned()));
    }

    /// What was said until now is the last to be printed. Other holders of the screen may be waiting for standard input
    /// and would keep the printer for ever.
    pub fn close(&self) {
        let _ = self.lines.send(None);
    }

    /// Something about `dev` itself.
    pub fn note(&self, text: &str) {
        self.say(&format!("{CYAN}dev{CYAN:#}  {text}"));
    }

    /// Something went wrong, and things go on.
    pub fn trouble(&self, text: &str) {
        self.say(&format!("{RED}dev{RED:#}  {text}"));
    }
}

fn run(waiting: &Receiver<Option<String>>, dropped: &AtomicU64) {
    let mut out = anstream::stdout();
    while let Ok(Some(text)) = waiting.recv() {
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            wrote(writeln!(out, "{DIM}... {lost} not shown: they came faster than they could be printed{DIM:#}"));
        }
        // Nobody reads any more: the messages go on.
        wrote(writeln!(out, "{text}"));
    }
}

/// Looks on at one pipeline.
pub struct Onlooker {
    screen: Screen,
    /// What was shown last.
    committed: Mutex<BTreeMap<TopicPartition, NextOffset>>,
    /// By topic number.
    outputs: Vec<String>,
    given_up: String,
}

impl Onlooker {
    pub fn new(pipeline: &config::Pipeline, screen: Screen) -> Self {
        let default = pipeline.output.default.clone().unwrap_or_default();
        Self {
            screen,
            committed: Mutex::default(),
            outputs: std::iter::once(default).chain(pipeline.output.granted.iter().cloned()).collect(),
            given_up: match &pipeline.on_exhausted {
                config::OnExhausted::DeadLetter(topic) => format!("dead letter to {topic}"),
                config::OnExhausted::Stop => "the partition stops here".to_owned(),
                config::OnExhausted::Skip => "skipped".to_owned(),
            },
        }
    }
}

impl Observer for Onlooker {
    fn handled(&self, id: &TopicPartition, batch: &Batch, emitted: &Emitted, settled: usize, given_up: &[GivenUp]) {
        let mut text = String::new();
        for (index, message) in batch.messages().take(settled).enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            let _ = write!(text, "{newline}{}", input(id, message.offset, message.key(), message.value()));
            if let Some(end) = given_up.iter().find(|given_up| given_up.message == index) {
                let _ = write!(text, "  {}; {}", end_of(end), self.given_up);
                continue;
            }
            let _ = write!(text, "  {}", ack());
            for row in emitted.rows.iter().filter(|row| row.message as usize == index) {
                let topic = self.outputs.get(row.topic as usize).map_or("?", String::as_str);
                let (key, value) = (emitted.bytes(batch.data(), row.key), emitted.bytes(batch.data(), row.value));
                let _ = write!(text, "\n    {}", output(topic, key, value));
            }
        }
        if !text.is_empty() {
            self.screen.offer(text);
        }
    }

    fn retrying(&self, id: &TopicPartition, offset: i64, attempt: u32, delay: Duration, reason: &str) {
        self.screen.offer(format!("{DIM}{id} @{offset}{DIM:#}  {}", retry(delay, attempt, reason)));
    }

    fn committed(&self, id: &TopicPartition, next: NextOffset) {
        // While a message is tried again and again its offset is committed with each attempt's note.
        let mut last = self.committed.lock();
        if last.insert(id.clone(), next) == Some(next) {
            return;
        }
        self.screen.offer(format!("{DIM}{id}{DIM:#}  committed {}", next.get()));
    }
}

/// A message that was handed over.
pub fn input(place: &impl Display, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> String {
    format!("{DIM}{place} @{offset}{DIM:#}  {}  {}", shown(key), shown(value))
}

/// A message that was emitted.
pub fn output(topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> String {
    format!("{CYAN}-> {topic}{CYAN:#}  {}  {}", shown(key), shown(value))
}

/// The verdict on a message that is acknowledged.
pub fn ack() -> String {
    format!("{GREEN}ack{GREEN:#}")
}

/// The verdict on a message that is handed over again.
pub fn retry(delay: Duration, attempt: u32, reason: &str) -> String {
    let delay = humantime::format_duration(Duration::from_millis(delay.as_millis() as u64));
    format!("{YELLOW}retry{YELLOW:#} in {delay}, attempt {attempt}: {reason}")
}

/// The verdict on a message that is given up.
pub fn end_of(end: &GivenUp) -> String {
    let times = if end.attempts == 1 { "attempt" } else { "attempts" };
    format!("{RED}given up{RED:#} after {} {times} ({}): {}", end.attempts, end.class.as_str(), end.reason)
}

/// Something beside the messages.
pub fn aside(text: &str) -> String {
    format!("{DIM}{text}{DIM:#}")
}

/// Bytes as a person may read them: text without control characters, cut; else hexadecimal.
pub fn shown(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "(absent)".to_owned() };
    let mut text = match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().take(SHOWN + 1).flat_map(printable).collect(),
        Err(_) => bytes.iter().take(SHOWN / 2 + 1).fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
    };
    if let Some((cut, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(cut);
        text += "...";
    }
    if text.is_empty() { "(empty)".to_owned() } else { text }
}

/// A message must not move the cursor or change colours.
fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = (!c.is_control()).then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_holds_cannot_move_the_cursor() {
        assert_eq!(shown(Some(b"a\x1b[2Jb\n")), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown(Some(&[0xff, 1])), "0xff01");
        assert_eq!((shown(None).as_str(), shown(Some(b"")).as_str()), ("(absent)", "(empty)"));
        assert_eq!(shown(Some("é".repeat(500).as_bytes())).chars().count(), SHOWN + 3);
    }

    #[test]
    fn a_full_screen_drops_and_counts_instead_of_waiting() {
        let (lines, _waiting) = sync_channel(1);
        let screen = Screen { lines, dropped: Arc::new(AtomicU64::new(0)) };
        for _ in 0..3 {
            screen.offer("x".to_owned());
        }
        assert_eq!(screen.dropped.load(Ordering::Relaxed), 2);
    }
}
