//! The second opinion: topics, messages, groups and committed offsets through Apache Kafka's own client.
//!
//! One JVM per test process answers all tests (`tests/kafka/Eye.java`; lines of JSON both ways). It also kills what
//! was put under its guard when the test process ends.

mod change;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use parking_lot::Mutex;
use serde_json::{Value, json};

pub use crate::message::Message;

/// The longest that any call may take before the JVM counts as stuck.
const STUCK: Duration = Duration::from_secs(300);

/// Offsets by partition.
pub type Offsets = BTreeMap<i32, i64>;

/// A committed offset as Kafka has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to be read.
    pub offset: i64,
    /// What was committed beside it.
    pub metadata: String,
}

/// One commit out of `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Of the topic asked for.
    pub partition: i32,
    /// The next offset to be read.
    pub offset: i64,
    /// When the broker wrote it, in milliseconds since the epoch.
    pub time: i64,
    /// What was committed beside it.
    pub metadata: String,
}

/// Messages that follow each other in an output partition and in number, from one version: an array in JSON.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Piece {
    /// The partition of the output.
    pub output: i32,
    /// The partition that the messages name; -1 for one that names none.
    pub partition: i32,
    /// The first one's number.
    pub first: i64,
    /// How many. 0: the message with this number is not the next one of its key.
    pub count: i64,
    /// The version's; of a message that has none, its value.
    pub stamp: String,
}

/// A group as its coordinator has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `Stable`, `PreparingRebalance`, `Empty`, `Dead`, ...
    pub state: String,
    /// In no order.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Given by the coordinator.
    pub id: String,
    /// Given by the client: `client.id`.
    pub client: String,
    /// `group.instance.id`, of a static member.
    pub instance: Option<String>,
    /// What it holds.
    pub partitions: Vec<(String, i32)>,
}

/// Kafka's own client, connected to one cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Eye {
    jvm: &'static Jvm,
    bootstrap: String,
}

impl Eye {
    /// Connects to a cluster; starts the JVM if it is not running.
    ///
    /// # Errors
    /// Kafka's jars cannot be had, or the JVM does not start.
    pub fn new(bootstrap: &str) -> Result<Self> {
        Ok(Self { jvm: Jvm::get()?, bootstrap: bootstrap.into() })
    }

    /// Makes a topic and waits until every partition of it is known. Returns its id.
    ///
    /// # Errors
    /// As all calls: what Kafka says, or that the JVM is gone.
    pub fn create_topic(&self, topic: &str, partitions: u32, config: &[(&str, &str)]) -> Result<String> {
        let config: HashMap<_, _> = config.iter().copied().collect();
        let reply = self.call("create_topic", json!({ "topic": topic, "partitions": partitions, "config": config }))?;
        Ok(reply["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        self.call("delete_topic", json!({ "topic": topic })).map(drop)
    }

    /// Deletes the messages of a partition below `before`, as retention would.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        self.call("delete_records", json!({ "topic": topic, "partition": partition, "before": before })).map(drop)
    }

    /// Produces and waits for all confirmations. Returns partition and offset of each.
    ///
    /// # Errors
    /// What Kafka says of the first that failed.
    pub fn produce(&self, topic: &str, messages: &[Message]) -> Result<Vec<(i32, i64)>> {
        self.produce_with(topic, messages, &json!({}), false)
    }

    /// As [`Eye::produce`], with properties of Kafka's producer; with a `transactional.id` in a transaction, which is
    /// aborted if `abort`.
    ///
    /// # Errors
    /// What Kafka says of the first that failed.
    pub fn produce_with(
        &self,
        topic: &str,
        messages: &[Message],
        properties: &Value,
        abort: bool,
    ) -> Result<Vec<(i32, i64)>> {
        let messages: Vec<_> = messages.iter().map(Message::to_json).collect();
        let request = json!({ "topic": topic, "messages": messages, "properties": properties, "abort": abort });
        let reply = self.call("produce", request)?;
        serde_json::from_value(reply).context("the reply to produce")
    }

    /// The first offset of each partition.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn first_offsets(&self, topic: &str) -> Result<Offsets> {
        offsets(&self.call("offsets", json!({ "topic": topic, "first": true }))?)
    }

