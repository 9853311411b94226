//! A handler's file that changes is swapped in. The folder is watched, since editors and build tools replace files, and
//! a file is read once it has come to rest: half of one must not be loaded.

use std::collections::BTreeSet;
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

/// Links that are followed to a file.
const MAX_LINKS: usize = 40;

/// What keeps a watch alive.
pub type Watch = Debouncer<RecommendedWatcher, RecommendedCache>;

/// Swaps whatever is saved under this handler's name, from now on.
pub fn start(swapper: Arc<Swapper>, handler: &config::Handler) -> anyhow::Result<Watch> {
    let Some(path) = handler.file().map(Path::to_owned) else {
        let name = swapper.pipeline();
        bail!("pipeline {name}: swap.watch watches a file, and the handler is {handler}; hint: take it out");
    };
    let name = path.file_name().context("a handler is a file")?.to_owned();
    let folders = folders(&path);
    // Behind links the file changes under names of others: a folder that is mounted from Kubernetes has a link `..data` that
    // is replaced, and nothing else happens to the file.
    let linked = folders.len() > 1 || path.is_symlink();
    let (changed, changes) = mpsc::sync_channel(1);
    let mut debouncer = new_debouncer(DEBOUNCE_DELAY, None, move |result: DebounceEventResult| {
        let Ok(events) = result else { return };
        let ours = |path: &PathBuf| linked || path.file_name() == Some(&name);
        if events.iter().any(|event| !event.kind.is_access() && event.paths.iter().any(ours)) {
            // Full: a look is due already.
            let _ = changed.try_send(());
        }
    })?;
    for folder in folders {
        debouncer
            .watch(&folder, RecursiveMode::NonRecursive)
            .with_context(|| format!("cannot watch {}; hint: swap.watch", folder.display()))?;
    }
    std::thread::Builder::new().name(format!("{}-watch", swapper.pipeline())).spawn(move || {
        let mut refused = None;
        while changes.recv().is_ok() {
            if let Err(error) = swap(&swapper, &path, &mut refused) {
                tracing::warn!(pipeline = swapper.pipeline(), error = explain(&error), "changed handler is not taken");
            }
        }
    })?;
    Ok(debouncer)
}

/// The folders in which something happens when the file becomes another: its own, and that of each link on the way to it.
fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut folders = BTreeSet::from([parent(path)]);
    let mut open = vec![path.to_owned()];
    let mut left = MAX_LINKS;
    while let Some(path) = open.pop() {
        for part in path.ancestors() {
            let Ok(target) = part.read_link() else { continue };
            if left == 0 {
                return folders;
            }
            left -= 1;
            let folder = parent(part);
            let rest = path.strip_prefix(part).unwrap_or(Path::new(""));
            open.push(folder.join(target).join(rest));
            folders.insert(folder);
            break;
        }
    }
    folders
}

/// Takes up what the file is now. `refused`: the digest that a gate refused last, which is not asked again.
fn swap(swapper: &Arc<Swapper>, path: &Path, refused: &mut Option<String>) -> anyhow::Result<()> {
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
    if swapper.has_taken(&digest) || refused.as_ref() == Some(&digest) {
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
    match swapper.swap(ask) {
        Ok(_) => swapper.take_up(&digest),
        // It may be let in later.
        Err(refusal) if refusal.gate == gate::Gate::Busy => {}
        Err(_) => *refused = Some(digest),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_folder_of_each_link_on_the_way_is_watched() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("..one/sub")).expect("folders");
        std::fs::write(at("..one/sub/handler.wasm"), "").expect("a file");
        symlink("..one", at("..data")).expect("a link");
        symlink("..data/sub", at("sub")).expect("a link");
        assert_eq!(folders(&at("..one/sub/handler.wasm")), BTreeSet::from([at("..one/sub")]));
        assert_eq!(folders(&at("sub/handler.wasm")), BTreeSet::from([at("sub"), folder.path().to_owned()]));
        assert_eq!(folders(Path::new("handler.wasm")), BTreeSet::from([PathBuf::from(".")]));
        // One that leads to itself ends.
        symlink("round", at("round")).expect("a link");
        assert_eq!(folders(&at("round")), BTreeSet::from([folder.path().to_owned()]));
    }
}
