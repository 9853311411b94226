//! What there is to find of a pipeline's [conditions](crate::conditions) at one look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use wasmill_core::partition::{Reason, State};
use wasmill_kafka::{MemberHandle, TopicHealth, TopicPartition};

use crate::clock;
use crate::conditions::{Code, Condition, Found};
use crate::handle::Handle;
use crate::member::MemberShared;

/// They are asked every three seconds.
const SILENT_BROKERS: Duration = Duration::from_secs(12);

impl Handle {
    /// What keeps the pipeline from its work or endangers it at this moment. The log hears of what is new and what is over.
    pub fn conditions(&self) -> Vec<Condition> {
        let now = clock::now();
        self.shared.conditions.observe(&self.shared.name, now, || self.find(now))
    }

    fn find(&self, now: Instant) -> Vec<Found> {
        let shared = &self.shared;
        let mut found = Vec::new();
        if let Some(reason) = shared.hold_reason() {
            found.push(Found::new(Code::BreakerOpen, "", reason));
        }
        if shared.is_suspended() {
            let reason = "the version in force was found bad; the one before is on its way back";
            found.push(Found::new(Code::VersionSuspended, "", reason));
        }
        if let Some(rest) = shared.producer_rest() {
            let next = rest.until.saturating_duration_since(now).as_millis();
            let (failures, reason) = (rest.failures, rest.reason);
            let text = format!("producer failed ({failures} in a row): {reason}; the next one takes over in {next} ms");
            found.push(self.with_remedy(Found::new(Code::ProducerFailed, "", text), ""));
        }
        let mut topics = BTreeMap::new();
        for member in self.members.iter() {
            if let Some(client) = member.handle() {
                topics.extend(client.topics());
                self.find_of_client(member, &client, now, &mut found);
            }
            self.find_of_member(member, &mut found);
        }
        self.find_of_lanes(&mut found);
        self.find_of_partitions(&topics, now, &mut found);
        found
    }

    fn find_of_client(&self, member: &MemberShared, client: &MemberHandle, now: Instant, found: &mut Vec<Found>) {
        if let Some(silent) = client.brokers_silent_for().filter(|silent| *silent > SILENT_BROKERS) {
            let since = now.checked_sub(silent);
            let reason = match member.trouble() {
                Some(trouble) => format!("no broker has answered; the client says: {trouble}"),
                None => "no broker has answered".to_owned(),
            };
            let hint = "is the cluster up, and `bootstrap` in [kafka] its address?";
            let subject = format!("member {}", member.index);
            found.push(Found::new(Code::BrokersUnreachable, subject, reason).hint(hint).since(since));
        }
        for (id, waiting) in client.waiting() {
            let one =
                Found::new(Code::PartitionWaits, id.to_string(), format!("cannot be read yet: {}", waiting.reason));
            found.push(self.with_remedy(one, &id.topic).since(Some(waiting.since)));
        }
    }

    fn find_of_member(&self, member: &MemberShared, found: &mut Vec<Found>) {
        let subject = format!("member {}", member.index);
        if !member.has_joined() {
            let trouble = member.trouble().map_or(String::new(), |trouble| format!(": {trouble}"));
            let one = Found::new(Code::NotJoined, subject.clone(), format!("it is not in the group{trouble}"));
            found.push(self.with_remedy(one, ""));
        }
        if let Some((reason, since)) = member.delivery.failing() {
            let one = Found::new(Code::CommitsFail, subject, format!("offsets cannot be committed: {reason}"));
            let topics = self.shared.started_with.topics.join(", ");
            found.push(self.with_remedy(one, &topics).since(Some(since)));
        }
        for topic in member.topics_gone() {
            let text = format!("topic {topic} was deleted; the pipeline goes on once it is made again");
            found.push(Found::new(Code::TopicMissing, format!("topic {topic}"), text));
        }
    }

    fn find_of_lanes(&self, found: &mut Vec<Found>) {
        for lane in self.lanes.all() {
            if let Some(trouble) = lane.trouble.lock().clone() {
                found.push(Found::new(Code::HandlerFails, format!("lane {}", lane.index), trouble));
            }
        }
    }