    /// The offset after the last message of each partition.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn end_offsets(&self, topic: &str) -> Result<Offsets> {
        offsets(&self.call("offsets", json!({ "topic": topic }))?)
    }

    /// What the group has committed on the topic. Partitions without a commit are not in it.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, Committed>> {
        let reply = self.call("committed", json!({ "group": group, "topic": topic }))?;
        let entries = reply.as_object().context("no object")?.iter();
        entries
            .map(|(partition, entry)| {
                let metadata = entry["metadata"].as_str().unwrap_or_default().to_owned();
                Ok((partition.parse()?, Committed { offset: entry["offset"].as_i64().context("no offset")?, metadata }))
            })
            .collect()
    }

    /// Only the offsets of [`Eye::committed`].
    ///
    /// # Errors
    /// What Kafka says.
    pub fn committed_offsets(&self, group: &str, topic: &str) -> Result<Offsets> {
        Ok(self.committed(group, topic)?.into_iter().map(|(partition, entry)| (partition, entry.offset)).collect())
    }

    /// Commits for a group without members.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn commit(&self, group: &str, topic: &str, offsets: &Offsets) -> Result<()> {
        let without =
            |(partition, offset): (&i32, &i64)| (*partition, Committed { offset: *offset, metadata: String::new() });
        self.commit_with(group, topic, &offsets.iter().map(without).collect())
    }

    /// The same with metadata beside the offsets.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn commit_with(&self, group: &str, topic: &str, entries: &BTreeMap<i32, Committed>) -> Result<()> {
        let offsets: Offsets = entries.iter().map(|(partition, entry)| (*partition, entry.offset)).collect();
        let metadata: BTreeMap<_, _> = entries.iter().map(|(partition, entry)| (*partition, &entry.metadata)).collect();
        let request = json!({ "group": group, "topic": topic, "offsets": offsets, "metadata": metadata });
        self.call("commit", request).map(drop)
    }

    /// Waits until exactly these offsets are committed for these partitions.
    ///
    /// # Errors
    /// They were not in time; the message says what Kafka had instead.
    pub fn wait_committed(&self, group: &str, topic: &str, expected: &Offsets, timeout: Duration) -> Result<()> {
        let timeout = timeout.as_millis() as u64;
        let request = json!({ "group": group, "topic": topic, "offsets": expected, "timeout_ms": timeout });
        self.call("wait_committed", request).map(drop)
    }

    /// Every commit of the group on the topic, in the order the broker wrote them.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn commits(&self, group: &str, topic: &str) -> Result<Vec<Commit>> {
        let mut commits = Vec::new();
        self.call_in_parts("commits", json!({ "group": group, "topic": topic }), &mut |one| {
            commits.push(Commit {
                partition: one[0].as_i64().unwrap_or(-1) as i32,
                offset: one[1].as_i64().unwrap_or(-1),
                time: one[2].as_i64().unwrap_or(-1),
                metadata: one[3].as_str().unwrap_or_default().to_owned(),
            });
            Ok(())
        })?;
        Ok(commits)
    }

    /// When the broker first gave a member of the group something, in milliseconds since the epoch.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn assigned(&self, group: &str) -> Result<Option<i64>> {
        Ok(self.call("assigned", json!({ "group": group }))?["time"].as_i64())
    }

    /// End minus committed, by partition; a partition without a commit counts from its first offset.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn lag(&self, group: &str, topic: &str) -> Result<Offsets> {
        let (committed, first) = (self.committed_offsets(group, topic)?, self.first_offsets(topic)?);
        let from = |partition| committed.get(&partition).or(first.get(&partition)).copied().unwrap_or(0);
        Ok(self.end_offsets(topic)?.into_iter().map(|(partition, end)| (partition, end - from(partition))).collect())
    }

    /// State and members. A group that does not exist is `Dead`.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn group(&self, group: &str) -> Result<Group> {
        let reply = self.call("group", json!({ "group": group }))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let members = reply["members"].as_array().context("no members")?.iter().map(|member| GroupMember {
            id: text(&member["id"]),
            client: text(&member["client"]),
            instance: member["instance"].as_str().map(str::to_owned),
            partitions: serde_json::from_value(member["partitions"].clone()).unwrap_or_default(),
        });
        Ok(Group { state: text(&reply["state"]), members: members.collect() })
    }

    /// Waits until the group is `Stable` with that many members, each of which has what the assignor gave it.
    ///
    /// # Errors
    /// It was not in time.
    pub fn wait_members(&self, group: &str, members: usize, timeout: Duration) -> Result<Group> {
        let end = std::time::Instant::now() + timeout;
        loop {
            let seen = self.group(group)?;
            if seen.members.len() == members && (seen.state == "Stable" || members == 0) {
                return Ok(seen);
            }
            if std::time::Instant::now() > end {
                bail!("expected {members} members of {group} in a stable group, Kafka has {seen:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The messages from `from` (other partitions: from the beginning) to the end as it is now.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn read(&self, topic: &str, from: &Offsets) -> Result<Vec<Message>> {
        self.read_with(json!({ "topic": topic, "from": from }))
    }

    /// The first messages of a topic, waiting until there are `count`.
    ///
    /// # Errors
    /// They did not come in time; the message says how many did.
    pub fn read_count(&self, topic: &str, count: usize, timeout: Duration) -> Result<Vec<Message>> {
        self.read_with(json!({ "topic": topic, "count": count, "timeout_ms": timeout.as_millis() as u64 }))
    }

    /// Reads with `topic`, `from`, `count`, `timeout_ms` and `isolation` as `tests/kafka/Eye.java` has them.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn read_with(&self, request: Value) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        self.read_each(request, |message| messages.push(message))?;
        Ok(messages)
    }

    /// As [`Eye::read_with`], for more messages than memory should hold.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn read_each(&self, request: Value, mut each: impl FnMut(Message)) -> Result<()> {
        let mut part = |one: Value| {
            each(Message::from_json(&one).with_context(|| format!("not a message: {one}"))?);
            Ok(())
        };
        self.call_in_parts("read", request, &mut part).map(drop)
    }

    /// When the messages of a topic were appended: for each partition the milliseconds, ascending, and how many came in
    /// each. Says something for a topic with `message.timestamp.type=LogAppendTime`.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn appends(&self, topic: &str) -> Result<BTreeMap<i32, Vec<(i64, u64)>>> {
        let mut appends: BTreeMap<i32, Vec<(i64, u64)>> = BTreeMap::new();
        self.call_in_parts("appends", json!({ "topic": topic }), &mut |one| {
            let (partition, time, count): (i32, i64, u64) = serde_json::from_value(one).context("an append")?;
            appends.entry(partition).or_default().push((time, count));
            Ok(())
        })?;
        Ok(appends)
    }

    /// What came out of [`Eye::start_stream`] behind a handler that stamps its version on each value, in pieces: see
    /// `tests/kafka/Stamped.java`.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn stamped(&self, topic: &str, mut each: impl FnMut(Piece)) -> Result<()> {
        let mut part = |one: Value| {
            each(serde_json::from_value(one).context("a piece")?);
            Ok(())
        };
        self.call_in_parts("stamped", json!({ "topic": topic }), &mut part).map(drop)
    }

    /// Starts numbered messages: see `tests/kafka/Stream.java`.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn start_stream(&self, topic: &str, partitions: u32, keys: u32, per_second: u32) -> Result<()> {
        let request =
            json!({ "name": topic, "topic": topic, "partitions": partitions, "keys": keys, "per_second": per_second });
        self.call("stream_start", request).map(drop)
    }

    /// Ends the stream into a topic and returns how many messages each partition was given, all confirmed.
    ///
    /// # Errors
    /// A message could not be produced.
    pub fn stop_stream(&self, topic: &str) -> Result<Vec<i64>> {
        let reply = self.call("stream_stop", json!({ "name": topic }))?;
        serde_json::from_value(reply["partitions"].clone()).context("the reply to stream_stop")
    }

    pub(crate) fn call(&self, name: &str, arguments: Value) -> Result<Value> {
        self.call_in_parts(name, arguments, &mut |_| Ok(()))
    }

    fn call_in_parts(
        &self,
        name: &str,
        mut arguments: Value,
        part: &mut dyn FnMut(Value) -> Result<()>,
    ) -> Result<Value> {
        arguments["bootstrap"] = json!(self.bootstrap);
        self.jvm.call(name, arguments, part)
    }
}

