//! Who asks for a swap of the group, waits until all are ready, decides, and gives the one answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wasmill_kafka::admin::GroupMember;
use wasmill_kafka::now_ms;

use super::accord::{Fate, Readiness};
use super::control::{Books, CLUSTER_TIMEOUT, Control, INITIATOR_HEAD_START};
use super::follow::Runner;
use super::record::{self, Asked, Key, Named, Refused, Standing};
use crate::explain;

/// How often the group is asked who is in it.
const MEMBER_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// A member of which no process has told for so long is none of wasmill's with this control topic.
const UNKNOWN_MEMBER_TIMEOUT: Duration = Duration::from_secs(10);

/// What is wanted.
pub enum Wanted {
    /// This component.
    Component {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Where they came from.
        source: String,
    },
    /// What was run before.
    Previous,
}

/// What runs in this process, for the first swap of a group: before it the control topic names nothing.
pub struct Running {
    /// Its digest.
    pub digest: String,
    /// Where it came from.
    pub source: String,
    /// The component, if it is to be had: without it nobody can go back to it.
    pub bytes: Option<Vec<u8>>,
}

/// The group has swapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swapped {
    /// The pipeline.
    pub pipeline: String,
    /// The group.
    pub group: String,
    /// How far it went.
    pub outcome: Done,
    /// The place of the ask in the control topic.
    pub epoch: u64,
    /// The digest before.
    pub from: String,
    /// The digest now.
    pub to: String,
    /// Where it came from.
    pub source: String,
    /// Each partition's boundary.
    pub partitions: Vec<Boundary>,
    /// Partitions that nobody has told of yet: nobody holds them, or they stand.
    pub untold: Vec<String>,
    /// The processes that run it.
    pub processes: Vec<Process>,
}

/// How far a swap of a group went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// Every partition has told.
    Switched,
    /// Not every one by then.
    Partly,
    /// A word of a later version: whoever reads an answer may be older than who gave it.
    #[serde(untagged)]
    Other(String),
}

/// Every message below it was completed by the version before, every one from it on by the new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boundary {
    /// Topic.
    pub topic: String,
    /// Number.
    pub partition: i32,
    /// The first offset that the new version gets.
    pub first_offset: i64,
    /// Who told.
    pub process: Option<String>,
}

/// A process of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its name.
    pub process: String,
    /// Its members.
    pub members: Vec<String>,
    /// The longest that a lane of it stood still.
    pub pause_us: u64,
}

/// Nobody swaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The process that refuses, if it is one.
    pub process: Option<String>,
    /// At which gate.
    pub gate: Option<String>,
    /// Why, and what to do.
    pub reason: String,
}

impl Refusal {
    fn of(reason: impl Into<String>) -> Self {
        Self { process: None, gate: None, reason: reason.into() }
    }

    fn by(process: &str, Refused { gate, reason }: Refused) -> Self {
        let text = format!("nobody swaps: process {process} refused at the gate `{gate}`: {reason}");
        Self { process: Some(process.to_owned()), gate: Some(gate), reason: text }
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::of(format!("nobody swaps: {}", explain(&error)))
    }
}

impl From<wasmill_kafka::ClientError> for Refusal {
    fn from(error: wasmill_kafka::ClientError) -> Self {
        anyhow::Error::from(error).into()
    }
}

