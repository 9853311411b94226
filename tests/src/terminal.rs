//! A terminal with a shell in it, as somebody who follows a README has one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::eye::{guard, unguard};
use crate::signal;
use crate::walk::matches;

/// The longest that a command may take; building a handler is the longest.
const COMMAND: Duration = Duration::from_secs(300);
/// Begins the line that tells that a command has ended. No program prints it.
const ENDED: char = '\u{1e}';

/// A shell and what stands on its screen. Whatever runs in it is killed when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    name: String,
    shell: Child,
    screen: PathBuf,
    /// Bytes of the screen that belong to what has ended.
    over: usize,
    /// Lines of the running process that were waited for, by their number.
    seen: Vec<usize>,
    /// The process in the background.
    process: Option<u32>,
}

impl Terminal {
    /// Opens it in `folder`, where it keeps its screen. Programs are found in `programs` first.
    ///
    /// # Errors
    /// There is no bash.
    pub fn open(name: &str, folder: &Path, programs: &Path) -> Result<Self> {
        let screen = folder.join(format!("screen-{name}"));
        let file = File::create(&screen)?;
        let mut bash = Command::new("bash");
        let others = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(programs.to_path_buf()).chain(std::env::split_paths(&others));
        bash.args(["--noprofile", "--norc"]).current_dir(folder).env("PATH", std::env::join_paths(path)?);
        // An example's handler is built where its README says, and the cluster is the one of its configuration.
        for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "WASMILL_BOOTSTRAP"] {
            bash.env_remove(name);
        }
        bash.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file);
        let shell = bash.spawn().context("cannot start bash")?;
        let mut terminal = Self { name: name.to_owned(), shell, screen, over: 0, seen: Vec::new(), process: None };
        guard(terminal.shell.id())?;
        // Jobs have numbers, as in a shell that somebody types into.
        terminal.run("set -m")?;
        Ok(terminal)
    }

    /// Which one it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command to its end: its exit code and what it printed.
    ///
    /// # Errors
    /// It does not end.
    pub fn run(&mut self, command: &str) -> Result<(i32, String)> {
        let (code, _, printed) = self.give(command)?;
        Ok((code, printed))
    }

    /// Runs a command, which may start a process in the background.
    ///
    /// # Errors
    /// It does not end, or a process runs already.
    pub fn type_in(&mut self, command: &str) -> Result<()> {
        let from = self.text().len();
        if command.ends_with('&') {
            ensure!(self.process.is_none(), "`{command}`: a process runs in this terminal already");
            let (_, process, _) = self.give(command)?;
            guard(process)?;
            (self.process, self.over, self.seen) = (Some(process), from, Vec::new());
        } else {
            self.give(command)?;
        }
        Ok(())
    }

    /// Gives a command to the shell. Returns its exit code, the number of the last process in the background, and what
    /// was printed.
    fn give(&mut self, command: &str) -> Result<(i32, u32, String)> {
        let from = self.text().len();
        let input = self.shell.stdin.as_mut().context("the shell's standard input is closed")?;
        // The shell tells of the process before it starts the next command, so that no line of either is cut in two.
        writeln!(input, "{command}\nprintf '\\n\\036%d %d\\n' $? ${{!:-0}}").and_then(|()| input.flush())?;
        let end = Instant::now() + COMMAND;
        loop {
            let text = self.text();
            let line =
                text[from..].split_once(ENDED).and_then(|(before, after)| Some((before, after.split_once('\n')?.0)));
            if let Some((before, ended)) = line {
                let (code, process) = ended.split_once(' ').context("the shell's answer")?;
                return Ok((code.parse()?, process.parse()?, before.to_owned()));
            }
            if let Some(status) = self.shell.try_wait()? {
                bail!("`{command}` ended the shell with {status}");
            }
            ensure!(Instant::now() < end, "`{command}` did not end within {COMMAND:?}:\n{}", &text[from..]);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until each of these lines stands on the screen, since the process was started and not waited for before.
    /// A line `...` says that there are others. `lines` makes lines of what is on the screen.
    ///
    /// # Errors
    /// They do not come in time; the message has those that are missing, and the screen.
    pub fn wait_for(
        &mut self,
        expected: &[String],
        timeout: Duration,
        lines: impl Fn(&str) -> Vec<String>,
    ) -> Result<()> {
        let end = Instant::now() + timeout;
        loop {
            let screen = self.lines(&lines);
            let mut seen = self.seen.clone();
            let mut missing = Vec::new();
            for pattern in expected.iter().filter(|pattern| *pattern != "...") {
                let fits = |(at, line): &(usize, &String)| !seen.contains(at) && matches(pattern, line);
                match screen.iter().enumerate().find(fits) {
                    Some((at, _)) => seen.push(at),
                    None => missing.push(pattern.as_str()),
                }
            }
            if missing.is_empty() {
                self.seen = seen;
                return Ok(());
            }
            if Instant::now() > end {
                bail!("not within {timeout:?}:\n{}\nthe screen:\n{}", missing.join("\n"), screen.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process has ended. What it handled is what was waited for, and in the order of each partition's offsets.
    ///
    /// # Errors
    /// It runs, or handled something else.
    pub fn ended(&mut self, lines: impl Fn(&str) -> Vec<String>) -> Result<()> {
        let Some(process) = self.process else { return Ok(()) };
        let (_, printed) = self.run("jobs -r")?;
        ensure!(printed.trim().is_empty(), "terminal {}: {printed} still runs", self.name);
        unguard(process);
        self.process = None;
        let screen = self.lines(&lines);
        let mut last = BTreeMap::new();
        for (at, line) in screen.iter().enumerate() {
            let Some(place) = line.strip_prefix("INFO message at ") else { continue };
            ensure!(self.seen.contains(&at), "terminal {}: `{line}` is not in the README", self.name);
            let (place, _) = place.split_once(':').context("no place")?;
            let (partition, offset) = place.rsplit_once('/').context("no offset")?;
            let offset: i64 = offset.parse()?;
            let before = last.insert(partition.to_owned(), offset);
            ensure!(before.is_none_or(|before| before < offset), "terminal {}: `{line}` came late", self.name);
        }
        Ok(())
    }

    fn lines(&self, lines: impl Fn(&str) -> Vec<String>) -> Vec<String> {
        let text = self.text();
        lines(&text[self.over.min(text.len())..])
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.screen).unwrap_or_default()).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(input) = self.shell.stdin.as_mut() {
            // The shell knows which of its processes are still its own.
            writeln!(input, "kill -KILL $(jobs -p) 2>/dev/null; exit").ok();
        }
        self.shell.stdin = None;
        if signal::wait(&mut self.shell, Duration::from_secs(10)).is_err() {
            self.shell.kill().ok();
            self.shell.wait().ok();
        }
        self.process.into_iter().chain([self.shell.id()]).for_each(unguard);
    }
}
