//! Files with certificates and keys that clients read once, when they are made: whether they are still what they were.
//!
//! librdkafka keeps what it read. A certificate that was renewed on disk is of use to new clients only, which a reload makes.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;

use wasmill_kafka::ClientSettings;

/// Properties that name such a file.
const PROPERTIES: [&str; 5] =
    ["ssl.ca.location", "ssl.certificate.location", "ssl.crl.location", "ssl.key.location", "ssl.keystore.location"];
/// What is behind this is not looked at.
const LARGEST: u64 = 4 << 20;

/// What stood in the files at some time. A file that cannot be read, or is none, has no print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials(BTreeMap<&'static str, Option<u64>>);

impl Credentials {
    /// Reads them now.
    pub fn of(client: &ClientSettings) -> Self {
        let named = PROPERTIES.iter().filter_map(|name| Some((*name, client.properties.get(*name)?)));
        Self(named.map(|(name, path)| (name, print(path))).collect())
    }

    /// The properties whose files hold something else now. One that cannot be read now is left out: it may be half replaced,
    /// and nothing that worked is given up for it.
    pub fn replaced(&self, now: &Self) -> Vec<String> {
        let differs = |name: &&'static str| now.0[name].is_some() && self.0.get(name) != now.0.get(name);
        now.0.keys().copied().filter(|name| differs(name)).map(|name| format!("kafka.properties.{name}")).collect()
    }
}

fn print(path: &str) -> Option<u64> {
    let file = std::fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_something_else_is_named_and_one_that_is_gone_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("client.crt");
        let properties = BTreeMap::from([("ssl.certificate.location".to_owned(), path.display().to_string())]);
        let client = ClientSettings { properties, ..ClientSettings::default() };
        std::fs::write(&path, "old").expect("a file");
        let old = Credentials::of(&client);
        assert!(old.replaced(&Credentials::of(&client)).is_empty());
        std::fs::write(&path, "new").expect("a file");
        assert_eq!(old.replaced(&Credentials::of(&client)), ["kafka.properties.ssl.certificate.location"]);
        std::fs::remove_file(&path).expect("no file");
        assert!(old.replaced(&Credentials::of(&client)).is_empty());
    }
}
