//! librdkafka's log lines, on their way to `tracing`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel as Level;
use wasmill_core::RateLimit;

/// Lines let through in a window; a broker that is away writes several a second and client.
const LINES_PER_WINDOW: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// Lets a few lines through per window and counts the rest.
pub(crate) struct Limit(Mutex<RateLimit>);

impl Limit {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(RateLimit::new(LINES_PER_WINDOW, WINDOW)))
    }

    /// Some(how many were held back before) if a line at `now` may be written.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut limit = self.0.lock();
        limit.admit(now).then(|| limit.take_refused(now))
    }
}

/// Writes a line of librdkafka's. Never unwinds: a subscriber that panics (standard error closed) must not do so inside a
/// callback.
pub(crate) fn forward(limit: &Limit, client: &str, level: Level, facility: &str, text: &str) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if matches!(level, Level::Debug) {
            tracing::debug!(target: "librdkafka", client, facility, "{text}");
            return;
        }
        let Some(held_back) = limit.admit(Instant::now()) else { return };
        if held_back > 0 {
            tracing::warn!(target: "librdkafka", client, "{held_back} lines of librdkafka were left out");
        }
        match level {
            Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
                tracing::error!(target: "librdkafka", client, facility, "{text}");
            }
            Level::Warning => tracing::warn!(target: "librdkafka", client, facility, "{text}"),
            _ => tracing::info!(target: "librdkafka", client, facility, "{text}"),
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_back_a_flood_and_says_how_much() {
        let limit = Limit::new();
        let start = Instant::now();
        let let_through = (0..100).filter(|_| limit.admit(start).is_some()).count();
        assert_eq!(let_through, 10);
        assert_eq!(limit.admit(start + WINDOW), Some(90));
    }
}
