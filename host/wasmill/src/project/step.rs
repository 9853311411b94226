//! The steps of a build: a tool runs, its output is passed on line by line, and how long it takes is seen.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

/// Is told what goes on.
pub trait Reporter: Send + Sync {
    /// A tool begins: its command line, or what it does.
    fn begin(&self, step: &str);
    /// A line that it writes.
    fn line(&self, text: &str);
    fn end(&self);
    /// Whether tools may write colours.
    fn colours(&self) -> bool {
        false
    }
}

/// Shows nothing, and keeps what tools write, for whoever reads JSON.
#[derive(Default)]
pub struct Kept(Mutex<String>);

impl Kept {
    /// What was written.
    pub fn text(&self) -> String {
        self.0.lock().clone()
    }
}

impl Reporter for Kept {
    fn begin(&self, step: &str) {
        self.line(step);
    }

    fn line(&self, text: &str) {
        let mut kept = self.0.lock();
        kept.extend([text, "\n"]);
    }

    fn end(&self) {}
}

/// Standard error: on a terminal with a line that moves for as long as a tool is at work.
pub struct Terminal {
    bar: Option<ProgressBar>,
}

impl Terminal {
    pub fn new() -> Self {
        Self { bar: std::io::stderr().is_terminal().then(ProgressBar::new_spinner) }
    }
}

impl Reporter for Terminal {
    fn begin(&self, step: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_style(
                    ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}").expect("a template of ours"),
                );
                bar.reset_elapsed();
                bar.set_message(step.to_owned());
                bar.enable_steady_tick(Duration::from_millis(100));
            }
            None => self.line(step),
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            // A reader that went away is no failure.
            None => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.disable_steady_tick();
            bar.finish_and_clear();
        }
    }

    fn colours(&self) -> bool {
        self.bar.is_some() && std::env::var_os("NO_COLOR").is_none()
    }
}

/// Runs a tool to its end. What it writes to standard error is passed on; what it writes to standard output is given back
/// where `keep` says so, else passed on too.
pub fn run(command: &mut Command, keep: bool, reporter: &dyn Reporter) -> anyhow::Result<String> {
    let shown = shown(command);
    reporter.begin(&shown);
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{program}`"))?;
    let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let pass = |line: &str| reporter.line(line);
    let kept = std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().name("build-stderr".to_owned());
        let errors = reader.spawn_scoped(scope, move || lines(err, pass)).context("cannot start a thread")?;
        let mut kept = String::new();
        lines(out, |line| if keep { kept.extend([line, "\n"]) } else { reporter.line(line) });
        let _ = errors.join();
        anyhow::Ok(kept)
    })?;
    let status = child.wait().with_context(|| format!("cannot wait for `{program}`"))?;
    reporter.end();
    if !status.success() {
        bail!("`{}` ended with {status}", shortened(&shown));
    }
    Ok(kept)
}

/// A long command line has been shown before; this is to know it again.
fn shortened(line: &str) -> String {
    match line.char_indices().nth(60) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line.to_owned(),
    }
}

fn lines(stream: impl std::io::Read, mut with: impl FnMut(&str)) {
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line else { return };
        with(String::from_utf8_lossy(&line).trim_end_matches('\r'));
    }
}

/// A command line for people; not one that a shell would read in every case.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_writes_is_passed_on_and_its_end_is_told() {
        let kept = Kept::default();
        let given = run(Command::new("sh").args(["-c", "echo out; echo err >&2"]), true, &kept).unwrap();
        assert_eq!(given, "out\n");
        assert_eq!(kept.text(), "sh -c echo out; echo err >&2\nerr\n");
        let said = run(Command::new("sh").args(["-c", "exit 3"]), false, &kept).unwrap_err().to_string();
        assert!(said.contains("`sh -c exit 3` ended with exit status: 3"), "{said}");
        let said = run(&mut Command::new("no-such-tool-at-all"), false, &kept).unwrap_err().to_string();
        assert!(said.contains("cannot run `no-such-tool-at-all`"), "{said}");
    }
}