/// Swaps the group. Blocks until every partition has passed on, or until it is clear that nobody swaps.
pub fn lead<R: Runner>(
    control: &Arc<Control>,
    runner: &R,
    running: Running,
    wanted: Wanted,
    by: &str,
) -> Result<Swapped, Refusal> {
    let mut leads = control.leads.lock();
    let started = Instant::now();
    control.catch_up(CLUSTER_TIMEOUT)?;
    // The two belong together: an ask that names a decision and not what that led to would bring back what was before.
    let Begun { standing, after, bytes, source } = begin(control, running, wanted)?;
    // Here first: what this process refuses need not go to anybody.
    drop(runner.prepare(bytes.clone(), &source, by).map_err(|refused| Refusal::by(&control.process, refused))?);
    tidy_up(control, &standing)?;
    control.put(&bytes)?;
    let digest = wasmill_wasm::digest(&bytes);
    let asked = Asked { digest, source, by: by.to_owned(), at_ms: now_ms(), after, standing: standing.clone() };
    *leads += 1;
    let epoch = control.write(&Key::Ask(control.process.clone(), *leads), Some(record::encode(&asked)))?;
    tracing::info!(pipeline = %control.pipeline, epoch, plugin = asked.digest, by, "asked the group to swap");
    let named = Named { epoch, digest: asked.digest.clone(), source: asked.source.clone() };
    let from = standing.current.digest.clone();
    // Only what is open may be decided, and only what was read back is known to be.
    let read = |fate: Fate| (fate != Fate::Unread).then_some(fate);
    if control.wait_until(CLUSTER_TIMEOUT, |books| read(books.accord.fate(epoch))) == Some(Fate::Open) {
        let decided = match wait_ready(control, epoch, started) {
            Ok(()) => control.decide(epoch, true, Standing { current: named, previous: Some(standing.current) }, None),
            Err(Some(refusal)) => control.decide(epoch, false, standing, Some(told_whole(&refusal))),
            Err(None) => Ok(()),
        };
        if let Err(error) = decided {
            // It may stand there all the same. What is read back counts; if it is not there, others give the ask up.
            tracing::warn!(pipeline = %control.pipeline, epoch, %error, "whether the decision was written is not known");
        }
    }
    let settled = |fate: Fate| (!matches!(fate, Fate::Unread | Fate::Open)).then_some(fate);
    match control.wait_until(control.timeout + 2 * INITIATOR_HEAD_START, |books| settled(books.accord.fate(epoch))) {
        Some(Fate::Switched) => Ok(wait_passed_on(control, epoch, from, asked)),
        Some(Fate::Refused(reason)) => Err(remembered(&reason)),
        Some(_) => Err(Refusal::of(
            "another swap of the group was asked for at the same time and is under way; hint: try again when it is done",
        )),
        None => Err(Refusal::of(format!(
            "what was decided could not be read from the control topic {}; hint: `wasmill status` says what runs",
            control.topic
        ))),
    }
}

/// What an ask is made of.
struct Begun {
    standing: Standing,
    /// The decision that led to it.
    after: u64,
    bytes: Vec<u8>,
    source: String,
}

/// What is agreed on, and what is wanted.
fn begin(control: &Control, running: Running, wanted: Wanted) -> Result<Begun, Refusal> {
    let (standing, after, open) = {
        let accord = &control.books().accord;
        (accord.standing().cloned(), accord.last_decided(), accord.open().cloned())
    };
    if let Some(open) = open {
        let text = format!(
            "another swap of the group is under way, to {}, asked by {} on {}; hint: try again when it is done",
            open.asked.source, open.asked.by, open.process
        );
        return Err(Refusal::of(text));
    }
    let standing = match standing {
        Some(standing) => standing,
        None => {
            if let Some(bytes) = &running.bytes {
                control.put(bytes)?;
            }
            Standing { current: Named { epoch: 0, digest: running.digest, source: running.source }, previous: None }
        }
    };
    match wanted {
        Wanted::Component { bytes, source } => Ok(Begun { standing, after, bytes, source }),
        Wanted::Previous => {
            let nothing = "the group has not swapped yet, so there is nothing to go back to";
            let previous = standing.previous.clone().ok_or_else(|| Refusal::of(nothing))?;
            let bytes = control.fetch(&previous.digest)?;
            Ok(Begun { standing, after, bytes, source: previous.source })
        }
    }
}

/// Deletes what says nothing any more.
fn tidy_up(control: &Control, standing: &Standing) -> Result<(), Refusal> {
    let described = control.admin.group_members(&control.group, CLUSTER_TIMEOUT)?;
    let keys = {
        let books = control.books();
        let mut kept = vec![standing.current.digest.as_str()];
        kept.extend(standing.previous.iter().map(|previous| previous.digest.as_str()));
        let mut keys = books.shelf.outlived(&kept, books.accord.last_decided());
        keys.extend(books.accord.outlived());
        // Of processes that were killed. One that is about to join says its word again when it finds it deleted.
        let here = |members: &[String]| described.members.iter().any(|member| members.contains(&member.id));
        let gone =
            books.accord.all_said().iter().filter(|(name, said)| **name != control.process && !here(&said.members));
        keys.extend(gone.map(|(process, _)| Key::Said(process.clone())));
        keys
    };
    for key in keys {
        control.write(&key, None)?;
    }
    Ok(())
}

