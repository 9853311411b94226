//! A handler's file that changes is swapped in. The folder is watched, since editors and build tools replace files, and
//! a file is read once it has come to rest: half of one must not be loaded.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context as _, bail};
use notify_debouncer_full::notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};
use wasmill_config as config;

use super::gate;
use super::swapper::{Ask, Swapper};
use crate::explain;
use crate::handler::file::{look, settle};

/// A change is one once nothing happened for so long: tools write in several steps.
pub const DEBOUNCE_DELAY: Duration = Duration::from_millis(300);

/// What keeps a watch alive.
pub type Watch = Debouncer<RecommendedWatcher, RecommendedCache>;

/// Swaps whatever is saved under this handler's name, from now on.
pub fn start(swapper: Arc<Swapper>, handler: &config::Handler) -> anyhow::Result<Watch> {
    let Some(path) = handler.file().map(Path::to_owned) else {
        let name = swapper.pipeline();
        bail!("pipeline {name}: swap.watch watches a file, and the handler is {handler}; hint: take it out");
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().context("a handler is a file")?.to_owned();
    let (changed, changes) = mpsc::sync_channel(1);
    let mut debouncer = new_debouncer(DEBOUNCE_DELAY, None, move |result: DebounceEventResult| {
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
    std::thread::Builder::new().name(format!("{}-watch", swapper.pipeline())).spawn(move || {
        while changes.recv().is_ok() {
            if let Err(error) = swap(&swapper, &path) {
                tracing::warn!(pipeline = swapper.pipeline(), error = explain(&error), "changed handler is not taken");
            }
        }
    })?;
    Ok(debouncer)
}

fn swap(swapper: &Arc<Swapper>, path: &Path) -> anyhow::Result<()> {
    // Between two names of a file that is replaced there may be none.
    if look(path).is_err() {
        return Ok(());
    }
    settle(path)?;
    let settings = swapper.settings();
    gate::size(look(path)?.bytes, &settings)?;
    let bytes = config::file::read(path, settings.limits.component_bytes)
        .with_context(|| format!("cannot read handler {}", path.display()))?;
    let digest = wasmill_wasm::digest(&bytes);
    // Touched, or replaced by the same: what was taken back stays back.
    if swapper.has_taken(&digest) {
        return Ok(());
    }
    let ask = Ask {
        bytes: Some(bytes),
        settings: None,
        source: path.display().to_string(),
        by: "watch".to_owned(),
        rollout: None,
    };
    // A refusal has been told of by the gate.
    if swapper.swap(ask).is_ok() {
        swapper.take_up(&digest);
    }
    Ok(())
}
