//! `wasmill push` and `wasmill pull`: handlers to and from a registry.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use wasmill_config::OciReference;
use wasmill_deploy::explain;
use wasmill_deploy::handler::loader::{Loader, plugins};
use wasmill_deploy::oci::{self, Offline, Source};
use wasmill_wasm::{EngineOptions, inspect};

use super::alone;
use super::inspect::version;
use super::output::print;
use crate::cache::cache_folder;
use crate::failure::{Exit, Failure};
use crate::output_file::write_whole;

const PUSH: &str = "Credentials are those of `docker login`. The artifact has the layout that `wkg` and `oras` read. The \
same file has the same digest each time. Exit codes: 0 pushed; 1 the registry does not answer or refuses; 2 the file \
cannot be read, or the reference is none; 3 the file is no handler.";

const PULL: &str = "Credentials are those of `docker login`. What was pulled is kept in the cache: a pipeline with this \
reference starts without the registry, if that does not answer. Exit codes: 0 pulled; 1 the registry does not answer, has \
no such handler, or refuses; 2 the reference is none, or the file cannot be written.";

/// Send a handler to a registry
#[derive(Debug, clap::Args)]
#[command(after_help = PUSH)]
pub struct Push {
    /// The handler
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Where to: oci://host/name:tag
    #[arg(value_name = "REFERENCE")]
    reference: OciReference,
    /// What was pushed as JSON
    #[arg(long)]
    json: bool,
}

impl Push {
    /// Pushes. Exit 3: wasmill refuses the handler; nothing was sent.
    pub fn run(self) -> Result<Exit, Failure> {
        let reference = &self.reference;
        if reference.digest().is_some() {
            let problem = "has a digest, which follows from what is pushed; hint: name a tag instead, as in";
            let (registry, name) = (reference.registry(), reference.repository());
            return Err(Failure::usage(anyhow!("{reference} {problem} oci://{registry}/{name}:1.0")));
        }
        let bytes = alone::read(&self.file)?;
        let limits = alone::pipeline(&[])?.limits;
        // What no pipeline could load is of no use to anybody who pulls it.
        Loader::open(cache_folder())
            .and_then(|loader| Ok(loader.compile(&bytes, &limits)?))
            .with_context(|| format!("{} is no handler, and is not pushed", self.file.display()))
            .map_err(Failure::start)?;
        let found = inspect(&bytes);
        let title = self.file.file_name().map_or("handler.wasm".into(), |name| name.to_string_lossy());
        let digest = oci::push(reference, &bytes, &found, &title).context("cannot push")?;
        let mut told = describe(reference, &digest, &bytes, None);
        told["file"] = self.file.display().to_string().into();
        show(&told, self.json, "pushed")
    }
}

/// Fetch a handler from a registry into the cache, and into a file
#[derive(Debug, clap::Args)]
#[command(after_help = PULL)]
pub struct Pull {
    /// Which: oci://host/name:tag, or oci://host/name@sha256:digest
    #[arg(value_name = "REFERENCE")]
    reference: OciReference,
    /// Where to write it as well
    #[arg(long, short, value_name = "FILE.wasm")]
    output: Option<PathBuf>,
    /// What was pulled as JSON
    #[arg(long)]
    json: bool,
}

impl Pull {
    /// Pulls. The file is whole or as it was before.
    pub fn run(self) -> Result<Exit, Failure> {
        let folder = cache_folder().as_deref().map(plugins);
        let most = EngineOptions::default().plugin_bytes;
        if folder.is_none() && self.output.is_none() {
            return Err(Failure::usage(anyhow!(
                "there is no folder for a cache; hint: --output FILE.wasm, or set HOME"
            )));
        }
        let pulled = oci::pull(&self.reference, folder.as_deref(), most, Offline::Refused).context("cannot pull")?;
        if let Some(why) = &pulled.unkept {
            let _ = writeln!(std::io::stderr(), "warning: it is not kept for a start without the registry: {why}");
        }
        if let Some(path) = &self.output {
            write_whole(path, &pulled.bytes).map_err(Failure::usage)?;
        }
        let refusal = self.refusal(&pulled.bytes)?;
        let mut told = describe(&self.reference, &pulled.digest, &pulled.bytes, refusal.as_deref());
        told["from"] = if pulled.from == Source::Cache { "cache" } else { "registry" }.into();
        told["file"] = self.output.as_ref().map(|path| path.display().to_string()).into();
        show(&told, self.json, "pulled")
    }

    /// Why wasmill would not run it. Somebody may want to look at it all the same.
    fn refusal(&self, bytes: &[u8]) -> Result<Option<String>, Failure> {
        let limits = alone::pipeline(&[])?.limits;
        let loader = Loader::open(cache_folder()).map_err(Failure::start)?;
        Ok(loader.compile(bytes, &limits).err().map(|refusal| explain(&refusal.into())))
    }
}

fn describe(reference: &OciReference, digest: &str, bytes: &[u8], refusal: Option<&str>) -> Value {
    let found = inspect(bytes);
    json!({
        "reference": reference.to_string(),
        // What a configuration names so that nobody can give it another handler.
        "pinned": reference.pinned(digest).to_string(),
        "digest": digest,
        "sha256": found.digest,
        "bytes": found.size,
        "contract": version(&found, refusal),
        "world": found.world.map(|world| world.as_str()),
        "accepted": refusal.is_none(),
        "error": refusal,
    })
}

fn show(told: &Value, json: bool, done: &str) -> Result<Exit, Failure> {
    if json {
        return print(&format!("{told:#}\n"));
    }
    let word = |key: &str| told[key].as_str().unwrap_or("-").to_owned();
    let accepted = told["error"].as_str().map_or("yes".to_owned(), |error| format!("no: {error}"));
    print(&format!(
        "{done} {}\n  digest    {}\n  sha256    {} ({} bytes)\n  contract  wasmill:handler {}, world {}\n  accepted  {accepted}\n  \
         pinned    {}\n",
        word("reference"),
        word("digest"),
        word("sha256"),
        told["bytes"],
        word("contract"),
        word("world"),
        word("pinned"),
    ))
}