    fn find_of_partitions(&self, topics: &BTreeMap<String, TopicHealth>, now: Instant, found: &mut Vec<Found>) {
        let mut held = BTreeSet::new();
        for partition in self.members.iter().flat_map(|member| member.delivery.holdings.all()) {
            let subject = partition.id.to_string();
            held.insert(partition.id.clone());
            let (view, since, input) = {
                let machine = partition.lock();
                let since = machine.holds().first().map(|hold| hold.since);
                (machine.view(), since, machine.holds().get(Reason::AwaitInput).is_some())
            };
            let reason = view.reason.unwrap_or_default();
            let at = view.offset.map_or(String::new(), |offset| format!(" at {offset}"));
            match view.state {
                State::Stopped => {
                    let name = &self.shared.name;
                    let hint =
                        format!("`wasmill resume {name}` tries again, `wasmill skip {name}` passes over a message");
                    let one = Found::new(
                        Code::PartitionStopped,
                        &*subject,
                        format!("partition {subject} stopped{at}: {reason}"),
                    );
                    found.push(one.hint(hint).since(since));
                }
                // A message that waits for its next attempt is everyday life.
                State::Waiting if view.attempt.is_none() => {
                    let one =
                        Found::new(Code::PartitionWaits, &*subject, format!("partition {subject} waits{at}: {reason}"));
                    let topic = if input { partition.id.topic.to_string() } else { self.outputs().join(", ") };
                    found.push(self.with_remedy(one, &topic).since(since));
                }
                State::Starting => {
                    let text = format!("the first position of partition {subject} is not committed yet");
                    found.push(Found::new(Code::PartitionStarts, &*subject, text));
                }
                State::Running if self.is_leaderless(&partition.id, topics) => {
                    let text =
                        format!("partition {subject} has no leader; it goes on once a broker that has it is back");
                    found.push(Found::new(Code::PartitionWaits, &*subject, text));
                }
                State::Running | State::Waiting | State::Paused | State::Behind | State::Closed => {}
            }
            if let Some(since) = self.shared.unconfirmed.look(&partition, now) {
                let text = format!("outputs of partition {subject} are not confirmed{}", self.why_unconfirmed(topics));
                found.push(Found::new(Code::OutputsUnconfirmed, subject, text).since(Some(since)));
            }
        }
        self.shared.unconfirmed.keep(&held);
    }

    fn is_leaderless(&self, id: &TopicPartition, topics: &BTreeMap<String, TopicHealth>) -> bool {
        topics.get(&*id.topic).is_some_and(|topic| topic.leaderless.contains(&id.partition))
    }

    fn outputs(&self) -> Vec<&str> {
        self.shared.started_with.output_topics().map(String::as_str).collect()
    }

    /// What the metadata of the output topics has to say about outputs that nobody confirms.
    fn why_unconfirmed(&self, topics: &BTreeMap<String, TopicHealth>) -> String {
        let mut why = Vec::new();
        for name in self.outputs() {
            let Some(topic) = topics.get(name) else { continue };
            if let Some(error) = &topic.error {
                why.push(format!("topic {name}: {error}"));
            }
            why.extend(topic.leaderless.first().map(|partition| format!("partition {name}/{partition} has no leader")));
            why.extend(topic.under_replicated.first().map(|one| {
                let (partition, in_sync, replicas) = (one.partition, one.in_sync, one.replicas);
                format!(
                    "partition {name}/{partition} has {in_sync} in-sync replicas of {replicas}, which is too few if min.insync.replicas asks for more"
                )
            }));
        }
        if why.is_empty() { format!(" by {}", self.outputs().join(", ")) } else { format!(": {}", why.join("; ")) }
    }

    /// Says which permission is missing, where the reason is that one is.
    fn with_remedy(&self, found: Found, topics: &str) -> Found {
        let group = &self.shared.started_with.group;
        let operation = if found.code == Code::PartitionWaits && !self.reads(topics) { "Write" } else { "Read" };
        if found.reason.contains("GROUP_AUTHORIZATION_FAILED") {
            return found.hint(format!("allow Read on group {group}"));
        }
        if found.reason.contains("TOPIC_AUTHORIZATION_FAILED") {
            let topics = if topics.is_empty() { self.shared.started_with.topics.join(", ") } else { topics.to_owned() };
            return found.hint(format!("allow {operation} and Describe on topic {topics}"));
        }
        if found.reason.contains("CLUSTER_AUTHORIZATION_FAILED") {
            let topics = self.outputs().join(", ");
            return found.hint(format!(
                "allow Write and Describe on topic {topics}; brokers before Kafka 3.0 want IdempotentWrite on the cluster as well"
            ));
        }
        if found.reason.contains("TRANSACTIONAL_ID_AUTHORIZATION_FAILED") {
            return found.hint("allow Write on the transactional id");
        }
        found
    }

    fn reads(&self, topic: &str) -> bool {
        self.shared.started_with.topics.iter().any(|one| one == topic)
    }
}
