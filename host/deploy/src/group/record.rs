//! What stands in a control topic: keys, and values in JSON.
//!
//! `GROUP/PIPELINE/ask/PROCESS/NUMBER` asks for a version, `…/decision/EPOCH/PROCESS-NUMBER` settles an ask, `…/said/PROCESS` is what a
//! process says of itself. `plugin/DIGEST/N` is a part of a component, `plugin/DIGEST` says how many there are.
//!
//! The topic is compacted: of records with one key only the last may be left. Who writes a key and how often is chosen so
//! that a reader of what is left comes to the same as one who read everything (see [`Accord`](super::accord::Accord)).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The form of the values. A record of another is passed over.
const FORMAT_VERSION: u64 = 1;

/// A version that the group runs or ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Where it was asked for; zero: it is the one that the initiator's configuration named, before any swap.
    pub epoch: u64,
    /// The digest of its component.
    pub digest: String,
    /// Where that came from, for people.
    pub source: String,
}

/// What is agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What everybody runs.
    pub current: Named,
    /// What was run before.
    pub previous: Option<Named>,
}

/// Somebody asks for a version. Its offset is the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The digest of the component that is wanted.
    pub digest: String,
    /// Where it came from.
    pub source: String,
    /// Who or what asked.
    pub by: String,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The epoch that was decided last, as far as the initiator had read. An ask that did not know of the last decision
    /// does not count.
    pub after: u64,
    /// What was agreed on then.
    pub standing: Standing,
}

/// An ask is settled. The first decision counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The epoch of the ask.
    pub epoch: u64,
    /// Everybody swaps; else nobody does.
    pub switched: bool,
    /// What is agreed on from now on. Whole, so that earlier records need not be kept.
    pub standing: Standing,
    /// Why nobody swaps.
    pub reason: Option<String>,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

/// What a process answers to an ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The epoch of the ask.
    pub epoch: u64,
    /// At which gate and why it refuses; `None`: it is ready.
    pub refused: Option<Refused>,
}

/// A gate that is shut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The gate that refused.
    pub gate: String,
    /// Why it refused, and what to do.
    pub reason: String,
}

/// What a process says of itself. Each time all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// One more each time.
    pub seq: u64,
    /// The epoch of the version that it runs.
    pub runs: u64,
    /// The ids of its members in the group.
    pub members: Vec<String>,
    /// To the last ask.
    pub answer: Option<Answer>,
    /// The first offsets that the version it runs got here: topic, partition, offset.
    pub firsts: Vec<(String, i32, i64)>,
    /// The longest that a lane of it stood still for the swap to this version, in microseconds.
    pub pause_us: u64,
}

/// How many parts a component has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Into how many records it is divided.
    pub parts: u32,
    /// Bytes of all.
    pub bytes: u64,
}

/// The key of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// [`Asked`], by process, and its number there: another process that deletes an ask of long ago must not hit a later one.
    Ask(String, u64),
    /// [`Decided`], by epoch and by process and number.
    Decision(u64, String),
    /// [`Said`], by process.
    Said(String),
    /// A part of a component.
    Part(String, u32),
    /// [`Manifest`].
    Manifest(String),
}

/// A pipeline of a group: its keys begin with this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(String);

impl Scope {
    /// The scope of a pipeline in its group.
    pub fn new(group: &str, pipeline: &str) -> Self {
        Self(format!("{group}/{pipeline}/"))
    }

    /// As Kafka has the key.
    pub fn encode(&self, key: &Key) -> Vec<u8> {
        let text = match key {
            Key::Ask(process, number) => format!("{}ask/{process}/{number}", self.0),
            Key::Decision(epoch, process) => format!("{}decision/{epoch}/{process}", self.0),
            Key::Said(process) => format!("{}said/{process}", self.0),
            Key::Part(digest, part) => format!("plugin/{digest}/{part}"),
            Key::Manifest(digest) => format!("plugin/{digest}"),
        };
        text.into_bytes()
    }

    /// A key of this pipeline or of a component; `None`: something else's.
    pub fn decode(&self, key: &[u8]) -> Option<Key> {
        let text = std::str::from_utf8(key).ok()?;
        if let Some(rest) = text.strip_prefix(&self.0) {
            let mut words = rest.split('/');
            let key = match (words.next()?, words.next()?) {
                ("ask", process) => Key::Ask(process.to_owned(), words.next()?.parse().ok()?),
                ("said", process) => Key::Said(process.to_owned()),
                ("decision", epoch) => Key::Decision(epoch.parse().ok()?, words.next()?.to_owned()),
                _ => return None,
            };
            return words.next().is_none().then_some(key);
        }
        let mut words = text.strip_prefix("plugin/")?.split('/');
        let digest = words.next()?.to_owned();
        let key = match words.next() {
            Some(part) => Key::Part(digest, part.parse().ok()?),
            None => Key::Manifest(digest),
        };
        words.next().is_none().then_some(key)
    }
}

/// The text of a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    value["format"] = FORMAT_VERSION.into();
    value.to_string().into_bytes()
}

/// Why a value means nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// A later wasmill wrote it.
    Format(u64),
    /// It is damaged, or somebody else's.
    Damaged(String),
}

/// Reads a value.
pub fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, Unread> {
    let value: Value = serde_json::from_slice(value).map_err(|error| Unread::Damaged(error.to_string()))?;
    match value["format"].as_u64() {
        Some(FORMAT_VERSION) => serde_json::from_value(value).map_err(|error| Unread::Damaged(error.to_string())),
        other => Err(Unread::Format(other.unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_those_of_others_are_nobody_s() {
        let scope = Scope::new("a/b", "orders");
        let process = "host-12-beef".to_owned();
        for key in [
            Key::Ask(process.clone(), 3),
            Key::Decision(7, process.clone()),
            Key::Said(process.clone()),
            Key::Part("ab12".to_owned(), 3),
            Key::Manifest("ab12".to_owned()),
        ] {
            assert_eq!(scope.decode(&scope.encode(&key)), Some(key));
        }
        let other = Scope::new("a", "b");
        for key in [Key::Ask(process.clone(), 3), Key::Decision(7, process.clone()), Key::Said(process)] {
            assert_eq!(other.decode(&scope.encode(&key)), None, "{key:?}");
        }
        for text in [
            "",
            "plugin/",
            "plugin/ab/x",
            "plugin/ab/1/2",
            "a/b/orders/decision/x/p",
            "a/b/orders/ask/p/q",
            "a/b/orders/said/p/q",
        ] {
            let key = scope.decode(text.as_bytes());
            assert!(key.is_none() || text == "plugin/", "{text}: {key:?}");
        }
    }

    #[test]
    fn a_value_of_a_later_form_is_told_from_a_damaged_one() {
        let manifest = Manifest { parts: 2, bytes: 5 };
        assert_eq!(decode::<Manifest>(&encode(&manifest)), Ok(manifest));
        let later = br#"{ "format": 2, "pieces": 2 }"#;
        assert_eq!(decode::<Manifest>(later), Err(Unread::Format(2)));
        assert!(matches!(decode::<Manifest>(br#"{ "format": 1 }"#), Err(Unread::Damaged(_))));
        assert!(matches!(decode::<Manifest>(b"\xff"), Err(Unread::Damaged(_))));
    }
}
