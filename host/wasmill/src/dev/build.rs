//! Building the handler, noticing that its sources changed, and swapping it while messages flow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use notify_debouncer_full::notify::RecursiveMode;
use notify_debouncer_full::{DebounceEventResult, new_debouncer};
use wasmill_config as config;
use wasmill_deploy::handler::digest::short;
use wasmill_deploy::handler::file::settle;
use wasmill_deploy::swap::answer::Done;
use wasmill_deploy::swap::swapper::Ask;
use wasmill_deploy::swap::watch::{DEBOUNCE_DELAY, Watch};

use super::show::Screen;
use crate::pipelines::running::Running;
use crate::project::{Project, Reporter, ask_of};

/// The project that the pipeline's handler is built from, where no command says how.
fn project(pipeline: &config::Pipeline, directory: &Path) -> Option<Project> {
    let project = Project::open(directory).ok()?;
    (pipeline.dev.build.is_none() && project.makes(pipeline)).then_some(project)
}

/// What a build says, on the screen.
struct Told<'a>(&'a Screen);

impl Reporter for Told<'_> {
    fn begin(&self, step: &str) {
        self.0.note(step);
    }

    fn line(&self, text: &str) {
        self.0.note(text);
    }

    fn end(&self) {}
}

/// Runs a pipeline's build command, or builds the project that its handler comes from.
pub fn build(pipeline: &config::Pipeline, directory: &Path, screen: &Screen) -> anyhow::Result<()> {
    if let Some(project) = project(pipeline, directory) {
        let began = Instant::now();
        project.build(ask_of([pipeline]), &Told(screen))?;
        screen.note(&format!("built in {:.1} s", began.elapsed().as_secs_f64()));
        return Ok(());
    }
    command(pipeline, directory, &Told(screen))
}

/// Runs a pipeline's build command, if it has one. What it writes goes to standard error.
pub fn command(pipeline: &config::Pipeline, directory: &Path, reporter: &dyn Reporter) -> anyhow::Result<()> {
    let Some([program, arguments @ ..]) = pipeline.dev.build.as_deref() else { return Ok(()) };
    if pipeline.handler.file().is_none() {
        reporter.line(&format!("{} is used as it is: nothing is built", pipeline.handler));
        return Ok(());
    }
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    add_target(arguments, directory, reporter)?;
    reporter.line(&format!("building the handler of {}: {program} {}", pipeline.name, arguments.join(" ")));
    // This program, whether or not a shell finds it.
    let own = std::env::current_exe().ok().filter(|_| program == "wasmill");
    let status = Command::new(own.as_deref().unwrap_or(Path::new(program)))
        .args(arguments)
        .current_dir(directory)
        // The configuration names where the handler is; a folder of the caller's would put it elsewhere.
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_TARGET_DIR")
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("pipeline {}: cannot run `{program}`; hint: see dev.build", pipeline.name))?;
    if !status.success() {
        bail!("pipeline {}: the build ended with {status}", pipeline.name);
    }
    Ok(())
}

/// Installs the wasm target that a build asks rustc for, if rustup says that it is missing.
fn add_target(arguments: &[String], directory: &Path, reporter: &dyn Reporter) -> anyhow::Result<()> {
    let named = arguments.iter().map(|argument| argument.strip_prefix("--target=").unwrap_or(argument));
    let Some(target) = named.into_iter().find(|argument| argument.starts_with("wasm32")) else { return Ok(()) };
    let rustup = |arguments: &[&str]| Command::new("rustup").args(arguments).current_dir(directory).output();
    // Without rustup the toolchain came from elsewhere, and so must the target.
    let Ok(installed) = rustup(&["target", "list", "--installed"]) else { return Ok(()) };
    if !installed.status.success() || String::from_utf8_lossy(&installed.stdout).lines().any(|line| line == target) {
        return Ok(());
    }
    reporter.line(&format!("rust cannot compile to {target} yet: running `rustup target add {target}`"));
    let added = rustup(&["target", "add", target]).context("cannot run rustup")?;
    if !added.status.success() {
        bail!("`rustup target add {target}` failed: {}", String::from_utf8_lossy(&added.stderr).trim());
    }
    Ok(())
}

/// Watches a pipeline's sources, or the handler itself where there is nothing to build, and swaps in what comes of a
/// change. The old handler goes on until a new one has been built, loaded and rehearsed.
pub fn watch(running: Running, directory: PathBuf, screen: Screen) -> anyhow::Result<Option<Watch>> {
    let Some((watch, changes)) = watch_sources(&running.pipeline.shared.started_with, &directory)? else {
        return Ok(None);
    };
    std::thread::Builder::new().name("dev-build".to_owned()).spawn(move || {
        while let Ok(change) = changes.recv() {
            if change == Change::Configuration {
                screen.note("wasmill.toml has changed, which counts from the next `wasmill dev` on");
                continue;
            }
            let swapped = swap(&running, &directory, &screen);
            // A build that ended because everything ends has nothing wrong with it.
            if running.swapper.is_closed() {
                return;
            }
            if let Err(error) = swapped {
                screen.trouble(&format!("{error:#}; the handler of before goes on"));
            }
        }
    })?;
    Ok(Some(watch))
}

