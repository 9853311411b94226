//! Conditions: what keeps a pipeline from its work, or endangers it, in one list.
//!
//! Readiness, status, log and metrics are all made from this list, so that they tell the same story: what it is, what it is
//! about, since when, why, and what helps. [`observe`](crate::observe) finds them; [`Conditions`] remembers since when they
//! hold and tells the log of what is new and what is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use wasmill_kafka::now_ms;

/// What kind of condition it is. `docs/operations.md` has a section on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// Too many messages failed; an operator decides.
    BreakerOpen,
    /// The version in force was found bad and is being rolled back.
    VersionSuspended,
    /// The producer failed for good and the next one is not there yet.
    ProducerFailed,
    /// No broker answers.
    BrokersUnreachable,
    /// A member is not in the group.
    NotJoined,
    /// An input topic is not there.
    TopicMissing,
    /// A lane has no instance of the handler.
    HandlerFails,
    /// A partition waits for a decision.
    PartitionStopped,
    /// A partition waits for the cluster, and goes on by itself.
    PartitionWaits,
    /// The first position of a partition is not committed.
    PartitionStarts,
    /// Outputs are not confirmed.
    OutputsUnconfirmed,
    /// Offsets cannot be committed.
    CommitsFail,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::BreakerOpen,
        Self::VersionSuspended,
        Self::ProducerFailed,
        Self::BrokersUnreachable,
        Self::NotJoined,
        Self::TopicMissing,
        Self::HandlerFails,
        Self::PartitionStopped,
        Self::PartitionWaits,
        Self::PartitionStarts,
        Self::OutputsUnconfirmed,
        Self::CommitsFail,
    ];

    /// The word for it, in status, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BreakerOpen => "breaker-open",
            Self::VersionSuspended => "version-suspended",
            Self::ProducerFailed => "producer-failed",
            Self::BrokersUnreachable => "brokers-unreachable",
            Self::NotJoined => "not-joined",
            Self::TopicMissing => "topic-missing",
            Self::HandlerFails => "handler-fails",
            Self::PartitionStopped => "partition-stopped",
            Self::PartitionWaits => "partition-waits",
            Self::PartitionStarts => "partition-starts",
            Self::OutputsUnconfirmed => "outputs-unconfirmed",
            Self::CommitsFail => "commits-fail",
        }
    }

    /// Whether this process cannot work while it holds. What concerns single partitions is no reason to take a process out
    /// of service: a message that nobody can handle would keep the process with its mend from ever becoming ready.
    pub fn is_not_ready(self) -> bool {
        match self {
            Self::BreakerOpen
            | Self::VersionSuspended
            | Self::ProducerFailed
            | Self::BrokersUnreachable
            | Self::NotJoined
            | Self::TopicMissing
            | Self::HandlerFails => true,
            Self::PartitionStopped
            | Self::PartitionWaits
            | Self::PartitionStarts
            | Self::OutputsUnconfirmed
            | Self::CommitsFail => false,
        }
    }

    /// How long it is borne before it is worth a word: shorter than that it is everyday life.
    fn grace(self) -> Duration {
        match self {
            Self::OutputsUnconfirmed => Duration::from_secs(20),
            Self::CommitsFail | Self::PartitionStarts => Duration::from_secs(5),
            _ => Duration::ZERO,
        }
    }

    /// How long it holds before the log tells of it. `None`: where it begins, it is logged already.
    fn logged_after(self) -> Option<Duration> {
        match self {
            Self::BreakerOpen
            | Self::VersionSuspended
            | Self::ProducerFailed
            | Self::TopicMissing
            | Self::HandlerFails
            | Self::PartitionStopped => None,
            // Joining a group takes seconds.
            Self::NotJoined => Some(Duration::from_secs(10)),
            Self::BrokersUnreachable
            | Self::PartitionWaits
            | Self::PartitionStarts
            | Self::OutputsUnconfirmed
            | Self::CommitsFail => Some(Duration::ZERO),
        }
    }
}

/// A condition as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What kind it is.
    pub code: Code,
    /// What it is about: a partition, a member, a lane; empty for the whole pipeline.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// What helps, if somebody has to do something.
    pub hint: Option<String>,
    /// Since when, where that is known; else since it was found first.
    pub since: Option<Instant>,
}

impl Found {
    /// One without a hint, since now.
    pub fn new(code: Code, subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code, subject: subject.into(), reason: reason.into(), hint: None, since: None }
    }

    /// The same with what helps.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same since then.
    #[must_use]
    pub fn since(self, since: Option<Instant>) -> Self {
        Self { since, ..self }
    }
}

/// A condition as status shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// [`Code::as_str`], or a word of a later version.
    pub code: String,
    /// What it is about: a partition, a member, a lane; empty for the whole pipeline.
    pub subject: String,
    /// Whether this process cannot work while it holds.
    pub not_ready: bool,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// Why.
    pub reason: String,
    /// What helps, if somebody has to do something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Condition {
    /// In one line, for people.
    pub fn line(&self) -> String {
        let subject = if self.subject.is_empty() { String::new() } else { format!("{}: ", self.subject) };
        let hint = self.hint.as_ref().map_or(String::new(), |hint| format!("; hint: {hint}"));
        let seconds = (now_ms() - self.since_ms).max(0) / 1000;
        let since = humantime::format_duration(Duration::from_secs(seconds.unsigned_abs()));
        format!("{} for {since}: {subject}{}{hint}", self.code, self.reason)
    }
}

/// Conditions of one kind that the log names in one look; the others are counted.
const LOGGED_AT_ONCE: usize = 5;

