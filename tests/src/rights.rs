//! What an administrator does, through Kafka's own client: ACLs, quotas, configuration, partitions.
//!
//! A call returns when the broker that the eye talks to goes by it. Others of a cluster follow within milliseconds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::eye::Eye;

/// What an ACL is about. A name that ends with `*` stands for all that begin so, `*` alone for all.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// A topic.
    Topic(&'a str),
    /// A consumer group.
    Group(&'a str),
    /// A transactional id.
    TransactionalId(&'a str),
    /// The cluster.
    Cluster,
}

impl Resource<'_> {
    fn json(self, user: &str) -> Value {
        let (kind, name) = match self {
            Self::Topic(name) => ("TOPIC", name),
            Self::Group(name) => ("GROUP", name),
            Self::TransactionalId(name) => ("TRANSACTIONAL_ID", name),
            Self::Cluster => ("CLUSTER", "kafka-cluster"),
        };
        let begin = name.strip_suffix('*').filter(|begin| !begin.is_empty());
        json!({
            "type": kind, "name": begin.unwrap_or(name), "prefixed": begin.is_some(), "principal": format!("User:{user}"),
        })
    }
}

impl Eye {
    /// Allows a user operations: `Read`, `Write`, `Describe`, `DescribeConfigs`, `Create`, `Delete`, `Alter`, `All`, ...
    ///
    /// # Errors
    /// As all of these: what Kafka says.
    pub fn allow(&self, user: &str, resource: Resource<'_>, operations: &[&str]) -> Result<()> {
        self.acl(user, resource, operations, "ALLOW")
    }

    /// Denies a user operations, whatever is allowed.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn deny(&self, user: &str, resource: Resource<'_>, operations: &[&str]) -> Result<()> {
        self.acl(user, resource, operations, "DENY")
    }

    /// Takes all ACLs of a user on a resource away, those that allow and those that deny.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn remove_acls(&self, user: &str, resource: Resource<'_>) -> Result<()> {
        self.call("acl_remove", resource.json(user)).map(drop)
    }

    fn acl(&self, user: &str, resource: Resource<'_>, operations: &[&str], permission: &str) -> Result<()> {
        let mut request = resource.json(user);
        request["operations"] = json!(operations);
        request["permission"] = json!(permission);
        self.call("acl_add", request).map(drop)
    }

    /// Sets quotas of a user, such as `consumer_byte_rate`; `None` takes one away.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn quota(&self, user: &str, quotas: &[(&str, Option<f64>)]) -> Result<()> {
        let quotas: BTreeMap<_, _> = quotas.iter().copied().collect();
        self.call("quota", json!({ "user": user, "quotas": quotas })).map(drop)
    }

    /// Changes a topic's configuration; `None` takes an entry away.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn configure_topic(&self, topic: &str, config: &[(&str, Option<&str>)]) -> Result<()> {
        let config: BTreeMap<_, _> = config.iter().copied().collect();
        self.call("configure", json!({ "topic": topic, "config": config })).map(drop)
    }

    /// Changes what brokers take while they run, such as `message.max.bytes`; `None` takes an entry away.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn configure_brokers(&self, config: &[(&str, Option<&str>)]) -> Result<()> {
        let config: BTreeMap<_, _> = config.iter().copied().collect();
        self.call("configure", json!({ "config": config })).map(drop)
    }

    /// Gives a topic more partitions, `total` in the end.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn add_partitions(&self, topic: &str, total: u32) -> Result<()> {
        self.call("add_partitions", json!({ "topic": topic, "total": total })).map(drop)
    }

    /// Makes a topic whose partitions lie on these nodes, the first of which leads: `&[&[1, 2], &[2, 1]]`, as many for each.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn create_topic_on(&self, topic: &str, replicas: &[&[u32]], config: &[(&str, &str)]) -> Result<()> {
        let config: BTreeMap<_, _> = config.iter().copied().collect();
        self.call("create_assigned", json!({ "topic": topic, "replicas": replicas, "config": config })).map(drop)
    }

    /// The node that leads each partition of a topic; -1: none does.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn leaders(&self, topic: &str) -> Result<Vec<i32>> {
        serde_json::from_value(self.call("leaders", json!({ "topic": topic }))?).context("the reply to leaders")
    }

    /// Waits until these nodes lead.
    ///
    /// # Errors
    /// They did not in time.
    pub fn wait_leaders(&self, topic: &str, expected: &[i32], timeout: Duration) -> Result<()> {
        let end = Instant::now() + timeout;
        loop {
            let leaders = self.leaders(topic);
            if matches!(&leaders, Ok(leaders) if leaders == expected) {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("the partitions of {topic} are led by {leaders:?} and not {expected:?} after {timeout:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
