//! How often something may happen; what is refused is counted.

use std::time::{Duration, Instant};

/// Admits so many in a window of time. A window begins with the first that comes after the one before.
#[derive(Debug)]
pub struct RateLimit {
    most: u32,
    window: Duration,
    start: Option<Instant>,
    admitted: u32,
    /// In the window that runs.
    refused: u64,
    /// In windows that are over, and nobody has asked yet.
    refused_before: u64,
}

impl RateLimit {
    /// `most` in a `window`.
    pub const fn new(most: u32, window: Duration) -> Self {
        Self { most, window, start: None, admitted: 0, refused: 0, refused_before: 0 }
    }

    /// Whether one more may happen now.
    pub fn admit(&mut self, now: Instant) -> bool {
        let admitted = self.room(now) > 0;
        if admitted {
            self.admitted += 1;
        } else {
            self.refused += 1;
        }
        admitted
    }

    /// How many more may happen now.
    pub fn room(&mut self, now: Instant) -> u32 {
        if self.start.is_none_or(|start| now.duration_since(start) >= self.window) {
            self.start = Some(now);
            self.admitted = 0;
            self.refused_before += std::mem::take(&mut self.refused);
        }
        self.most.saturating_sub(self.admitted)
    }

    /// Counts what there was no room for.
    pub fn refuse(&mut self, count: u64) {
        self.refused += count;
    }

    /// How many were refused in windows that are over. Each is told of once.
    pub fn take_refused(&mut self, now: Instant) -> u64 {
        // Also if nothing comes: the window may be over.
        self.room(now);
        std::mem::take(&mut self.refused_before)
    }

    /// How many were refused and not told of yet, in the window that runs as well.
    pub fn refused(&self) -> u64 {
        self.refused + self.refused_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    #[test]
    fn a_window_admits_so_many_and_the_next_one_as_many_again() {
        let (mut limit, start) = (RateLimit::new(3, WINDOW), Instant::now());
        let admitted = |limit: &mut RateLimit, now| (0..100).filter(|_| limit.admit(now)).count();
        assert_eq!(limit.room(start), 3);
        assert_eq!(admitted(&mut limit, start), 3);
        assert_eq!(admitted(&mut limit, start + WINDOW - Duration::from_nanos(1)), 0);
        assert_eq!(admitted(&mut limit, start + WINDOW), 3);
        // It begins when something comes, not every ten seconds.
        assert!(limit.admit(start + WINDOW * 5 / 2));
        assert_eq!(limit.room(start + WINDOW * 3), 2);
    }

    #[test]
    fn what_was_refused_is_told_of_once_when_its_window_is_over() {
        let (mut limit, start) = (RateLimit::new(1, WINDOW), Instant::now());
        assert_eq!((0..5).filter(|_| limit.admit(start)).count(), 1);
        limit.refuse(7);
        assert_eq!((limit.take_refused(start), limit.refused()), (0, 11));
        assert_eq!(limit.take_refused(start + WINDOW), 11);
        assert_eq!((limit.take_refused(start + WINDOW * 2), limit.refused()), (0, 0));
        assert!(!RateLimit::new(0, WINDOW).admit(start));
    }
}
