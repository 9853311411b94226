//! `wasmill build`: from a handler's sources, or from what another compiler left, to a component.

use std::path::{Path, PathBuf};
use std::time::Instant;

use comfy_table::{Table, presets};
use serde_json::json;
use wasmill_core::{Grant, Grants};
use wasmill_wasm::{Access, Inspection};

use super::alone;
use super::output::print;
use crate::failure::{Exit, Failure};
use crate::project::{self, Built, Kept, Language, Project, Reporter, Terminal};

fn help() -> String {
    let [others @ .., last] = Language::ALL.map(Language::mark);
    format!(
        "A folder is built with the toolchain of its language, which is told by a file in it: {} or {last}. The component is left in \
         build/handler.wasm. A FILE.wasm of any other compiler, or a FILE.wat, is made a component: it exports `init` and `handle` of \
         one of the worlds of wasmill:handler, and what it imports of wasi_snapshot_preview1 is answered by an adapter. \
         Exit codes: 0 built; 1 the build failed; 2 there is nothing to build; 3 a tool is missing.",
        others.join(", ")
    )
}

/// Compile a handler, and make a component of it
#[derive(Debug, clap::Args)]
#[command(after_help = help())]
pub struct Build {
    /// A handler's folder, or a core module, as binary or as text
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    path: PathBuf,
    /// Where a component made of FILE goes; by default beside it, as FILE.component.wasm
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What came of it as JSON
    #[arg(long)]
    json: bool,
}

impl Build {
    /// Builds. Exit 1: the build failed; 3: a tool is missing.
    pub fn run(self) -> Result<Exit, Failure> {
        let began = Instant::now();
        let kept = Kept::default();
        let terminal = Terminal::new();
        let reporter: &dyn Reporter = if self.json { &kept } else { &terminal };
        let (language, built) = if self.path.is_file() {
            let bytes = alone::read(&self.path)?;
            let out = self.out.clone().unwrap_or_else(|| self.path.with_extension("component.wasm"));
            (None, project::write(&bytes, Grants::NONE, None, &out))
        } else {
            let project = open(&self.path)?;
            let built = project.build(ask(&project), reporter);
            (Some(project.language), built)
        };
        let built = match built.map_err(|error| failed(error, &self.path)) {
            Ok(built) => built,
            Err(failure) if self.json => return told(failure, &kept),
            Err(failure) => return Err(failure),
        };
        let seconds = began.elapsed().as_secs_f64();
        if self.json {
            print(&format!("{:#}\n", as_json(language, &built, seconds)))
        } else {
            print(&as_text(language, &built, seconds))
        }
    }
}

/// The project in a folder that was named.
pub fn open(path: &Path) -> Result<Project, Failure> {
    if !path.is_dir() {
        return Err(Failure::usage(anyhow::anyhow!("{} is neither a folder nor a file", path.display())));
    }
    Project::open(path).map_err(Failure::usage)
}

/// What the pipelines beside the project grant to its handler. A wasmill.toml that cannot be read is whoever runs it's to
/// mend: for a build it grants nothing.
pub fn ask(project: &Project) -> Grants {
    let file = project.directory.join("wasmill.toml");
    let Ok(loaded) = wasmill_config::load(&file) else { return Grants::NONE };
    project::ask_of(loaded.config.pipelines.iter().filter(|pipeline| project.makes(pipeline)))
}

/// A build that failed, for machines: why, and what the tools wrote.
pub fn told(failure: Failure, kept: &Kept) -> Result<Exit, Failure> {
    let report = json!({ "ok": false, "error": failure.to_string(), "output": kept.text() });
    print(&format!("{report:#}\n"))?;
    Ok(failure.exit)
}

/// What a build that failed is: a tool that is missing, or one that said no.
pub fn failed(error: anyhow::Error, path: &Path) -> Failure {
    let missing = error.is::<project::Missing>();
    let error = error.context(format!("build of {}", path.display()));
    if missing { Failure::start(error) } else { error.into() }
}

fn as_json(language: Option<Language>, built: &Built, seconds: f64) -> serde_json::Value {
    let found = &built.inspection;
    json!({
        "ok": true,
        "file": built.path.display().to_string(),
        "language": language.map(Language::name),
        "bytes": found.size,
        "digest": found.digest,
        "world": found.world.map(|world| world.as_str()),
        "imports": found.imports.items.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
        "feigned": {
            "clock": built.feigned.contains(Grant::Clock),
            "random": built.feigned.contains(Grant::Random),
        },
        "seconds": seconds,
    })
}

fn as_text(language: Option<Language>, built: &Built, seconds: f64) -> String {
    let found = &built.inspection;
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let file = built.path.display().to_string();
    table.add_row(["component", &file]);
    if let Some(language) = language {
        table.add_row(["language", &language.to_string()]);
    }
    table
        .add_row(["size", &bytesize::ByteSize(found.size as u64).display().iec().to_string()])
        .add_row(["sha256", &found.digest])
        .add_row(["imports", &imports(found)])
        .add_row(["time", &format!("{seconds:.1} s")]);
    table.trim_fmt() + "\n" + &feigned(built.feigned)
}

/// Whoever reads a clock must know that it is none.
fn feigned(feigned: Grants) -> String {
    if feigned.is_empty() {
        return String::new();
    }
    let what = |one| match one {
        Grant::Clock => "the clock begins in 1970",
        Grant::Random => "random numbers are the same each time",
    };
    let what = feigned.iter().map(what).collect::<Vec<_>>().join(" and ");
    format!("\nif it asks: {what}; `{}` in its pipeline and another build give it the host's\n", feigned.line())
}

/// The contract's own interfaces in short; others by name.
fn imports(found: &Inspection) -> String {
    let named: Vec<String> = found
        .imports
        .items
        .iter()
        .map(|one| match one.access {
            Access::Always => one.name.split_once('/').map_or(one.name.as_str(), |(_, rest)| rest).to_owned(),
            Access::Wasi => one.name.clone(),
            Access::IfGranted(needed) => format!("{} (needs {})", one.name, Grants::NONE.with(needed).line()),
            Access::Refused => format!("{} (refused)", one.name),
        })
        .collect();
    if named.is_empty() { "none".to_owned() } else { named.join(", ") }
}