struct Known {
    since: Instant,
    since_ms: i64,
    logged: bool,
}

/// The conditions of a pipeline.
#[derive(Default)]
pub struct Conditions {
    known: Mutex<BTreeMap<(Code, String), Known>>,
}

impl Conditions {
    /// Takes what is found now, in the order in which people want to read it, and answers with what there is to say. The log
    /// hears of what is new and what is over.
    pub fn observe(&self, pipeline: &str, now: Instant, find: impl FnOnce() -> Vec<Found>) -> Vec<Condition> {
        // Held while it is found: two who look at once would tell of the same thing twice.
        let mut known = self.known.lock();
        let mut found = find();
        found.sort_by(|one, other| (one.code, &one.subject).cmp(&(other.code, &other.subject)));
        let mut shown = Vec::new();
        let mut unlogged: BTreeMap<Code, usize> = BTreeMap::new();
        for one in &found {
            let entry = known.entry((one.code, one.subject.clone())).or_insert_with(|| {
                let since = one.since.unwrap_or(now);
                let age = i64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(0);
                Known { since, since_ms: now_ms() - age, logged: false }
            });
            let age = now.saturating_duration_since(entry.since);
            if age < one.code.grace() {
                continue;
            }
            if !entry.logged && one.code.logged_after().is_some_and(|after| age >= after) {
                entry.logged = true;
                let count = unlogged.entry(one.code).or_default();
                *count += 1;
                if *count <= LOGGED_AT_ONCE {
                    log(pipeline, one);
                }
            }
            shown.push(Condition {
                code: one.code.as_str().to_owned(),
                subject: one.subject.clone(),
                not_ready: one.code.is_not_ready(),
                since_ms: entry.since_ms,
                reason: one.reason.clone(),
                hint: one.hint.clone(),
            });
        }
        for (code, count) in unlogged.into_iter().filter(|(_, count)| *count > LOGGED_AT_ONCE) {
            let more = count - LOGGED_AT_ONCE;
            tracing::warn!(pipeline, condition = code.as_str(), more, "and more of the same; `wasmill status` has all");
        }
        let mut over: BTreeMap<Code, (usize, String, Duration)> = BTreeMap::new();
        known.retain(|(code, subject), known| {
            let holds = found.iter().any(|one| one.code == *code && one.subject == *subject);
            if !holds && known.logged {
                let lasted = now.saturating_duration_since(known.since);
                let entry = over.entry(*code).or_insert((0, subject.clone(), lasted));
                entry.0 += 1;
            }
            holds
        });
        for (code, (count, subject, lasted)) in over {
            let lasted_ms = lasted.as_millis() as u64;
            tracing::info!(pipeline, condition = code.as_str(), subject, count, lasted_ms, "over");
        }
        shown
    }
}

fn log(pipeline: &str, Found { code, subject, reason, hint, .. }: &Found) {
    let (condition, hint) = (code.as_str(), hint.as_deref().unwrap_or_default());
    if code.is_not_ready() {
        tracing::error!(pipeline, condition, subject, reason, hint, "not ready");
    } else {
        tracing::warn!(pipeline, condition, subject, reason, hint, "degraded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn one(code: Code, subject: &str) -> Found {
        Found::new(code, subject, "why")
    }

    #[test]
    fn a_condition_is_shown_once_it_lasts_and_keeps_its_beginning() {
        let (conditions, start) = (Conditions::default(), Instant::now());
        let look = |at: Instant| conditions.observe("p", at, || vec![one(Code::OutputsUnconfirmed, "in/0")]);
        assert_eq!(look(start), [], "not within its grace");
        assert_eq!(look(start + SECOND * 19), []);
        let first = look(start + SECOND * 20);
        assert_eq!(first.len(), 1);
        assert_eq!(look(start + SECOND * 50), first, "since it was found first");
        assert_eq!(conditions.observe("p", start + SECOND * 51, Vec::new), []);
        assert_eq!(look(start + SECOND * 52), [], "it is over, and begins anew");
    }

    #[test]
    fn what_began_before_it_was_found_is_as_old_as_it_is() {
        let (conditions, now) = (Conditions::default(), Instant::now() + SECOND * 100);
        let since = Some(now - SECOND * 60);
        let shown = conditions.observe("p", now, || vec![one(Code::OutputsUnconfirmed, "in/0").since(since)]);
        assert!(now_ms() - shown[0].since_ms >= 60_000 && !shown[0].not_ready);
    }

    #[test]
    fn conditions_come_in_the_order_of_their_weight_and_each_has_a_word() {
        let conditions = Conditions::default();
        let found =
            || vec![one(Code::PartitionStopped, "b"), one(Code::BreakerOpen, ""), one(Code::PartitionStopped, "a")];
        let shown = conditions.observe("p", Instant::now(), found);
        let words: Vec<_> = shown.iter().map(|one| (one.code.as_str(), one.subject.as_str(), one.not_ready)).collect();
        let stopped = "partition-stopped";
        assert_eq!(words, [("breaker-open", "", true), (stopped, "a", false), (stopped, "b", false)]);
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
    }

    #[test]
    fn operators_find_each_condition_in_their_page_with_what_readiness_says_of_it() {
        let page = include_str!("../../../docs/operations.md");
        for code in Code::ALL {
            let row = format!("| `{}` | {} |", code.as_str(), if code.is_not_ready() { 503 } else { 200 });
            assert!(page.contains(&row), "docs/operations.md has no row `{row}`");
        }
    }
}
