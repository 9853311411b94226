//! A handler's file that changes is swapped in. The folder is watched, since editors and build tools replace files, and
//! a file is read once it has come to rest: half of one must not be loaded.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use notify_debouncer_full::notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};

use super::{Ask, gate};
use crate::app::told;
use crate::pipeline::Handle;

/// A change is one once nothing happened for so long: tools write in several steps.
pub const QUIET: Duration = Duration::from_millis(300);
/// How long a file must have been as it is.
const REST: Duration = Duration::from_millis(50);

/// What keeps a watch alive.
pub type Watch = Debouncer<RecommendedWatcher, RecommendedCache>;

/// A file as a folder shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    bytes: u64,
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
        std::thread::sleep(REST);
        let now = seen()?;
        if now == before && now.bytes > 0 {
            return Ok(());
        }
        before = now;
    }
    bail!("handler {} keeps changing", path.display())
}

/// Swaps whatever is saved under the handler's name, from now on.
pub fn start(handle: Handle) -> anyhow::Result<Watch> {
    let Some(path) = handle.shared.settings.handler.file().map(Path::to_owned) else {
        bail!(
            "pipeline {}: swap.watch watches a file, and the handler is {}; hint: take it out",
            handle.shared.name,
            handle.shared.settings.handler
        );
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().context("a handler is a file")?.to_owned();
    let (changed, changes) = mpsc::sync_channel(1);
    let mut debouncer = new_debouncer(QUIET, None, move |result: DebounceEventResult| {
        let Ok(events) = result else { return };
        let ours = |path: &PathBuf| path.file_name() == Some(&name);
        if events.iter().any(|event| !event.kind.is_access() && event.paths.iter().any(ours)) {
            // Full: a look is due already.
            let _ = changed.try_send(());
        }
    })?;
    debouncer
        .watch(folder, RecursiveMode::NonRecursive)
        .with_context(|| format!("cannot watch {}; hint: swap.watch", folder.display()))?;
    std::thread::Builder::new().name(format!("{}-watch", handle.shared.name)).spawn(move || {
        while changes.recv().is_ok() {
            if let Err(error) = swap(&handle, &path) {
                tracing::warn!(pipeline = %handle.shared.name, error = told(&error), "changed handler is not taken");
            }
        }
    })?;
    Ok(debouncer)
}

fn swap(handle: &Handle, path: &Path) -> anyhow::Result<()> {
    // Between two names of a file that is replaced there may be none.
    if look(path).is_err() {
        return Ok(());
    }
    settle(path)?;
    gate::size(look(path)?.bytes, &handle.shared.settings)?;
    let bytes = std::fs::read(path).with_context(|| format!("cannot read handler {}", path.display()))?;
    let ask = Ask {
        bytes: Some(bytes),
        settings: None,
        source: path.display().to_string(),
        by: "watch".to_owned(),
        rollout: None,
    };
    // A refusal has been told of by the gate.
    let _ = handle.swapper.swap(ask);
    Ok(())
}
