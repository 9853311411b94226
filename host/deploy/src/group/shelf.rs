//! Components in a control topic, in parts that a broker takes. Held by their places only: a component is read when it is
//! needed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use wasmill_core::Position;
use wasmill_kafka::ClientSettings;
use wasmill_kafka::plain::{Next, PlainConsumer, PlainMessage};

use super::record::{self, Key, Manifest, Scope};

/// Brokers take a message of a million bytes by default.
const PART_BYTES: usize = 900_000;

/// Where the parts of each component are.
#[derive(Default)]
pub struct Shelf {
    components: BTreeMap<String, Component>,
}

#[derive(Default)]
struct Component {
    /// With its offset.
    manifest: Option<(Manifest, u64)>,
    parts: BTreeMap<u32, u64>,
}

impl Component {
    fn is_whole(&self) -> bool {
        let Some((manifest, _)) = &self.manifest else { return false };
        (0..manifest.parts).all(|part| self.parts.contains_key(&part))
    }
}

impl Shelf {
    /// A part was read.
    pub fn part(&mut self, digest: String, part: u32, offset: u64) {
        self.components.entry(digest).or_default().parts.insert(part, offset);
    }

    /// A manifest was read.
    pub fn manifest(&mut self, digest: String, manifest: Manifest, offset: u64) {
        self.components.entry(digest).or_default().manifest = Some((manifest, offset));
    }

    /// A record was deleted.
    pub fn deleted(&mut self, key: &Key) {
        let digest = match key {
            Key::Part(digest, part) => {
                self.components.get_mut(digest).map(|component| component.parts.remove(part));
                digest
            }
            Key::Manifest(digest) => {
                if let Some(component) = self.components.get_mut(digest) {
                    component.manifest = None;
                }
                digest
            }
            _ => return,
        };
        if self
            .components
            .get(digest)
            .is_some_and(|component| component.manifest.is_none() && component.parts.is_empty())
        {
            self.components.remove(digest);
        }
    }

    /// Whether all of it is there.
    pub fn has(&self, digest: &str) -> bool {
        self.components.get(digest).is_some_and(Component::is_whole)
    }

    /// Where to find it.
    pub fn place(&self, digest: &str) -> Option<Place> {
        let component = self.components.get(digest).filter(|component| component.is_whole())?;
        let (manifest, offset) = component.manifest.as_ref()?;
        let first = component.parts.values().copied().min().unwrap_or(*offset);
        Some(Place { digest: digest.to_owned(), manifest: manifest.clone(), first })
    }

    /// Keys of components that were put there before `epoch` and are none of `kept`.
    pub fn outlived(&self, kept: &[&str], epoch: u64) -> Vec<Key> {
        let mut keys = Vec::new();
        for (digest, component) in &self.components {
            let places = component.parts.values().copied().chain(component.manifest.iter().map(|(_, offset)| *offset));
            if kept.contains(&digest.as_str()) || places.max().is_some_and(|last| last >= epoch) {
                continue;
            }
            // The manifest first: without it nobody looks for the parts.
            keys.extend(component.manifest.iter().map(|_| Key::Manifest(digest.clone())));
            keys.extend(component.parts.keys().map(|part| Key::Part(digest.clone(), *part)));
        }
        keys
    }
}

/// Where a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    digest: String,
    manifest: Manifest,
    first: u64,
}

impl Place {
    /// Reads it. Whatever was tampered with or is missing is an error: the digest is that of what was asked for.
    pub fn fetch(
        &self,
        client: &ClientSettings,
        topic: &str,
        scope: &Scope,
        timeout: Duration,
    ) -> anyhow::Result<Vec<u8>> {
        let gone = || format!("component {} is not in the control topic {topic} any more", self.digest);
        let deadline = Instant::now() + timeout;
        let mut consumer = PlainConsumer::open(client, topic, &[0], Position::Offset(self.first as i64), timeout)?;
        let mut parts: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        while parts.len() < self.manifest.parts as usize {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "component {} was not read within {timeout:?}", self.digest);
            match consumer.next(left)? {
                Next::Message(message) => {
                    let key = scope.decode(&message.key.unwrap_or_default());
                    if let (Some(Key::Part(digest, part)), Some(bytes)) = (key, message.value)
                        && digest == self.digest
                    {
                        parts.insert(part, bytes);
                    }
                }
                Next::End => break,
                Next::Nothing => {}
            }
        }
        ensure!(parts.keys().copied().eq(0..self.manifest.parts), gone());
        let bytes: Vec<u8> = parts.into_values().flatten().collect();
        let found = wasmill_wasm::digest(&bytes);
        ensure!(
            found == self.digest,
            "the component in the control topic {topic} is not the one that was named: {found} instead of {}",
            self.digest
        );
        Ok(bytes)
    }
}

