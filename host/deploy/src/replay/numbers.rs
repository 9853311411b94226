//! What a version did with the messages, in numbers.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::handler_tests::lane::{Answer, Verdict};

/// How exactly a time is known: to one part in a hundred.
const SIGNIFICANT_DIGITS: u8 = 2;

/// What a version did with all messages.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Numbers {
    /// SHA-256 of the handler's file.
    pub digest: String,
    /// Messages that were settled.
    pub messages: u64,
    /// Acknowledged.
    pub acks: u64,
    /// Given up because the handler said so.
    pub rejects: u64,
    /// Given up for whatever reason, rejects among them.
    pub given_up: u64,
    /// How often a message was handed over again.
    pub retries: u64,
    /// Calls that failed as a whole: traps, deadlines, memory.
    pub crashes: u64,
    /// Outputs of acknowledged messages.
    pub outputs: u64,
    /// Mean time of a message, in microseconds; in a batch each takes an equal part of the call.
    pub mean_us: f64,
    /// Of a hundred messages one takes longer, in microseconds.
    pub p99_us: f64,
    /// The most memory that an instance had, in bytes.
    pub memory_bytes: u64,
    /// Instances that were started.
    pub instances: u64,
    #[serde(skip)]
    times: Times,
}

impl Numbers {
    /// Of this version, nothing yet.
    pub fn new(digest: &str) -> Self {
        Self { digest: digest.to_owned(), ..Self::default() }
    }

    /// Counts what came of a message, attempt by attempt. `timed`: its time counts.
    pub fn count(&mut self, answers: &[Answer], timed: bool) {
        let Some(last) = answers.last() else { return };
        self.messages += 1;
        self.retries += answers.len() as u64 - 1;
        match &last.verdict {
            Verdict::Acknowledged => self.acks += 1,
            Verdict::GivenUp(end) => {
                self.given_up += 1;
                self.rejects += u64::from(end.class == wasmill_core::ErrorClass::Rejected);
            }
            Verdict::Again { .. } => {}
        }
        self.outputs += last.emitted.len() as u64;
        if timed {
            self.times.add(answers.iter().map(|answer| answer.time).sum());
        }
    }

    /// Notes what is known at the end.
    pub fn end(&mut self, crashes: u64, instances: u64) {
        (self.crashes, self.instances) = (crashes, instances);
        self.mean_us = self.times.mean().as_secs_f64() * 1e6;
        self.p99_us = self.times.quantile(0.99).as_secs_f64() * 1e6;
    }

    /// The share of messages that were given up, from 0 to 1.
    pub fn given_up_share(&self) -> f64 {
        if self.messages == 0 { 0.0 } else { self.given_up as f64 / self.messages as f64 }
    }
}

/// Times of any number of messages, in little memory.
#[derive(Debug, Clone, PartialEq)]
struct Times {
    /// Times in nanoseconds.
    histogram: Histogram<u64>,
    sum: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new(SIGNIFICANT_DIGITS).expect("0 to 5 digits are allowed");
        Self { histogram, sum: Duration::ZERO }
    }
}

impl Times {
    fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.record(nanos).expect("it grows with what is recorded");
        self.sum = self.sum.saturating_add(time);
    }

    fn mean(&self) -> Duration {
        self.sum.checked_div(u32::try_from(self.histogram.len()).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    /// A time that so large a part of all does not exceed.
    fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_quantile(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_known_to_a_hundredth() {
        let mut times = Times::default();
        for micros in 1..=1000 {
            times.add(Duration::from_micros(micros));
        }
        let near = |time: Duration, micros: f64| {
            let ratio = time.as_secs_f64() * 1e6 / micros;
            assert!((0.99..1.01).contains(&ratio), "{time:?} for {micros}");
        };
        near(times.quantile(0.99), 990.0);
        near(times.quantile(0.5), 500.0);
        near(times.quantile(1.0), 1000.0);
        near(times.mean(), 500.5);
        assert_eq!((Times::default().quantile(0.99), Times::default().mean()), (Duration::ZERO, Duration::ZERO));
        times.add(Duration::MAX / 2);
        times.add(Duration::ZERO);
        assert!(times.quantile(1.0) > Duration::from_secs(1 << 30));
    }
}
