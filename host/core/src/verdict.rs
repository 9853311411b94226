//! Verdicts: what follows from what a call said, or from a call that failed. For lanes that keep the order.
//!
//! A *judgement* divides the messages of a call in two: those that are finished by it, and the rest, which is handed
//! over again. An *attempt* is one time a handler was given a message and failed it by itself.

use std::fmt;
use std::time::Duration;

use crate::emitted::{Failure, FailureKind};

/// How often and how patiently a message is tried.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included; 0 counts as 1.
    pub attempts: u32,
    /// Wait before the second attempt; doubles with each one.
    pub backoff: Duration,
    /// No wait is longer, whatever the handler asks for.
    pub max_delay: Duration,
}

impl RetryPolicy {
    /// How long to wait after attempt number `attempt` failed, given what the handler asked for.
    pub fn delay(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let backoff = exponential(self.backoff, attempt.saturating_sub(1), self.max_delay);
        asked.map_or(backoff, |asked| asked.max(backoff)).min(self.max_delay)
    }

    fn used_up(&self, attempt: u32) -> bool {
        attempt >= self.attempts
    }
}

/// `base` doubled `times` times, at most `cap`.
pub fn exponential(base: Duration, times: u32, cap: Duration) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    base.saturating_mul(factor).min(cap)
}

/// What a call that returned means for the messages it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// Messages `0..settled` are finished by this call: acknowledged, or given up and listed.
    pub settled: usize,
    /// Ascending, all below `settled`. What they emitted is not published.
    pub given_up: Vec<GivenUp>,
    /// Why message `settled` is not finished; `None` if all of them are.
    pub rest: Option<Rest>,
}

impl Judgement {
    /// True if what the call emitted for `message` is to be published: it is acknowledged. Everything else a call
    /// emitted is dropped, or a message tried again would have its outputs twice.
    pub fn publishes(&self, message: usize) -> bool {
        message < self.settled && self.given_up.binary_search_by_key(&message, |given_up| given_up.message).is_err()
    }
}

/// A message that will not be tried again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenUp {
    /// Index in the batch.
    pub message: usize,
    /// Attempts made.
    pub attempts: u32,
    /// What kind of end it was.
    pub class: ErrorClass,
    /// In the handler's or the host's words.
    pub reason: String,
}

/// How the messages that a call left over go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rest {
    /// The first of them was not reached: at once, its attempt unchanged.
    Unreached,
    /// The first of them failed.
    Retry {
        /// Wait this long; the messages behind it wait with it.
        delay: Duration,
        /// The attempt it is handed over with.
        next_attempt: u32,
        /// Why it is tried again, for people.
        reason: String,
    },
}

/// The kinds of failure, as they appear in dead letters, metrics and status.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum ErrorClass {
    /// The handler rejected it.
    Rejected,
    /// The handler asked for another attempt and there was none left.
    RetriesExhausted,
    /// The handler returned without a verdict on the first message.
    NoProgress,
    /// The handler trapped.
    Trap,
    /// The handler used up its time.
    Deadline,
    /// The wall clock ended the call, and little of that time was the handler's. No attempt, unless it happens again and
    /// again: [`CapEnds`].
    TimeCap,
    /// The handler used up its memory.
    Memory,
    /// The broker refused an output for good.
    Refused,
    /// The handler emitted more than it may.
    OutputLimit,
    /// The handler named messages, topics or spans that do not exist.
    Protocol,
    /// The host ended the call, for a drain. Never an attempt.
    Cancelled,
}

