//! Settings of clients, and how they become librdkafka's properties.
//!
//! A user's properties come first and ours are written over them, so that none of the promises of this crate can be
//! configured away. What is ours is listed in [`wasmill_core::OWNED_PROPERTIES`] with the reason; the configuration refuses
//! those names before anything starts, and [`ClientSettings`] drops them should they still come. Whatever else a client sets
//! is a default that a user's own value replaces.

use std::collections::BTreeMap;
use std::time::Duration;
use wasmill_core::{Assignor, OutOfRange, Start, owned_property};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::error::ClientError;
use crate::token::TokenSource;

/// The property of the interval below.
pub(crate) const METADATA_INTERVAL: &str = "topic.metadata.refresh.interval.ms";
/// How often members and producers ask what their topics are like, in milliseconds: partitions that were added are known
/// that much later at most. librdkafka's default is five minutes.
pub(crate) const METADATA_INTERVAL_MS: &str = "5000";

/// What every client needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// `host:port`, several separated by commas.
    pub bootstrap: String,
    /// The name brokers log and quota by.
    pub client_id: String,
    /// librdkafka properties of the user, such as `security.protocol`.
    pub properties: BTreeMap<String, String>,
    /// Where tokens of SASL/OAUTHBEARER come from. Absent: from the properties, if they ask for unsecured ones.
    pub token: Option<TokenSource>,
}

/// One member of a group.
#[derive(Debug, Clone)]
pub struct MemberSettings {
    /// What every client of the process has.
    pub client: ClientSettings,
    /// The group's id.
    pub group: String,
    /// Topic names; one that begins with `^` is a pattern, as librdkafka reads it.
    pub topics: Vec<String>,
    /// Topics whose health is watched as well: those that are written to.
    pub watched_topics: Vec<String>,
    /// How partitions are shared out.
    pub assignor: Assignor,
    /// The group forgets a member it has not heard of for this long.
    pub session_timeout: Duration,
    /// How often the member is heard of.
    pub heartbeat_interval: Duration,
    /// A member that is not polled for this long leaves the group.
    pub max_poll_interval: Duration,
    /// How long a member that leaves waits for a rebalance that is under way. Its last commit has to wait as well: it would
    /// stand behind the request to join on the coordinator's connection, and be refused for its old generation. After that
    /// its partitions count as lost.
    pub leave_timeout: Duration,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// Where a group begins that has committed nothing.
    pub start: Start,
    /// What to do when the committed offset does not exist.
    pub out_of_range: OutOfRange,
    /// Bytes that may be held of each assigned partition ahead of us, decompressed.
    pub prefetch_bytes: u64,
    /// Bytes that a broker may put into one answer, as they are sent: perhaps compressed.
    pub fetch_bytes: u64,
}

impl Default for MemberSettings {
    fn default() -> Self {
        Self {
            client: ClientSettings::default(),
            group: String::new(),
            topics: Vec::new(),
            watched_topics: Vec::new(),
            assignor: Assignor::default(),
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            leave_timeout: Duration::from_secs(30),
            instance_id: None,
            start: Start::default(),
            out_of_range: OutOfRange::default(),
            prefetch_bytes: 16 << 20,
            fetch_bytes: 50 << 20,
        }
    }
}

