//! A handler's file: whether it changed, and whether it has come to rest.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};

/// How long a file must have been as it is.
const SETTLE_DELAY: Duration = Duration::from_millis(50);

/// A file as a folder shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The size of the file.
    pub bytes: u64,
    modified: SystemTime,
}

/// Looks at a file.
pub fn look(path: &Path) -> io::Result<Look> {
    let meta = std::fs::metadata(path)?;
    Ok(Look { bytes: meta.len(), modified: meta.modified()? })
}

/// Waits until a file stops changing.
pub fn settle(path: &Path) -> anyhow::Result<()> {
    let seen = || look(path).with_context(|| format!("cannot read handler {}", path.display()));
    let mut before = seen()?;
    for _ in 0..100 {
        std::thread::sleep(SETTLE_DELAY);
        let now = seen()?;
        if now == before && now.bytes > 0 {
            return Ok(());
        }
        before = now;
    }
    bail!("handler {} keeps changing", path.display())
}
