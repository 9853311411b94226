//! Properties of a client, tried before a client is needed: librdkafka is asked to take each of them, and to make a client
//! of all. It connects to nothing, since it is told of no broker.

use std::collections::BTreeMap;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaConfRes;
use wasmill_core::{Clients, owned_property};

/// What librdkafka does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyRefusal {
    /// It has no property of this name.
    Unknown {
        /// As it was given.
        name: String,
    },
    /// The property does not take this value.
    Value {
        /// The property.
        name: String,
        /// librdkafka's reason. It may quote the value.
        reason: String,
    },
    /// No client can be made of all of them.
    Together {
        /// librdkafka's reason.
        reason: String,
    },
}

/// Tries a user's properties as those of consumers or of producers.
pub fn refusals(clients: Clients, properties: &BTreeMap<String, String>) -> Vec<PropertyRefusal> {
    // Those that are ours never reach a client, and are refused elsewhere.
    let theirs = || properties.iter().filter(|(name, _)| owned_property(name).is_none());
    let refused: Vec<_> = theirs().filter_map(|(name, value)| refusal(name, value)).collect();
    if !refused.is_empty() {
        return refused;
    }
    let mut config = ClientConfig::new();
    for (name, value) in theirs() {
        config.set(name, value);
    }
    let made = match clients {
        Clients::Consumer | Clients::All => {
            BaseConsumer::from_config_and_context(config.set("group.id", "wasmill-check"), Silent).map(drop)
        }
        Clients::Producer => BaseProducer::from_config_and_context(&config, Silent).map(drop),
    };
    made.err().map(|error| PropertyRefusal::Together { reason: reason(error) }).into_iter().collect()
}

/// Why one is not taken by itself.
fn refusal(name: &str, value: &str) -> Option<PropertyRefusal> {
    let name = name.to_owned();
    match ClientConfig::new().set(&name, value).create_native_config().err()? {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => Some(PropertyRefusal::Unknown { name }),
        error => Some(PropertyRefusal::Value { name, reason: reason(error) }),
    }
}

fn reason(error: KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, text, ..) | KafkaError::ClientCreation(text) => text.trim().to_owned(),
        other => other.to_string(),
    }
}

/// What such a client logs is said as a refusal.
struct Silent;

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Silent {}

impl ProducerContext for Silent {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A private key that is encrypted under the password `secret`.
    const KEY: &str = include_str!("../tests/encrypted-key.pem");

    fn tried(clients: Clients, pairs: &[(&str, &str)]) -> Vec<PropertyRefusal> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        refusals(clients, &pairs.collect())
    }

    #[test]
    fn a_misspelt_name_and_a_bad_value_are_refused_and_a_good_one_is_not() {
        for clients in [Clients::Consumer, Clients::Producer] {
            let unknown = PropertyRefusal::Unknown { name: "security.protocl".to_owned() };
            assert_eq!(tried(clients, &[("security.protocl", "ssl")]), [unknown]);
            let [PropertyRefusal::Value { name, reason }] = &tried(clients, &[("security.protocol", "tls")])[..] else {
                panic!("no refusal of a value");
            };
            assert!(name == "security.protocol" && reason.contains("security.protocol"), "{reason}");
            assert_eq!(tried(clients, &[("security.protocol", "ssl"), ("socket.timeout.ms", "1000")]), []);
        }
    }

    #[test]
    fn a_key_whose_password_is_missing_is_found_by_making_a_client() {
        let folder = std::env::temp_dir().join(format!("wasmill-key-{}", std::process::id()));
        std::fs::write(&folder, KEY).expect("a key");
        let path = folder.display().to_string();
        let pairs = [("security.protocol", "ssl"), ("ssl.key.location", path.as_str())];
        let without = tried(Clients::Producer, &pairs);
        let with = tried(Clients::Producer, &[&pairs[..], &[("ssl.key.password", "secret")]].concat());
        std::fs::remove_file(&folder).expect("the key goes");
        let [PropertyRefusal::Together { reason }] = &without[..] else { panic!("{without:?}") };
        assert!(reason.contains("ssl.key.location"), "{reason}");
        // With it the key is read, and the certificate that belongs to it is the next thing that is missing.
        let [PropertyRefusal::Together { reason }] = &with[..] else { panic!("{with:?}") };
        assert!(reason.contains("no certificate"), "{reason}");
    }
}
