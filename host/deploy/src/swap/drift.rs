//! What the configuration asks for, and whether that is what serves.

use serde::{Deserialize, Serialize};
use wasmill_config as config;
use wasmill_pipeline::version::Version;

use crate::handler::digest::short;
use crate::handler::file::{Look, look};

/// What the configuration asks for. What serves may be something else: a version that was swapped in by hand, or the one
/// before a version that was taken back.
pub(super) struct Configured {
    /// The pipeline's settings as they were last taken from the configuration. Of a handler from a registry there is
    /// nothing to look at: it counts as it was then.
    pub settings: config::Pipeline,
    /// The digest of the handler that was taken up with them.
    pub taken: String,
    seen: Option<Look>,
    /// The digest of the handler's file, as it was when it was last looked at.
    digest: String,
}

/// The version that runs is not the one that the configuration names: a restart brings that one back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The digest of the configuration's handler.
    pub configured: String,
    /// The digest of the version that serves, or that served before the restart.
    pub other: String,
    /// What to do about it.
    pub reason: String,
    /// How it came about.
    #[serde(default)]
    pub cause: Cause,
}

/// Why the version that serves is not the one that the configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Another version was swapped in, or the configured one was taken back.
    #[default]
    Swap,
    /// The file was built anew or replaced after the pipeline took its handler from it.
    File,
    /// A word of a later version.
    #[serde(untagged)]
    Other(String),
}

impl Configured {
    /// As the process started: with a handler of this digest.
    pub(super) fn new(settings: config::Pipeline, digest: String) -> Self {
        Self { seen: see(&settings.handler), settings, taken: digest.clone(), digest }
    }

    /// It has been taken up anew. `None`: which handler runs is not for it to say.
    pub(super) fn take(&mut self, settings: &config::Pipeline, digest: Option<&str>) {
        self.settings.clone_from(settings);
        self.seen = digest.and_then(|_| see(&settings.handler));
        if let Some(digest) = digest {
            digest.clone_into(&mut self.taken);
            digest.clone_into(&mut self.digest);
        }
    }

    /// Whether a restart of this pipeline would bring another handler than the one that serves.
    pub(super) fn drift(&mut self, name: &str, serving: &Version) -> Option<Drift> {
        let now = see(&self.settings.handler);
        if now != self.seen {
            // The file that is there now is what a restart would run.
            let most = self.settings.limits.component_bytes;
            if let Some(Ok(bytes)) = self.settings.handler.file().map(|path| config::file::read(path, most)) {
                self.digest = wasmill_wasm::digest(&bytes);
            }
            self.seen = now;
        }
        let serves = serving.digest();
        if self.digest == serves {
            return None;
        }
        let runs = if serving.epoch == 0 { "a restart runs" } else { "the configuration names" };
        let (named, handler) = (short(&self.digest), &self.settings.handler);
        let (served, source) = (short(serves), &serving.source);
        let (cause, reason) = if self.taken == serves {
            let reason = format!(
                "{handler} was built anew or replaced while {served} of it runs: {runs} {named}; hint: wasmill reload \
                 takes it up"
            );
            (Cause::File, reason)
        } else {
            let reason = format!(
                "{runs} {named} of {handler}, not {served} of {source}; hint: put the handler that serves where \
                 wasmill.toml looks for it, or wasmill swap {name} {handler}"
            );
            (Cause::Swap, reason)
        };
        Some(Drift { configured: self.digest.clone(), other: serves.to_owned(), reason, cause })
    }
}

/// A handler's file as it is now.
fn see(handler: &config::Handler) -> Option<Look> {
    handler.file().and_then(|path| look(path).ok())
}
