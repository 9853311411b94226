//! Where a handler comes from: a file, or an artifact in a registry.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::refusal::{Refusal, path, refusal};

/// What the reference of an artifact begins with.
const SCHEME: &str = "oci://";
/// The hosts of this machine: the only ones that are spoken to without TLS, since nobody is between.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
const NAME_CHARS: usize = 255;
const TAG_CHARS: usize = 128;
/// SHA-256 in hexadecimal.
const DIGEST_CHARS: usize = 64;

/// Where a handler comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Handler {
    /// A file, joined to the folder of the configuration.
    File(PathBuf),
    /// An artifact in a registry.
    Oci(OciReference),
}

impl Handler {
    /// The path, if it is a file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Oci(_) => None,
        }
    }

    pub(crate) fn joined(&self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            Self::Oci(_) => self.clone(),
        }
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Oci(reference) => reference.fmt(f),
        }
    }
}

impl FromStr for Handler {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        parse(text).map_err(|(problem, hint)| BadReference { problem, hint })
    }
}

/// Why a text names no handler. It does not repeat the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; hint: {hint}")]
pub struct BadReference {
    /// What is wrong, to be read after the text: `has no name after the host`.
    pub problem: String,
    /// What to write instead.
    pub hint: String,
}

/// `oci://host[:port]/name[:tag][@sha256:digest]`, with a tag or a digest. With a digest it always means the same bytes,
/// and the tag counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OciReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl OciReference {
    /// `host` or `host:port`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name within the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// What it is called; somebody may give another artifact that name at any time.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of its manifest, `sha256:` and 64 digits.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The registry is on this machine, and is spoken to without TLS.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        LOOPBACK.contains(&host_of(&self.registry))
    }

    /// The same name with a digest and no tag.
    #[must_use]
    pub fn pinned(&self, digest: &str) -> Self {
        Self { tag: None, digest: Some(digest.to_owned()), ..self.clone() }
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for OciReference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        let parsed = match text.strip_prefix(SCHEME) {
            Some(rest) => reference(rest),
            None => refusal(format!("does not begin with `{SCHEME}`"), format!("write `{SCHEME}host/name:tag`")),
        };
        parsed.map_err(|(problem, hint)| BadReference { problem, hint })
    }
}

/// Reads what `handler` may be: a path or a reference.
pub(crate) fn parse(text: &str) -> Result<Handler, Refusal> {
    if let Some(rest) = text.strip_prefix(SCHEME) {
        return reference(rest).map(Handler::Oci);
    }
    if text.contains("://") {
        return refusal("is not a path", format!("write a path, or `{SCHEME}host/name:tag` for a registry"));
    }
    path(text).map(Handler::File)
}

fn reference(text: &str) -> Result<OciReference, Refusal> {
    let Some((registry, rest)) = text.split_once('/') else {
        return refusal("has no name after the host", format!("write `{SCHEME}host/name:tag`"));
    };
    if registry.contains('@') {
        return refusal("has a user in it", "`docker login` keeps users and passwords; write the host alone");
    }
    registry_name(registry)?;
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(checked_digest(digest)?)),
        None => (rest, None),
    };
    let (name, tag) = match rest.split_once(':') {
        Some((name, tag)) => (name, Some(checked_tag(tag)?)),
        None => (rest, None),
    };
    repository(name)?;
    if tag.is_none() && digest.is_none() {
        // No `latest` in its place: what runs would depend on who pushed last, without a word of it in the file.
        return refusal("says nothing of the version", "append `:TAG`, or `@sha256:DIGEST` for always the same bytes");
    }
    Ok(OciReference { registry: registry.to_owned(), repository: name.to_owned(), tag, digest })
}

fn host_of(registry: &str) -> &str {
    let after_bracket = registry.find(']').unwrap_or(0);
    registry[after_bracket..].find(':').map_or(registry, |colon| &registry[..after_bracket + colon])
}

fn registry_name(registry: &str) -> Result<(), Refusal> {
    let host = host_of(registry);
    let is_ip = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
    let good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => is_ip(address),
        None => {
            !host.is_empty()
                && !host.starts_with(['-', '.'])
                && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
        }
    };
    if !good {
        return refusal("has no good host", format!("write `{SCHEME}host/name:tag`, or `{SCHEME}host:port/name:tag`"));
    }
    let port = registry[host.len()..].strip_prefix(':');
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return refusal("has no port from 1 to 65535 after the host's `:`", format!("write `{SCHEME}{host}/name:tag`"));
    }
    Ok(())
}