/// The messages that put a component into a topic: its parts, then how many there are.
pub fn messages(topic: &str, scope: &Scope, bytes: &[u8]) -> anyhow::Result<Vec<PlainMessage>> {
    let digest = wasmill_wasm::digest(bytes);
    let message = |key: Key, value: Vec<u8>| PlainMessage {
        topic: topic.to_owned(),
        partition: 0,
        key: Some(scope.encode(&key)),
        value: Some(value),
        ..PlainMessage::default()
    };
    let mut messages = Vec::new();
    for (part, bytes) in bytes.chunks(PART_BYTES).enumerate() {
        let part = u32::try_from(part).context("a component of more parts than there are numbers")?;
        messages.push(message(Key::Part(digest.clone(), part), bytes.to_vec()));
    }
    let manifest = Manifest { parts: messages.len() as u32, bytes: bytes.len() as u64 };
    messages.push(message(Key::Manifest(digest), record::encode(&manifest)));
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_kafka::mock::MockBroker;
    use wasmill_kafka::plain::PlainProducer;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn put(shelf: &mut Shelf, scope: &Scope, messages: &[PlainMessage], from: u64) {
        for (offset, message) in (from..).zip(messages) {
            match scope.decode(message.key.as_deref().expect("a key")).expect("a key of ours") {
                Key::Part(digest, part) => shelf.part(digest, part, offset),
                Key::Manifest(digest) => {
                    let manifest = record::decode(message.value.as_deref().expect("a value")).expect("a manifest");
                    shelf.manifest(digest, manifest, offset);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_component_comes_back_whole_or_not_at_all() {
        let broker = MockBroker::start(1).expect("a broker");
        broker.create_topic("control", 1).expect("a topic");
        let client = ClientSettings { bootstrap: broker.bootstrap().to_owned(), ..ClientSettings::default() };
        let scope = Scope::new("group", "pipeline");
        let bytes: Vec<u8> = (0..2 * PART_BYTES + 5).map(|at| (at % 251) as u8).collect();
        let digest = wasmill_wasm::digest(&bytes);
        let mut messages = messages("control", &scope, &bytes).expect("messages");
        assert_eq!(messages.len(), 4);
        let mut producer = PlainProducer::open(&client, TIMEOUT).expect("a producer");
        let mut shelf = Shelf::default();
        for sent in producer.send(&messages) {
            sent.expect("sent");
        }
        put(&mut shelf, &scope, &messages[..3], 0);
        assert!(!shelf.has(&digest) && shelf.place(&digest).is_none(), "without its manifest nobody knows its end");
        put(&mut shelf, &scope, &messages, 0);
        let fetch = |shelf: &Shelf| shelf.place(&digest).expect("a place").fetch(&client, "control", &scope, TIMEOUT);
        assert_eq!(fetch(&shelf).expect("the component"), bytes);
        // Somebody else writes into the topic.
        messages[1].value.as_mut().expect("a value")[7] ^= 1;
        for sent in producer.send(&messages) {
            sent.expect("sent");
        }
        put(&mut shelf, &scope, &messages, 4);
        let error = fetch(&shelf).expect_err("another component").to_string();
        assert!(error.contains("is not the one that was named"), "{error}");
        assert_eq!(shelf.outlived(&[&digest], 100), []);
        assert_eq!(shelf.outlived(&["other"], 3), [], "somebody may be about to ask for it");
        let keys = shelf.outlived(&["other"], 100);
        assert_eq!((keys.len(), &keys[0]), (4, &Key::Manifest(digest.clone())));
        keys.iter().for_each(|key| shelf.deleted(key));
        assert!(!shelf.has(&digest));
    }
}
