//! The time of the data plane. Tests move it ahead, for everything that a lane and a committer do on their thread.

/// The present moment.
#[cfg(not(test))]
pub fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[cfg(test)]
pub use ahead::{advance, now, reset};

#[cfg(test)]
mod ahead {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    thread_local! {
        static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// The present moment, and as much as this thread's test is ahead.
    pub fn now() -> Instant {
        Instant::now() + AHEAD.get()
    }

    pub fn advance(time: Duration) {
        AHEAD.set(AHEAD.get() + time);
    }

    /// A new test begins on this thread.
    pub fn reset() {
        AHEAD.set(Duration::ZERO);
    }
}
