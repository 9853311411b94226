//! Properties of clients, tried on the library that clients are made with: a misspelt name or a key whose password is
//! missing is a mistake of the file, with its place, and not a pipeline that fails when it starts.

use std::collections::BTreeMap;

use wasmill_core::Clients;

use crate::compound::At;
use crate::kind::nearest;
use crate::properties::is_secret;
use crate::raw::{Pairs, RawConfig, RawKafka};
use crate::report::Report;
use crate::table::Field;

/// What the library does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedProperty {
    /// It has no property of this name.
    Unknown {
        /// As it was written.
        name: String,
    },
    /// The property does not take this value.
    Value {
        /// The property.
        name: String,
        /// What the library says. It may quote the value.
        reason: String,
    },
    /// Each by itself is taken; no client can be made of all of them.
    Together {
        /// What the library says.
        reason: String,
    },
}

/// What is set most often, for whoever misspells it.
pub const COMMON: &[&str] = &[
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.method",
    "sasl.kerberos.service.name",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.pem",
    "ssl.key.password",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "broker.address.family",
    "client.rack",
    "client.dns.lookup",
    "debug",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "isolation.level",
    "metadata.max.age.ms",
    "reconnect.backoff.ms",
    "reconnect.backoff.max.ms",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "socket.connection.setup.timeout.ms",
    "batch.size",
    "batch.num.messages",
    "compression.level",
    "message.max.bytes",
    "retry.backoff.ms",
];

/// The library that clients are made with.
pub trait Library {
    /// Tries properties as a client of this kind would have them. Connects to nothing.
    fn refusals(&self, clients: Clients, properties: &BTreeMap<String, String>) -> Vec<RefusedProperty>;
}

/// Tries what each client of the file would be made with.
pub(crate) fn try_all(raw: &RawConfig, library: &dyn Library, report: &mut Report<'_>) {
    let Some(kafka) = &raw.kafka.value else { return };
    if !try_cluster(kafka, library, report) {
        // A pipeline's clients would fail for the same reason.
        return;
    }
    for At { value: (_, pipeline), .. } in raw.pipelines.value.as_deref().unwrap_or_default() {
        let output = pipeline.output.value.as_ref().map(|output| &output.properties);
        let own = [(Clients::Consumer, Some(&pipeline.properties)), (Clients::Producer, output)];
        for (clients, own) in own {
            let Some(own) = own.filter(|own| own.chosen().is_some_and(|pairs| !pairs.is_empty())) else { continue };
            attempt(clients, &[own, &kafka.properties], library, report);
        }
    }
}

/// Tries what all clients have. False: a mistake was found.
pub(crate) fn try_cluster(kafka: &RawKafka, library: &dyn Library, report: &mut Report<'_>) -> bool {
    kafka.properties.chosen().is_none()
        || [Clients::Consumer, Clients::Producer]
            .into_iter()
            .all(|clients| attempt(clients, &[&kafka.properties], library, report))
}

/// Tries the properties of these tables, the first of which wins.
fn attempt(clients: Clients, tables: &[&Field<Pairs>], library: &dyn Library, report: &mut Report<'_>) -> bool {
    let pairs = || tables.iter().rev().filter_map(|table| table.chosen()).flatten();
    let all: BTreeMap<_, _> = pairs().map(|pair| pair.value.clone()).collect();
    let refused = library.refusals(clients, &all);
    for one in &refused {
        let named = |name: &str| {
            // The last one: of the table that wins.
            pairs().rfind(|pair| pair.value.0 == name).map(|pair| pair.place.clone())
        };
        let (name, message, hint) = match one {
            RefusedProperty::Unknown { name } => {
                let known = nearest(name, COMMON.iter().copied());
                let hint = known.map(|known| format!("did you mean `{known}`?"));
                (Some(name.as_str()), format!("librdkafka has no property `{name}`"), hint)
            }
            RefusedProperty::Value { name, .. } if is_secret(name) => {
                (Some(name.as_str()), format!("`{name}` has a value that librdkafka does not take"), None)
            }
            RefusedProperty::Value { name, reason } => (Some(name.as_str()), format!("`{name}`: {reason}"), None),
            RefusedProperty::Together { reason } => {
                let told =
                    all.keys().map(String::as_str).filter(|name| reason.contains(name)).max_by_key(|name| name.len());
                let key = told.is_some_and(|name| name.starts_with("ssl.key"));
                // OpenSSL does not say that it needs one.
                let hint = key.then(|| match all.contains_key("ssl.key.password") {
                    true => "is `ssl.key.password` the right one?".to_owned(),
                    false => "if the key is encrypted, set `ssl.key.password`".to_owned(),
                });
                (told, format!("no client can be made with these properties: {reason}"), hint)
            }
        };
        // Without a name it is about the whole.
        let place = name.and_then(named).unwrap_or_else(|| tables[0].key.clone());
        let hint = hint.unwrap_or_else(|| "librdkafka's CONFIGURATION.md lists them, with what each takes".to_owned());
        report.error(&place, message, hint);
    }
    refused.is_empty()
}
