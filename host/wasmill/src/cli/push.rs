//! `wasmill push`: a handler to a registry.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use wasmill_config::OciReference;
use wasmill_deploy::handler::loader::Loader;
use wasmill_deploy::oci;
use wasmill_wasm::inspect;

use super::alone;
use super::artifact::Artifact;
use super::output::answer;
use crate::cache::cache_folder;
use crate::failure::{Exit, Failure};

const HELP: &str = "Credentials are those of `docker login`. The artifact has the layout that `wkg` and `oras` read. The \
same file has the same digest each time. Exit codes: 0 pushed; 1 the registry does not answer or refuses; 2 the file \
cannot be read, or the reference is none; 3 the file is no handler.";

/// Send a handler to a registry
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
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
        let mut pushed = Artifact::of(reference, &digest, &bytes, None);
        pushed.file = Some(self.file.display().to_string());
        answer(self.json, &pushed, || pushed.told("pushed"))
    }
}
