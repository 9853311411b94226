//! Digests as registries write them.

use sha2::{Digest as _, Sha256};

/// `sha256:` and the SHA-256 of these bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

/// The SHA-256 of these bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
