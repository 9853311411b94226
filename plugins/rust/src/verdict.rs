//! What a handler says of a message.

use std::fmt::{self, Debug, Display};
use std::time::Duration;

/// What a handler says of a message: acknowledged, or why not.
pub type Verdict = Result<(), Failure>;

/// Acknowledges the message: it is finished once everything sent for it is confirmed by the broker.
#[inline]
pub const fn ack() -> Verdict {
    Ok(())
}

/// Why a message is not acknowledged. Nothing that was sent for it is published.
///
/// Any error that can be displayed becomes a [`reject`](Failure::reject) through `?`. A handler has no network and no
/// files, so an error in it is nearly always one of the message, which another attempt would meet again; say
/// [`retry`](Failure::retry) where you know better.
// Boxed, so that a `Verdict` is one word: an acknowledgement costs no store.
pub struct Failure(Box<Why>);

struct Why {
    /// `None`: rejected. Else the least delay in milliseconds.
    retry_after_ms: Option<u32>,
    reason: String,
}

impl Failure {
    /// The message is handed over again, after the pipeline's `retry.backoff` or later, as attempt + 1; after
    /// `retry.attempts` it is given up. No later message of its partition is handled in between.
    pub fn retry(reason: impl Display) -> Self {
        Self::retry_after(Duration::ZERO, reason)
    }

    /// As [`retry`](Failure::retry), but not before `delay` has passed (whole milliseconds, rounded up). The pipeline's
    /// `retry.max_delay` is the most it waits.
    pub fn retry_after(delay: Duration, reason: impl Display) -> Self {
        let ms = delay.as_nanos().div_ceil(1_000_000);
        Self::new(Some(u32::try_from(ms).unwrap_or(u32::MAX)), &reason)
    }

    /// The message is given up for good: it goes to the pipeline's dead letters, or wherever `on_exhausted` says.
    pub fn reject(reason: impl Display) -> Self {
        Self::new(None, &reason)
    }

    #[cold]
    fn new(retry_after_ms: Option<u32>, reason: &dyn Display) -> Self {
        // The alternate form, because that is where errors that wrap others show the whole chain.
        Self(Box::new(Why { retry_after_ms, reason: format!("{reason:#}") }))
    }

    /// The text given.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Whether this asks for another attempt.
    pub fn is_retry(&self) -> bool {
        self.0.retry_after_ms.is_some()
    }

    /// In the contract's terms: milliseconds for a retry, `None` for a rejection.
    pub(crate) fn retry_after_ms(&self) -> Option<u32> {
        self.0.retry_after_ms
    }
}

// `Failure` must not implement `Display` itself: this would then overlap with `From<T> for T`.
impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::reject(error)
    }
}

impl Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.retry_after_ms {
            Some(ms) => write!(f, "retry after {ms} ms: {}", self.0.reason),
            None => write!(f, "reject: {}", self.0.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_becomes_a_rejection_with_its_text() {
        fn parse() -> Verdict {
            "x".parse::<u32>()?;
            ack()
        }
        let failure = parse().unwrap_err();
        assert!(!failure.is_retry());
        assert_eq!(failure.reason(), "invalid digit found in string");
    }

    #[test]
    fn a_delay_is_rounded_up_and_never_becomes_a_rejection() {
        let ms = |delay| Failure::retry_after(delay, "later").retry_after_ms();
        assert_eq!(ms(Duration::ZERO), Some(0));
        assert_eq!(ms(Duration::from_micros(1)), Some(1));
        assert_eq!(ms(Duration::from_secs(2)), Some(2000));
        assert_eq!(ms(Duration::MAX), Some(u32::MAX));
        assert_eq!(Failure::reject("no").retry_after_ms(), None);
    }

    #[test]
    fn a_verdict_is_one_word() {
        assert_eq!(size_of::<Verdict>(), size_of::<usize>());
    }
}