impl ClientSettings {
    /// The user's properties with ours over them: what every client starts from.
    pub(crate) fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Asked of librdkafka at all times; what is shown is decided by the subscriber of `tracing`.
        config.set_log_level(RDKafkaLogLevel::Info);
        for (key, value) in &self.properties {
            // An alias set by the user beside our own name would be applied in no certain order.
            if owned_property(key).is_none() && key != UNSECURED {
                config.set(key, value);
            }
        }
        self.set_authorities(&mut config, |name| std::env::var_os(name).is_some());
        config.set("bootstrap.servers", &self.bootstrap).set("client.id", &self.client_id);
        // librdkafka's producers ask brokers to make a topic that is not there, with its first message or question. It
        // would have the broker's defaults: one partition instead of six, and deleted where it was compacted.
        config.set("allow.auto.create.topics", "false");
        if all_localhost(&self.bootstrap) {
            // `localhost` resolves to ::1 first, where a broker started with defaults does not listen: every connection
            // would begin with a refusal. A machine with IPv6 alone can say `[::1]:9092` or set the property.
            self.set_default(&mut config, "broker.address.family", "v4");
        }
        config
    }

    /// Has librdkafka look where systems keep the certificates that they trust. OpenSSL is in the binary, and would look where it
    /// was built. Properties go first, then the two variables that OpenSSL reads.
    fn set_authorities(&self, config: &mut ClientConfig, is_in_environment: impl Fn(&str) -> bool) {
        let named = self.properties.contains_key("ssl.ca.pem") || is_in_environment("SSL_CERT_FILE");
        if !named && !is_in_environment("SSL_CERT_DIR") {
            self.set_default(config, "ssl.ca.location", "probe");
        }
    }

    /// Where tokens come from; None if this login has none.
    pub(crate) fn tokens(&self) -> Option<TokenSource> {
        let property = |name: &str| self.properties.get(name).map(String::as_str);
        let mechanism = property("sasl.mechanism").or_else(|| property("sasl.mechanisms"))?;
        if !mechanism.eq_ignore_ascii_case("OAUTHBEARER") {
            return None;
        }
        let unsecured = || {
            let config = property("sasl.oauthbearer.config").unwrap_or_default();
            (property(UNSECURED) == Some("true")).then(|| TokenSource::Unsecured(config.to_owned()))
        };
        self.token.clone().or_else(unsecured)
    }

    /// What was damaged on a disk or on its way must not be handled as data. Who would rather have the time sets
    /// `check.crcs` to false.
    pub(crate) fn verify_checksums(&self, config: &mut ClientConfig) {
        self.set_default(config, "check.crcs", "true");
    }

    /// Sets what a user may set too, unless the user did.
    pub(crate) fn set_default(&self, config: &mut ClientConfig, name: &str, value: impl Into<String>) {
        if !self.properties.contains_key(name) {
            config.set(name, value);
        }
    }
}

/// librdkafka's maker of tokens without a signature. It is not passed on: see `token.rs`.
const UNSECURED: &str = "enable.sasl.oauthbearer.unsecure.jwt";

/// True if every bootstrap server is called `localhost`.
fn all_localhost(bootstrap: &str) -> bool {
    bootstrap.split(',').all(|server| {
        let server = server.trim();
        let host = server.rsplit_once("://").map_or(server, |(_, rest)| rest);
        host.rsplit_once(':').map_or(host, |(host, _)| host).eq_ignore_ascii_case("localhost")
    })
}

