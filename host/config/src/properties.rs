//! Properties passed through to librdkafka or to a handler. Values that look like secrets are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::{Serialize, Serializer};

/// What is shown in the place of a secret.
pub(crate) const MASK: &str = "(hidden)";

/// Names and values, in order of name. Reads like the map inside it; `Debug` and `Serialize` hide secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// The plain map, secrets included: for the client that needs them, never for showing.
    #[must_use]
    pub fn into_inner(self) -> BTreeMap<String, String> {
        self.0
    }

    /// Name and value as they may be shown.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), if is_secret(name) { MASK } else { value.as_str() }))
    }
}

impl Deref for Properties {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<BTreeMap<String, String>> for Properties {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self(map)
    }
}

impl FromIterator<(String, String)> for Properties {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.shown())
    }
}

/// Whether the value of this key is nobody's business: passwords, secrets, tokens, private keys and what carries them.
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    const PARTS: [&str; 8] = ["password", "passwd", "secret", "token", "credential", "key.pem", "api_key", "private"];
    PARTS.iter().any(|part| key.contains(part)) || key.starts_with("sasl.jaas") || key == "sasl.oauthbearer.config"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_what_looks_like_a_secret_and_shows_the_rest() {
        let secret = ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.jaas.config", "CLIENT_SECRET"];
        let open = ["security.protocol", "sasl.username", "ssl.ca.location", "ssl.key.location"];
        let all: Properties = secret.iter().chain(&open).map(|key| ((*key).to_owned(), "hunter2".to_owned())).collect();
        let shown: BTreeMap<_, _> = all.shown().collect();
        assert!(secret.iter().all(|key| shown[key] == MASK), "{shown:?}");
        assert!(open.iter().all(|key| shown[key] == "hunter2"), "{shown:?}");
        assert_eq!(format!("{all:?}").matches("hunter2").count(), open.len());
        assert_eq!(serde_json::to_string(&all).unwrap().matches("hunter2").count(), open.len());
        assert_eq!(all["sasl.password"], "hunter2");
    }
}
