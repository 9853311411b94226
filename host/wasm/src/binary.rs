//! The bytes of a plugin: what kind of WebAssembly they are, and a component made of a core module.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Payload};

use crate::error::LoadError;
use crate::text;

/// Custom sections in which wit-bindgen leaves a core module's component type.
const COMPONENT_TYPE: &str = "component-type";
/// How every component and core module begins.
const MAGIC: &[u8] = b"\0asm";
/// Bytes of somebody else's error that are shown.
pub(crate) const REASON_BYTES: usize = 4 * 1024;
/// Bytes of a name in a plugin that are shown.
pub(crate) const NAME_BYTES: usize = 200;

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the bytes are.
pub(crate) enum Kind {
    /// A component.
    Component,
    /// A core module that says which world it was made for.
    Module,
}

/// Tells what the bytes are.
pub(crate) fn kind(bytes: &[u8]) -> Result<Kind, LoadError> {
    if !bytes.starts_with(MAGIC) {
        if bytes.is_empty() {
            return Err(LoadError::NotWasm("the file is empty".to_owned()));
        }
        let start = &bytes[..bytes.len().min(MAGIC.len())];
        return Err(LoadError::NotWasm(format!(
            "it begins with `{}`, not with `{}`",
            start.escape_ascii(),
            MAGIC.escape_ascii()
        )));
    }
    let not_wasm =
        |error: wasmparser::BinaryReaderError| LoadError::NotWasm(text::clean(error.message(), REASON_BYTES));
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        match payload.map_err(not_wasm)? {
            Payload::Version { encoding: Encoding::Component, .. } => return Ok(Kind::Component),
            Payload::CustomSection(section) if section.name().starts_with(COMPONENT_TYPE) => return Ok(Kind::Module),
            _ => {}
        }
    }
    Err(LoadError::NoComponentType)
}

/// Makes a component of a core module with an embedded component type.
pub(crate) fn encode(module: &[u8]) -> Result<Vec<u8>, LoadError> {
    guarded(|| {
        let encoder = wit_component::ComponentEncoder::default().validate(true).module(module)?;
        { encoder }.encode()
    })
    .map_err(LoadError::Encode)?
    .map_err(|error| LoadError::Encode(text::clean(&format!("{error:#}"), REASON_BYTES)))
}

/// Somebody else's parser over somebody else's bytes: if it panics, the plugin is refused and the process goes on.
pub(crate) fn guarded<T>(parse: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(parse)).map_err(|_| "the compiler failed on it".to_owned())
}
