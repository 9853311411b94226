//! Signals to processes that a test started.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a process may take to stand still.
const FROZEN: Duration = Duration::from_secs(20);

/// What can be sent to a process.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Drain and end.
    Term,
    /// End at once, without a chance to tidy up.
    Kill,
    /// Freeze: no heartbeat, no commit, and not dead.
    Stop,
    /// Go on after [`Signal::Stop`].
    Cont,
    /// As from the keyboard.
    Int,
    /// Read the configuration again.
    Hup,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
            Self::Int => "INT",
            Self::Hup => "HUP",
        }
    }
}

/// Sends a signal to a child that has not been waited for, so that its number cannot belong to somebody else.
///
/// # Errors
/// The child has ended, or `kill` is missing.
pub fn send(child: &mut Child, signal: Signal) -> Result<()> {
    if let Some(status) = child.try_wait()? {
        bail!("cannot send SIG{}: the process has ended with {status}", signal.name());
    }
    let status = Command::new("kill").arg("-s").arg(signal.name()).arg(child.id().to_string()).status();
    if !status.context("cannot run `kill`")?.success() {
        bail!("cannot send SIG{} to process {}", signal.name(), child.id());
    }
    if signal == Signal::Stop { wait_frozen(child) } else { Ok(()) }
}

/// Waits until every thread of a child stands still. SIGSTOP goes to one of them, and the others run on until that one has
/// its turn: on a busy machine long enough for a broker to answer.
fn wait_frozen(child: &mut Child) -> Result<()> {
    let end = Instant::now() + FROZEN;
    let pid = child.id();
    loop {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("no process {pid}"))?;
        // A thread that ends meanwhile does not run either.
        let states = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        // The state stands behind the name, which is in brackets and may have some itself.
        let stands = |stat: &str| stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z', 'X']));
        if states.into_iter().all(|stat| stands(&stat)) {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("process {pid} was not frozen within {FROZEN:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for the end of a child.
///
/// # Errors
/// It did not end in time; it goes on running.
pub fn wait(child: &mut Child, timeout: Duration) -> Result<ExitStatus> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= end {
            bail!("process {} did not end within {timeout:?}", child.id());
        }
        // There is no safe wait with a timeout in the standard library; the end is seen 5 ms late at worst.
        std::thread::sleep(Duration::from_millis(5));
    }
}
