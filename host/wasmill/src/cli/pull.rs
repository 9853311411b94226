//! `wasmill pull`: a handler from a registry.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use wasmill_config::OciReference;
use wasmill_deploy::explain;
use wasmill_deploy::handler::loader::{Loader, plugins};
use wasmill_deploy::oci::{self, Offline, Source};
use wasmill_wasm::EngineOptions;

use super::alone;
use super::artifact::Artifact;
use super::output::answer;
use crate::cache::cache_folder;
use crate::failure::{Exit, Failure};
use crate::output_file::write_whole;

const HELP: &str = "Credentials are those of `docker login`. What was pulled is kept in the cache: a pipeline with this \
reference starts without the registry, if that does not answer. Exit codes: 0 pulled; 1 the registry does not answer, has \
no such handler, or refuses; 2 the reference is none, or the file cannot be written.";

/// Fetch a handler from a registry into the cache, and into a file
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
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
        let mut told = Artifact::of(&self.reference, &pulled.digest, &pulled.bytes, refusal);
        told.from = Some(if pulled.from == Source::Cache { "cache" } else { "registry" });
        told.file = self.output.as_ref().map(|path| path.display().to_string());
        answer(self.json, &told, || told.told("pulled"))
    }

    /// Why wasmill would not run it. Somebody may want to look at it all the same.
    fn refusal(&self, bytes: &[u8]) -> Result<Option<String>, Failure> {
        let limits = alone::pipeline(&[])?.limits;
        let loader = Loader::open(cache_folder()).map_err(Failure::start)?;
        Ok(loader.compile(bytes, &limits).err().map(|refusal| explain(&refusal.into())))
    }
}