/// Waits until every member's process is ready. `Err(None)`: it is settled already.
fn wait_ready(control: &Control, epoch: u64, started: Instant) -> Result<(), Option<Refusal>> {
    let mut strange: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        // The order matters: who is in the group first, then what their processes said. Whoever joins in between has read
        // that this is asked, and gets ready before joining.
        let described =
            control.admin.group_members(&control.group, CLUSTER_TIMEOUT).map_err(|error| Some(error.into()))?;
        let (fate, readiness) = {
            let books = control.books();
            let members = described.members.iter().map(|member| member.id.as_str());
            (books.accord.fate(epoch), books.accord.readiness(epoch, members))
        };
        if fate != Fate::Open {
            return Err(None);
        }
        let (processes, strangers) = match readiness {
            Readiness::Ready => return Ok(()),
            Readiness::Refused(process, refused) => return Err(Some(Refusal::by(&process, refused))),
            Readiness::Waits { processes, strangers } => (processes, strangers),
        };
        strange.retain(|id, _| strangers.contains(id));
        for id in &strangers {
            strange.entry(id.clone()).or_insert_with(Instant::now);
        }
        if let Some((id, _)) = strange.iter().find(|(_, since)| since.elapsed() >= UNKNOWN_MEMBER_TIMEOUT) {
            return Err(Some(foreign(control, &described.members, id)));
        }
        if started.elapsed() >= control.timeout {
            let names: Vec<_> = processes.iter().chain(&strangers).map(String::as_str).collect();
            let limit = humantime::format_duration(control.timeout);
            let text =
                format!("nobody swaps: not ready within {limit}: {}; hint: swap.group_timeout", names.join(", "));
            return Err(Some(Refusal::of(text)));
        }
        control.wait(MEMBER_CHECK_INTERVAL);
    }
}

fn foreign(control: &Control, members: &[GroupMember], id: &str) -> Refusal {
    let member = members.iter().find(|member| member.id == id);
    let (client, host) = member.map_or(("?", "?"), |member| (member.client_id.as_str(), member.host.as_str()));
    Refusal::of(format!(
        "nobody swaps: member {id} of the group {} (client {client}, host {host}) says nothing in the control topic; hint: \
         every member of the group has to be wasmill with swap.control_topic = \"{}\"",
        control.group, control.topic
    ))
}

/// All of a refusal, so that what is read back names the process and the gate.
fn told_whole(refusal: &Refusal) -> String {
    serde_json::to_string(refusal).unwrap_or_else(|_| refusal.reason.clone())
}

fn remembered(reason: &str) -> Refusal {
    let whole: serde_json::Value = serde_json::from_str(reason).unwrap_or_default();
    let text = |name: &str| whole[name].as_str().map(str::to_owned);
    match text("reason") {
        Some(reason) => Refusal { process: text("process"), gate: text("gate"), reason },
        None => Refusal::of(format!("nobody swaps: {reason}")),
    }
}

/// Waits until every partition of the pipeline has passed on, and says where.
fn wait_passed_on(control: &Control, epoch: u64, from: String, asked: Asked) -> Swapped {
    let wanted = control.partitions();
    let complete = |books: &Books| {
        let firsts = books.accord.firsts(epoch)?;
        let whole = !wanted.is_empty() && wanted.iter().all(|partition| firsts.contains_key(partition));
        // A later version may be agreed on before this answer is given.
        let superseded = books.accord.current().is_none_or(|current| current.epoch != epoch);
        (whole || superseded).then_some(())
    };
    control.wait_until(control.timeout, complete);
    let books = control.books();
    let firsts = books.accord.firsts(epoch).cloned().unwrap_or_default();
    let teller = |topic: &str, partition: i32| {
        let told = |first: &(String, i32, i64)| first.0 == topic && first.1 == partition;
        books.accord.all_said().iter().find(|(_, said)| said.runs == epoch && said.firsts.iter().any(told))
    };
    let partitions = firsts
        .iter()
        .map(|((topic, partition), first)| Boundary {
            topic: topic.clone(),
            partition: *partition,
            first_offset: *first,
            process: teller(topic, *partition).map(|(process, _)| process.clone()),
        })
        .collect();
    let untold: Vec<_> = wanted
        .iter()
        .filter(|partition| !firsts.contains_key(*partition))
        .map(|(topic, partition)| format!("{topic}/{partition}"))
        .collect();
    let processes = books.accord.all_said().iter().filter(|(_, said)| said.runs == epoch);
    Swapped {
        pipeline: control.pipeline.clone(),
        group: control.group.clone(),
        outcome: if untold.is_empty() { Done::Switched } else { Done::Partly },
        epoch,
        from,
        to: asked.digest,
        source: asked.source,
        partitions,
        untold,
        processes: processes
            .map(|(process, said)| Process {
                process: process.clone(),
                members: said.members.clone(),
                pause_us: said.pause_us,
            })
            .collect(),
    }
}
