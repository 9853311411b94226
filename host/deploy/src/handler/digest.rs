//! Digests for people.

/// As much of a digest as tells it from others.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