impl ErrorClass {
    /// In kebab-case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::RetriesExhausted => "retries-exhausted",
            Self::NoProgress => "no-progress",
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::TimeCap => "time-cap",
            Self::Memory => "memory",
            Self::Refused => "refused",
            Self::OutputLimit => "output-limit",
            Self::Protocol => "protocol",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Judges a call that returned.
///
/// `handed` messages were handed over, `reached` is what the handler returned, `failures` what it said of messages, in
/// the order it said it. `attempt` is that of message 0; the others are at their first.
///
/// - The first failure named for a message counts; a failure at index `reached` itself reaches that message, and
///   failures beyond are ignored: a message that was not reached is handed over again, which loses nothing.
/// - The first retry ends the judgement. What the call said of messages behind it is discarded, whatever it claims, or
///   they would overtake it. If it has no attempts left, it is given up and the messages behind it are handed over
///   again, as not reached.
/// - A call that reached nothing and said nothing counts as an attempt of message 0; or the batch would go round for
///   ever.
pub fn judge(handed: usize, reached: u32, failures: &[Failure], attempt: u32, policy: &RetryPolicy) -> Judgement {
    let reached = handed.min(reached as usize);
    let mut judgement = Judgement { settled: reached, given_up: Vec::new(), rest: None };
    // The common case first: no failures, nothing allocated.
    let named = if failures.is_empty() { Vec::new() } else { named_once(handed, reached, failures) };
    for failure in named {
        let message = failure.message as usize;
        let attempt = if message == 0 { attempt } else { 1 };
        judgement.settled = judgement.settled.max(message + 1);
        let class = match failure.kind {
            FailureKind::Reject => ErrorClass::Rejected,
            FailureKind::Retry if policy.used_up(attempt) => ErrorClass::RetriesExhausted,
            FailureKind::Retry => {
                judgement.settled = message;
                judgement.rest = Some(Rest::Retry {
                    delay: policy.delay(attempt, failure.retry_after),
                    next_attempt: attempt.saturating_add(1),
                    reason: failure.reason.clone(),
                });
                return judgement;
            }
        };
        judgement.given_up.push(GivenUp { message, attempts: attempt, class, reason: failure.reason.clone() });
        if failure.kind == FailureKind::Retry {
            judgement.settled = message + 1;
            break;
        }
    }
    if judgement.settled == 0 && handed > 0 {
        return no_progress(handed, attempt, policy);
    }
    judgement.rest = (judgement.settled < handed).then_some(Rest::Unreached);
    judgement
}

/// The failures that count, by ascending message, one for each: the first that was named.
fn named_once(handed: usize, reached: usize, failures: &[Failure]) -> Vec<&Failure> {
    let counts = |failure: &&Failure| (failure.message as usize) < handed && failure.message as usize <= reached;
    let mut named: Vec<&Failure> = failures.iter().filter(counts).collect();
    // Stable, so that of two for one message the earlier stays in front and survives.
    named.sort_by_key(|failure| failure.message);
    named.dedup_by_key(|failure| failure.message);
    named
}

fn no_progress(handed: usize, attempt: u32, policy: &RetryPolicy) -> Judgement {
    let reason = "the handler reached no message and gave no verdict".to_owned();
    if policy.used_up(attempt) {
        let given_up = GivenUp { message: 0, attempts: attempt, class: ErrorClass::NoProgress, reason };
        let rest = (handed > 1).then_some(Rest::Unreached);
        return Judgement { settled: 1, given_up: vec![given_up], rest };
    }
    let rest = Rest::Retry { delay: policy.delay(attempt, None), next_attempt: attempt.saturating_add(1), reason };
    Judgement { settled: 0, given_up: Vec::new(), rest: Some(rest) }
}

/// What to do after a call that failed as a whole. Its outputs are dropped and its instance is not used again.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum AfterCrash {
    /// The same messages once more, one to a call, each on an instance that has not failed; no attempt is counted.
    ReplayAlone,
    /// This one message again after a wait.
    Again {
        /// Wait this long.
        delay: Duration,
        /// The attempt it is handed over with.
        next_attempt: u32,
    },
    /// This one message is given up, with the class of the failure.
    GiveUp {
        /// Attempts made.
        attempts: u32,
    },
}

/// Judges a call that failed as a whole: trap, deadline, memory, output limit, protocol. Not for a cancelled one, which
/// is the host's doing and no attempt.
///
/// Only a message that fails alone, on an instance that handled nothing before, is to blame: in company the fault may
/// be a neighbour's, on a used instance what earlier messages left behind.
pub fn after_crash(handed: usize, alone_on_fresh_instance: bool, attempt: u32, policy: &RetryPolicy) -> AfterCrash {
    if handed != 1 || !alone_on_fresh_instance {
        return AfterCrash::ReplayAlone;
    }
    if policy.used_up(attempt) {
        return AfterCrash::GiveUp { attempts: attempt };
    }
    AfterCrash::Again { delay: policy.delay(attempt, None), next_attempt: attempt.saturating_add(1) }
}

/// Calls in a row that the wall clock ended, of one message delivered alone. A machine that is busy is not the message's
/// fault, but a message that never comes to an end must not hold its partition for ever.
#[derive(Clone, Debug, Default)]
pub struct CapEnds {
    offset: i64,
    ended: u32,
}

impl CapEnds {
    /// So many count as one attempt.
    pub const AS_ONE: u32 = 3;

    /// The call with this message alone was ended by the wall clock. True: with this one it counts as an attempt.
    pub fn counts(&mut self, offset: i64) -> bool {
        if self.offset != offset {
            *self = Self { offset, ended: 0 };
        }
        self.ended += 1;
        if self.ended == Self::AS_ONE {
            self.ended = 0;
            return true;
        }
        false
    }

    /// A call ended in another way.
    pub fn forget(&mut self) {
        self.ended = 0;
    }
}

/// How many messages a lane hands over in one call: halves after a crash, and doubles after `GROW_AFTER` full batches
/// without one. A poisoned stretch is thus not replayed in large pieces again and again.
#[derive(Clone, Debug)]
pub struct BatchBound {
    max: usize,
    now: usize,
    handled: usize,
}

impl BatchBound {
    const GROW_AFTER: usize = 8;

    /// Starts at `max`; 0 counts as 1.
    pub fn new(max: usize) -> Self {
        let max = max.max(1);
        Self { max, now: max, handled: 0 }
    }

    /// Messages in one call at present, from 1 to `max`.
    pub fn get(&self) -> usize {
        self.now
    }

    /// A call crashed.
    pub fn halve(&mut self) {
        self.now = (self.now / 2).max(1);
        self.handled = 0;
    }

    /// A call handled so many messages without a crash.
    pub fn grew(&mut self, handled: usize) {
        if self.now == self.max {
            return;
        }
        self.handled = self.handled.saturating_add(handled);
        if self.handled >= self.now.saturating_mul(Self::GROW_AFTER) {
            self.now = self.now.saturating_mul(2).min(self.max);
            self.handled = 0;
        }
    }
}

#[cfg(test)]
mod tests;
