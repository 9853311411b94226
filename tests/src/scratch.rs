//! A folder per test, deleted when the test is over. With `WASMILL_KEEP` in the environment it stays, for inspection:
//! a test that ends with an error drops its folder like one that passes.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// A folder below the target folder: `e2e/PROCESS/NAME-NUMBER`.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    kept: bool,
}

impl Scratch {
    /// Makes the folder.
    ///
    /// # Errors
    /// The target folder cannot be written.
    pub fn new(name: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        let runs = wasmill_setup::process::target().join("e2e");
        SWEEP.call_once(|| sweep(&runs));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = runs.join(std::process::id().to_string()).join(format!("{name}-{number}"));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, kept: false })
    }

    /// Keeps it although nothing panics, and says nothing.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("WASMILL_KEEP").is_some() {
            eprintln!("kept for inspection: {}", self.path.display());
            return;
        }
        if self.kept {
            return;
        }
        std::fs::remove_dir_all(&self.path).ok();
        // The folder of the whole run goes with its last part.
        self.path.parent().map(std::fs::remove_dir);
    }
}

/// Deletes what runs that are over left behind, but for those of the last day: they may be wanted for inspection.
fn sweep(runs: &Path) {
    for run in std::fs::read_dir(runs).into_iter().flatten().flatten() {
        let alive = Path::new("/proc").join(run.file_name()).exists();
        let age = run.metadata().and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        if !alive && age.is_some_and(|age| age.as_secs() > 24 * 3600) {
            std::fs::remove_dir_all(run.path()).ok();
        }
    }
}

/// The last `lines` lines of a file, for a message.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
