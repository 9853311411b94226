//! Handlers from a registry.
//!
//! Nouns: a **reference** names an artifact, by tag or by digest; an **artifact** is a manifest and the component that it
//! lists, in the layout for WebAssembly that the CNCF describes; the **cache** keeps both by digest, and which digest a
//! tag had. Whoever can change what a registry holds decides what a tag means, and nothing else: bytes without the
//! digest that was asked for are never handed on, neither from a registry nor from the cache.

mod artifact;
mod cache;
mod credentials;
mod digest;
mod registry;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use wasmill_config::OciReference;
use wasmill_wasm::Inspection;

use crate::handler::size;

use artifact::Artifact;
use cache::Cache;
use digest::digest_of;
use registry::{Registry, Trouble};

/// A component that a reference named, and the digests it was checked against.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The component. Its SHA-256 is what the manifest lists.
    pub bytes: Vec<u8>,
    /// The digest of the manifest: what a reference is pinned with.
    pub digest: String,
    /// Where it came from.
    pub from: Source,
    /// Why it is not kept for a start without the registry; `None`: it is, or there is no cache.
    pub unkept: Option<String>,
}

/// Where a component came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The registry named the digest just now.
    Registry,
    /// The cache, by the digest that the reference has.
    Cache,
    /// The cache, by the digest that the tag had when the registry last answered. Now it did not, for this reason.
    Remembered(String),
}

/// Whether what a tag meant before will do where the registry does not answer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Offline {
    /// It will.
    Allowed,
    /// The registry has to answer.
    Refused,
}

/// Resolves a reference and fetches its component, which may have `most` bytes. `cache` is the folder of the cache; `None`: nothing is kept.
///
/// # Errors
/// The registry does not answer and the cache cannot stand in for it, or it refuses, or has no such artifact, or one that
/// is no component, is too large, or is not what its digest says.
pub fn pull(reference: &OciReference, cache: Option<&Path>, most: u64, offline: Offline) -> anyhow::Result<Pulled> {
    let cache = cache.map(Cache::open).transpose()?;
    let pulled = resolve(reference, cache.as_ref(), most, offline)?;
    // The cache may have it by a pipeline that takes larger ones.
    size::fits(pulled.bytes.len() as u64, most).with_context(|| reference.to_string())?;
    Ok(pulled)
}

fn resolve(reference: &OciReference, cache: Option<&Cache>, most: u64, offline: Offline) -> anyhow::Result<Pulled> {
    if let Some(digest) = reference.digest()
        && let Some(bytes) = cached(cache, digest)
    {
        return Ok(Pulled { bytes, digest: digest.to_owned(), from: Source::Cache, unkept: None });
    }
    let trouble = match download(reference, cache, most) {
        Ok(pulled) => return Ok(pulled),
        Err(trouble) => trouble,
    };
    // Only silence is made up for: who is told that there is no such tag, or that he may not have it, must not go on
    // with what there was yesterday.
    if let Trouble::Away(reason) = &trouble
        && offline == Offline::Allowed
        && let Some(digest) = cache.and_then(|cache| cache.remembered(reference))
        && let Some(bytes) = cached(cache, &digest)
    {
        return Ok(Pulled { bytes, digest, from: Source::Remembered(reason.clone()), unkept: None });
    }
    Err(trouble.into_error()).with_context(|| reference.to_string())
}

/// The component of a manifest, if the cache has both.
fn cached(cache: Option<&Cache>, digest: &str) -> Option<Vec<u8>> {
    let cache = cache?;
    let artifact = Artifact::read(&cache.blob(digest)?).ok()?;
    cache.blob(&artifact.digest)
}

fn download(reference: &OciReference, cache: Option<&Cache>, most: u64) -> Result<Pulled, Trouble> {
    let registry = Registry::open(reference)?;
    let manifest = registry::wait(|| registry.manifest())??;
    let digest = digest_of(&manifest);
    if let Some(wanted) = reference.digest()
        && wanted != digest
    {
        let problem = format!("the registry gives a manifest of digest {digest} instead; it is not used");
        return Err(Trouble::Refused(anyhow::anyhow!(problem)));
    }
    let artifact = Artifact::read(&manifest)?;
    // Before anything of it is fetched.
    size::fits(artifact.bytes, most).map_err(anyhow::Error::from)?;
    let bytes = match cache.and_then(|cache| cache.blob(&artifact.digest)) {
        Some(bytes) => bytes,
        None => {
            let bar = Bar::new("pulling", artifact.bytes);
            let progress = |bytes| bar.0.set_position(bytes);
            registry::wait(|| registry.blob(&artifact.digest, artifact.bytes, &progress))??
        }
    };
    // The tag comes last: it must not lead to what is not there.
    let keep = |cache: &Cache| {
        cache.keep(&artifact.digest, &bytes)?;
        cache.keep(&digest, &manifest)?;
        cache.remember(reference, &digest)
    };
    // What was fetched can be used without being kept.
    let unkept = cache.and_then(|cache| keep(cache).err()).map(|error| format!("{error:#}"));
    Ok(Pulled { bytes, digest, from: Source::Registry, unkept })
}

/// Sends a component to a registry under the reference's tag; returns the digest of its manifest. The same file under the same name has
/// the same digest each time. `title` is the name under which other tools save it.
///
/// # Errors
/// The registry does not answer, or refuses.
pub fn push(reference: &OciReference, bytes: &[u8], found: &Inspection, title: &str) -> anyhow::Result<String> {
    let artifact = artifact::Draft::new(bytes, found, title)?;
    let _bar = Bar::spinner("pushing");
    let send = || -> Result<(), Trouble> {
        let registry = Registry::open(reference)?;
        registry::wait(async || {
            registry.push_blob(&artifact.config, &artifact.config_digest).await?;
            registry.push_blob(bytes, &digest_of(bytes)).await?;
            // Last: a registry takes a manifest only if it has what that lists, and the tag never leads to half of it.
            registry.push_manifest(artifact.manifest.clone()).await
        })?
    };
    send().map_err(Trouble::into_error).with_context(|| reference.to_string())?;
    Ok(digest_of(&artifact.manifest))
}

/// How far a transfer is, where standard error is a terminal; nothing elsewhere. It goes when this is dropped.
struct Bar(ProgressBar);

impl Bar {
    fn new(what: &'static str, bytes: u64) -> Self {
        let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
        // Draws to standard error, and not at all if that is no terminal.
        let bar = ProgressBar::new(bytes).with_message(what);
        bar.set_style(ProgressStyle::with_template(style).expect("a template of ours"));
        Self(bar)
    }

    fn spinner(what: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