/// After a build that failed: waits until a source is saved. `false`: there is nothing to wait for.
pub fn wait_for_change(
    pipeline: &config::Pipeline,
    directory: &Path,
    error: &anyhow::Error,
    screen: &Screen,
) -> anyhow::Result<bool> {
    let Some((_watch, changes)) = watch_sources(pipeline, directory)? else { return Ok(false) };
    screen.trouble(&format!("{error:#}; waiting for a source to be saved"));
    while let Ok(change) = changes.recv() {
        if change == Change::Source {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What was saved.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Change {
    Source,
    Configuration,
}

/// Watches what a pipeline's handler is made of.
fn watch_sources(
    settings: &config::Pipeline,
    directory: &Path,
) -> anyhow::Result<Option<(Watch, mpsc::Receiver<Change>)>> {
    // One from a registry is used as it is, whatever is saved here.
    let Some(handler) = settings.handler.file() else { return Ok(None) };
    let mut wanted = settings.dev.watch.clone();
    let mut project = project(settings, directory);
    if let Some(project) = &mut project {
        // Compared with what the watcher reports, as all of these are.
        project.directory = project.directory.canonicalize().context("cannot watch the project")?;
        wanted.push(project.directory.clone());
    } else if settings.dev.build.is_none() {
        wanted.push(handler.to_owned());
    }
    if wanted.is_empty() {
        return Ok(None);
    }
    // Compared with what the watcher reports, which is absolute and without links.
    let wanted: Vec<PathBuf> = wanted
        .iter()
        .map(|path| {
            path.canonicalize().with_context(|| format!("cannot watch {}; hint: see dev.watch", path.display()))
        })
        .collect::<Result<_, _>>()?;
    let (changed, changes) = mpsc::sync_channel(1);
    let files = wanted.clone();
    // The project's folder stands last.
    let named = files.len() - usize::from(project.is_some());
    let mut debouncer = new_debouncer(DEBOUNCE_DELAY, None, move |result: DebounceEventResult| {
        let Ok(events) = result else { return };
        let writes = events.iter().filter(|event| !event.kind.is_access());
        let paths: Vec<&PathBuf> = writes.flat_map(|event| &event.paths).collect();
        let ours = |path: &PathBuf| match &project {
            // A build writes below the project's folder too, and must not set off the next.
            Some(project) => project.is_source(path) || files[..named].iter().any(|wanted| path.starts_with(wanted)),
            None => files.iter().any(|wanted| path.starts_with(wanted)),
        };
        let configuration = project.as_ref().map(|project| project.directory.join("wasmill.toml"));
        if paths.iter().any(|path| ours(path)) {
            // Full: a build is due already.
            let _ = changed.try_send(Change::Source);
        } else if paths.iter().any(|path| Some(*path) == configuration.as_ref()) {
            let _ = changed.try_send(Change::Configuration);
        }
    })?;
    for path in &wanted {
        // Editors replace files: a watch on a file would end with its first life.
        let (folder, mode) = match path.parent() {
            Some(parent) if path.is_file() => (parent, RecursiveMode::NonRecursive),
            _ => (path.as_path(), RecursiveMode::Recursive),
        };
        debouncer.watch(folder, mode).with_context(|| format!("cannot watch {}", folder.display()))?;
    }
    Ok(Some((debouncer, changes)))
}

fn swap(running: &Running, directory: &Path, screen: &Screen) -> anyhow::Result<()> {
    let settings = &running.pipeline.shared.started_with;
    build(settings, directory, screen)?;
    let Some(file) = settings.handler.file() else { return Ok(()) };
    settle(file)?;
    let source = file.display().to_string();
    let bytes = config::file::read(file, settings.limits.component_bytes)
        .with_context(|| format!("cannot read handler {source}"))?;
    let ask = Ask { bytes: Some(bytes), settings: None, source, by: "dev".to_owned(), rollout: None };
    let outcome = running.swapper.swap(ask).with_context(|| format!("pipeline {}", settings.name))?;
    let digest = short(&outcome.to.digest);
    if outcome.outcome == Done::Unchanged {
        screen.note(&format!("{}: the handler is the same as before, {digest}", settings.name));
        return Ok(());
    }
    let from: Vec<String> =
        outcome.partitions.iter().map(|one| format!("{} @{}", one.partition, one.first_offset)).collect();
    screen.note(&format!("{}: handler {digest} takes over from {}", settings.name, from.join(", ")));
    Ok(())
}