fn repository(name: &str) -> Result<(), Refusal> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let part = |part: &str| {
        part.starts_with(inner)
            && part.ends_with(inner)
            && part.chars().all(|c| inner(c) || matches!(c, '.' | '_' | '-'))
    };
    if name.len() > NAME_CHARS {
        return refusal(format!("has a name of {} characters", name.len()), format!("write at most {NAME_CHARS}"));
    }
    if name.chars().any(|c| c.is_ascii_uppercase()) {
        return refusal("has capitals in its name", format!("write `{}`", name.to_ascii_lowercase()));
    }
    if !name.split('/').all(part) {
        return refusal(
            format!("has `{name}` for a name"),
            "a name is of `a-z 0-9 . _ -`, with `/` between its parts, each of which begins and ends with a letter or digit",
        );
    }
    Ok(())
}

fn checked_tag(tag: &str) -> Result<String, Refusal> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if tag.is_empty() || tag.len() > TAG_CHARS || tag.starts_with(['.', '-']) || !tag.chars().all(good) {
        let hint = format!("a tag is 1 to {TAG_CHARS} of `A-Z a-z 0-9 . _ -` and begins with neither `.` nor `-`");
        return refusal(format!("has {tag:?} for a tag"), hint);
    }
    Ok(tag.to_owned())
}

fn checked_digest(digest: &str) -> Result<String, Refusal> {
    let hint = format!("write `@sha256:` and its {DIGEST_CHARS} digits; `wasmill push` and `wasmill pull` print them");
    let Some(digits) = digest.strip_prefix("sha256:") else {
        return refusal(format!("has {digest:?} for a digest"), hint);
    };
    if digits.len() != DIGEST_CHARS || !digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
        return refusal("has a digest that is not one of SHA-256", hint);
    }
    Ok(digest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn parsed(text: &str) -> OciReference {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_reference_is_shown_as_it_was_typed_and_has_its_parts() {
        let one = parsed("oci://ghcr.io/acme/orders/mask:1.2");
        let parts = (one.registry(), one.repository(), one.tag(), one.digest());
        assert_eq!(parts, ("ghcr.io", "acme/orders/mask", Some("1.2"), None));
        let two = parsed(&format!("oci://localhost:5000/mask@{DIGEST}"));
        let parts = (two.registry(), two.repository(), two.tag(), two.digest());
        assert_eq!(parts, ("localhost:5000", "mask", None, Some(DIGEST)));
        let both = parsed(&format!("oci://[::1]:5000/a__b/c-d:T_1@{DIGEST}"));
        assert_eq!((both.tag(), both.digest()), (Some("T_1"), Some(DIGEST)));
        assert_eq!(one.pinned(DIGEST).to_string(), format!("oci://ghcr.io/acme/orders/mask@{DIGEST}"));
        for typed in ["oci://a/b:c".to_owned(), one.to_string(), two.to_string(), both.to_string()] {
            assert_eq!(parsed(&typed).to_string(), typed);
        }
    }

    #[test]
    fn only_the_hosts_of_this_machine_are_loopback() {
        for (host, is_loopback) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]", true),
            ("[::1]:5000", true),
            ("127.0.0.2:5000", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com:80", false),
            ("registry:5000", false),
            ("[::2]:5000", false),
        ] {
            assert_eq!(parsed(&format!("oci://{host}/a:b")).is_loopback(), is_loopback, "{host}");
        }
    }

    #[test]
    fn a_mistake_says_which_and_what_to_write() {
        for (text, problem) in [
            ("oci://host", "has no name after the host"),
            ("oci://host/name", "says nothing of the version"),
            ("oci://host/Name:1", "has capitals in its name"),
            ("oci://user:pass@host/name:1", "has a user in it"),
            ("oci://host:99999/name:1", "has no port from 1 to 65535"),
            ("oci://host:/name:1", "has no port from 1 to 65535"),
            ("oci://[::1/name:1", "has no good host"),
            ("oci://[::1]x/name:1", "has no good host"),
            ("oci://host/a/../b:1", "has `a/../b` for a name"),
            ("oci://host/name:-x", "has \"-x\" for a tag"),
            ("oci://host/name:1@sha512:00", "has \"sha512:00\" for a digest"),
            ("oci://host/name@sha256:ABC", "is not one of SHA-256"),
            ("http://host/name:1", "is not a path"),
            ("", "is empty"),
        ] {
            let error = text.parse::<Handler>().expect_err(text);
            assert!(error.problem.contains(problem), "{text}: {error}");
            assert!(!error.hint.is_empty(), "{text}");
        }
        assert!("a.wasm".parse::<OciReference>().unwrap_err().problem.contains("does not begin with `oci://`"));
        assert_eq!("a.wasm".parse::<Handler>().unwrap().file(), Some(Path::new("a.wasm")));
    }
}