/// Has `pid` killed when this process ends, however it does.
///
/// # Errors
/// The JVM is gone.
pub fn guard(pid: u32) -> Result<()> {
    Jvm::get()?.call("guard", json!({ "pid": pid }), &mut |_| Ok(())).map(drop)
}

/// Ends [`guard`]: the process has been waited for, and its number may soon be somebody else's.
pub fn unguard(pid: u32) {
    if let Ok(jvm) = Jvm::get() {
        jvm.call("unguard", json!({ "pid": pid }), &mut |_| Ok(())).ok();
    }
}

fn offsets(reply: &Value) -> Result<Offsets> {
    let entries = reply.as_object().context("no object")?.iter();
    entries.map(|(partition, offset)| Ok((partition.parse()?, offset.as_i64().context("no offset")?))).collect()
}

type Waiting = Arc<Mutex<HashMap<u64, Sender<Value>>>>;

/// The JVM that answers.
#[derive(Debug)]
struct Jvm {
    pid: u32,
    input: Mutex<ChildStdin>,
    waiting: Waiting,
    next: AtomicU64,
}

impl Jvm {
    fn get() -> Result<&'static Self> {
        static JVM: OnceLock<Result<Jvm, String>> = OnceLock::new();
        JVM.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }

    fn start() -> Result<Self> {
        let kafka = wasmill_setup::kafka::install()?;
        let mut java = kafka.java(512);
        // What its clients warn about during an outage is the test's doing.
        java.arg("-Dwasmill.log=off").arg("Eye").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = java.spawn().context("cannot start java")?;
        let input = child.stdin.take().context("java has no standard input")?;
        let output = BufReader::new(child.stdout.take().context("java has no standard output")?);
        let waiting = Waiting::default();
        let receivers = Arc::clone(&waiting);
        let pid = child.id();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let Ok(reply) = serde_json::from_str::<Value>(&line) else { continue };
                let id = reply["id"].as_u64().unwrap_or_default();
                let mut waiting = receivers.lock();
                if reply.get("part").is_some() {
                    waiting.get(&id).map(|receiver| receiver.send(reply));
                } else {
                    waiting.remove(&id).map(|receiver| receiver.send(reply));
                }
            }
            // Nobody answers any more: whoever waits must not wait for ever.
            receivers.lock().clear();
            child.wait().ok();
        });
        let jvm = Self { pid, input: Mutex::new(input), waiting, next: AtomicU64::new(0) };
        jvm.call("ping", json!({}), &mut |_| Ok(()))?;
        Ok(jvm)
    }

    fn call(&self, name: &str, mut request: Value, part: &mut dyn FnMut(Value) -> Result<()>) -> Result<Value> {
        let replies = self.send(name, &mut request)?;
        loop {
            let mut reply = replies.recv_timeout(STUCK).map_err(|error| {
                anyhow!("no answer to {name} from the JVM: {error}; its threads:\n{}", self.threads())
            })?;
            if let Some(error) = reply["error"].as_str() {
                bail!("{name}: {error}");
            }
            if let Value::Array(parts) = reply["part"].take() {
                parts.into_iter().try_for_each(&mut *part)?;
            } else {
                return Ok(reply["ok"].take());
            }
        }
    }

    /// What its threads do, for a call that is stuck.
    fn threads(&self) -> String {
        let mut jcmd = std::process::Command::new("jcmd");
        wasmill_setup::process::output(jcmd.arg(self.pid.to_string()).arg("Thread.print"))
            .unwrap_or_else(|error| format!("{error:#}"))
    }

    fn send(&self, name: &str, request: &mut Value) -> Result<Receiver<Value>> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        request["id"] = json!(id);
        request["call"] = json!(name);
        let (sender, replies) = channel();
        self.waiting.lock().insert(id, sender);
        let mut input = self.input.lock();
        writeln!(input, "{request}").and_then(|()| input.flush()).context("the JVM has ended")?;
        Ok(replies)
    }
}