impl MemberSettings {
    /// librdkafka's configuration of this member.
    pub(crate) fn config(&self) -> Result<ClientConfig, ClientError> {
        for text in self.topics.iter().chain([&self.group]).chain(&self.instance_id) {
            if text.contains('\0') {
                return Err(ClientError::Nul { what: "a topic, group or instance name" });
            }
        }
        let mut config = self.client.base();
        self.client.verify_checksums(&mut config);
        let millis = |time: Duration| time.as_millis().clamp(1, i32::MAX as u128).to_string();
        config
            .set("group.id", &self.group)
            .set("session.timeout.ms", millis(self.session_timeout))
            .set("heartbeat.interval.ms", millis(self.heartbeat_interval))
            .set("max.poll.interval.ms", millis(self.max_poll_interval.max(self.session_timeout)))
            .set("partition.assignment.strategy", self.assignor.as_str())
            // The first position is ours to find. A position that stops existing later must be an error on the queue: a
            // silent jump loses or doubles messages.
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            // With it librdkafka would note what it handed out as processed.
            .set("enable.auto.offset.store", "false")
            // An end-of-partition entry moves the library's position one too far, and a pause keeps that (a message lost).
            .set("enable.partition.eof", "false")
            // The default is a second: that long a partition whose queue was full would stay without fetches.
            .set("fetch.queue.backoff.ms", "2")
            .set("queued.min.messages", "100000")
            .set("queued.max.messages.kbytes", (self.prefetch_bytes / 2048).clamp(64, 2_097_151).to_string())
            // The other half is for what a reader took from the queue and could not hand out yet. What is fetched may be many
            // times as large when it is decompressed, and the library fetches whenever its queue is below its bound: so a
            // fetch is a quarter. 64 KiB was 5 to 8 times slower.
            .set("fetch.message.max.bytes", (self.prefetch_bytes / 4).clamp(128 << 10, 4 << 20).to_string())
            .set("fetch.max.bytes", self.fetch_bytes.clamp(1 << 20, 50 << 20).to_string());
        if let Some(instance) = &self.instance_id {
            config.set("group.instance.id", instance);
        }
        self.client.set_default(&mut config, "isolation.level", "read_committed");
        self.client.set_default(&mut config, "fetch.min.bytes", "1");
        self.client.set_default(&mut config, "fetch.wait.max.ms", "100");
        self.client.set_default(&mut config, METADATA_INTERVAL, METADATA_INTERVAL_MS);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::ProducerSettings;
    use crate::{plain, stretches};
    use wasmill_core::{Clients, OWNED_PROPERTIES, OwnedProperty};

    fn client(bootstrap: &str, properties: &[(&str, &str)]) -> ClientSettings {
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ClientSettings { bootstrap: bootstrap.into(), client_id: "c".into(), properties, token: None }
    }

    fn member(properties: &[(&str, &str)]) -> ClientConfig {
        let client = client("broker:9092", properties);
        MemberSettings { client, group: "g".into(), ..MemberSettings::default() }.config().unwrap()
    }

    #[test]
    fn librdkafka_knows_and_takes_every_property_that_is_set() {
        member(&[]).create_native_config().unwrap();
        let sticky = MemberSettings {
            assignor: Assignor::CooperativeSticky,
            instance_id: Some("one".into()),
            ..MemberSettings::default()
        };
        sticky.config().unwrap().create_native_config().unwrap();
    }

    #[test]
    fn what_is_owned_cannot_be_set_by_a_user_not_even_by_its_other_name() {
        let config = member(&[("enable.auto.commit", "true"), ("auto.commit.enable", "true"), ("group.id", "other")]);
        assert_eq!(config.get("enable.auto.commit"), Some("false"));
        assert_eq!(config.get("auto.commit.enable"), None);
        assert_eq!(config.get("group.id"), Some("g"));
        assert_eq!(config.get("auto.offset.reset"), Some("error"));
    }

    #[test]
    fn every_name_that_is_owned_is_one_of_librdkafkas() {
        for OwnedProperty { name, reason, .. } in OWNED_PROPERTIES {
            if name.contains('*') || reason.contains("not a property of librdkafka") {
                continue;
            }
            // A name it does not know is told apart from a value it does not take.
            let mut config = ClientConfig::new();
            config.set(*name, "\u{1}");
            let told = config.create_native_config().err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!told.contains("No such configuration property"), "{name}");
        }
    }

    #[test]
    fn a_user_may_set_the_rest() {
        let config = member(&[("isolation.level", "read_uncommitted"), ("fetch.min.bytes", "7")]);
        assert_eq!(config.get("isolation.level"), Some("read_uncommitted"));
        assert_eq!(config.get("fetch.min.bytes"), Some("7"));
        assert_eq!(member(&[]).get("isolation.level"), Some("read_committed"));
    }

    #[test]
    fn what_a_fetch_holds_follows_the_memory_budget_whatever_a_user_sets() {
        for name in ["fetch.message.max.bytes", "max.partition.fetch.bytes"] {
            let config = member(&[(name, "70000")]);
            assert_eq!(config.get("fetch.message.max.bytes"), Some("4194304"), "{name}");
            assert_eq!(config.get("max.partition.fetch.bytes"), None, "the other name of the same property");
        }
    }

