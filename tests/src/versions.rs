//! Versions of one handler: the same code under as many digests as a test wants.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::mill::guest;

/// A version of a handler of `tests/guests`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its file.
    pub path: PathBuf,
    /// Its digest, whole.
    pub digest: String,
}

impl Version {
    /// Writes number `number` of a handler into `folder`: the handler with a section behind it that says the number and
    /// means nothing to anybody.
    ///
    /// # Errors
    /// The handler was not built, or the file cannot be written.
    pub fn write(folder: &Path, name: &str, number: u32) -> Result<Self> {
        let mut bytes = std::fs::read(guest(name)?)?;
        bytes.extend(custom_section("number", number.to_string().as_bytes()));
        let path = folder.join(format!("{name}-{number}.wasm"));
        std::fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, digest: digest(&bytes) })
    }

    /// As `stamp` writes it behind its values.
    pub fn stamp(&self) -> &str {
        &self.digest[..12]
    }

    /// The path, for a command line.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A custom section; name and data together have less than 128 bytes, so that a length is one byte.
fn custom_section(name: &str, data: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u8::try_from(bytes).ok().filter(|length| *length < 128).expect("short");
    let content = [&[length(name.len())], name.as_bytes(), data].concat();
    [&[0, length(content.len())], content.as_slice()].concat()
}