    /// Every kind of client, made with these properties.
    fn all_clients(properties: &[(&str, &str)]) -> [(Clients, ClientConfig); 5] {
        let settings = client("localhost:9092", properties);
        let instance_id = Some("one".into());
        let member = MemberSettings { client: settings.clone(), instance_id, ..MemberSettings::default() };
        let compression = Some("lz4".into());
        let (linger, buffer_bytes) = (Duration::from_millis(5), 64 << 20);
        let producer = ProducerSettings {
            client: settings.clone(),
            linger,
            compression,
            buffer_bytes,
            buffer_messages: 1000,
            restamps: true,
        };
        [
            (Clients::Consumer, member.config().unwrap()),
            (Clients::Producer, producer.config()),
            (Clients::Consumer, plain::reading(&settings)),
            (Clients::Producer, plain::producing(&settings, Duration::from_secs(30))),
            (Clients::Consumer, stretches::reading(&settings, 1)),
        ]
    }

    #[test]
    fn every_property_that_a_client_sets_is_owned_or_gives_way_to_the_users() {
        for (index, (kind, ours)) in all_clients(&[]).into_iter().enumerate() {
            for (name, value) in ours.config_map() {
                let theirs = all_clients(&[(name, "77")]);
                let set = theirs[index].1.get(name);
                match owned_property(name) {
                    Some(owned) => {
                        assert!([kind, Clients::All].contains(&owned.clients), "{name} is not one of a {kind:?}");
                        assert_eq!(set, Some(value), "{name} is owned and a user can set it");
                    }
                    None => assert_eq!(set, Some("77"), "{name} is not owned and a user cannot set it"),
                }
            }
        }
    }

    #[test]
    fn localhost_means_ipv4_unless_somebody_says_otherwise() {
        let family = |bootstrap, properties| {
            client(bootstrap, properties).base().get("broker.address.family").map(str::to_owned)
        };
        assert_eq!(family("localhost:9092, LOCALHOST:9093", &[]), Some("v4".into()));
        assert_eq!(family("localhost:9092,broker:9092", &[]), None);
        assert_eq!(family("[::1]:9092", &[]), None);
        assert_eq!(family("localhost:9092", &[("broker.address.family", "any")]), Some("any".into()));
    }

    #[test]
    fn the_system_s_certificates_count_unless_somebody_names_others() {
        let authorities = |properties: &[(&str, &str)], variable: &str| {
            let mut config = ClientConfig::new();
            client("b:1", properties).set_authorities(&mut config, |name| name == variable);
            config.get("ssl.ca.location").map(str::to_owned)
        };
        assert_eq!(authorities(&[], ""), Some("probe".into()));
        assert_eq!(authorities(&[], "SSL_CERT_FILE"), None);
        assert_eq!(authorities(&[], "SSL_CERT_DIR"), None);
        assert_eq!(authorities(&[("ssl.ca.location", "/ca.pem")], ""), None, "the user's own stands already");
        assert_eq!(authorities(&[("ssl.ca.pem", "PEM")], ""), None);
        let mut config = ClientConfig::new();
        config.set("ssl.ca.location", "probe").set("security.protocol", "ssl");
        config.create_native_config().expect("a value that librdkafka knows");
    }

    #[test]
    fn tokens_are_for_one_mechanism_and_a_source_of_ours_goes_before_librdkafkas() {
        let unsecured =
            [("sasl.mechanism", "OAUTHBEARER"), (UNSECURED, "true"), ("sasl.oauthbearer.config", "principal=a")];
        let mut settings = client("b:1", &unsecured);
        assert_eq!(settings.tokens(), Some(TokenSource::Unsecured("principal=a".into())));
        assert_eq!(settings.base().get(UNSECURED), None);
        settings.token = Some(TokenSource::File("token".into()));
        assert_eq!(settings.tokens(), Some(TokenSource::File("token".into())));
        settings.properties.insert("sasl.mechanism".into(), "PLAIN".into());
        assert_eq!(settings.tokens(), None);
    }

    #[test]
    fn a_nul_byte_is_refused_and_not_a_panic() {
        let settings = MemberSettings { group: "a\0b".into(), ..MemberSettings::default() };
        assert!(matches!(settings.config(), Err(ClientError::Nul { .. })));
    }
}
