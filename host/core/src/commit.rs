//! Commit modes: which offset of a partition is committed, and when.
//!
//! All that a mode decides is here, and each question is a `match` over all of them: who adds one is asked by the compiler.

use std::time::{Duration, Instant};

use crate::offset::NextOffset;
use crate::tracker::Tracker;

/// `[pipelines.NAME.commit]`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum CommitMode {
    /// The watermark as it moves.
    Manual {
        /// At least so long from one commit of a member to the next; zero is allowed.
        min_interval: Duration,
    },
    /// The watermark after each batch; nothing more is handed over until the broker has answered.
    Sync,
    /// The watermark, once an interval.
    Interval(Duration),
    /// The position, once an interval, whatever the handler says: a crash loses up to a span.
    Auto(Duration),
}

/// An interval of nothing would be a loop that never rests.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);

/// The commits of a member so far.
#[derive(Copy, Clone, Debug)]
pub struct Pace {
    /// When the last one went out.
    pub started: Option<Instant>,
    /// When the last one was answered and its pause over; before the first, when the member began.
    pub rested: Instant,
}

impl CommitMode {
    /// The offset that is committed. `closing`: at a revoke, a shutdown or a stop. Auto takes its position back to the
    /// watermark then, although that may be lower than what was committed, so that only a crash can lose.
    pub fn offset(&self, tracker: &Tracker, closing: bool) -> NextOffset {
        match self {
            Self::Manual { .. } | Self::Sync | Self::Interval(_) => tracker.watermark(),
            Self::Auto(_) if closing => tracker.watermark(),
            Self::Auto(_) => tracker.position(),
        }
    }

    /// What to commit for one partition now; `None` if there is nothing new or the generation is closed. `closing`: before
    /// the tracker is closed.
    ///
    /// It is asked whenever a watermark moved and [`CommitMode::next_commit`] says that it is time; a mode that has nothing
    /// to commit yet says `None` then. Committing a note that changed while the offset did not is for the caller.
    pub fn due(&self, tracker: &Tracker, last_committed: Option<NextOffset>, closing: bool) -> Option<NextOffset> {
        if tracker.is_closed() {
            // The partition may be somebody else's by now.
            return None;
        }
        let next = self.offset(tracker, closing);
        // Not "higher than": in auto mode, and after a rewind, the right offset can be a lower one.
        (last_committed != Some(next)).then_some(next)
    }

    /// Whether nothing more of a partition is delivered until what is complete of it is committed.
    pub fn holds_delivery(&self) -> bool {
        match self {
            Self::Sync => true,
            Self::Manual { .. } | Self::Interval(_) | Self::Auto(_) => false,
        }
    }

    /// When a member commits next. `marked`: since when there is something to commit.
    pub fn next_commit(&self, pace: Pace, marked: Option<Instant>) -> Option<Instant> {
        match *self {
            Self::Manual { min_interval } => marked.map(|marked| marked.max(pace.spaced(min_interval))),
            Self::Sync => marked.map(|marked| marked.max(pace.spaced(Duration::ZERO))),
            // The interval is waited out first, whatever moves meanwhile.
            Self::Interval(interval) => marked.map(|marked| pace.end_of_interval(interval, marked)),
            // The position moves though nobody marks anything.
            Self::Auto(interval) => Some(pace.rested + interval.max(LEAST_INTERVAL)),
        }
    }
}

impl Pace {
    /// The first moment that is so long after the last commit.
    fn spaced(self, spacing: Duration) -> Instant {
        self.started.map_or(self.rested, |started| (started + spacing).max(self.rested))
    }

    /// The first end of an interval at or after `marked`.
    fn end_of_interval(self, interval: Duration, marked: Instant) -> Instant {
        let interval = interval.max(LEAST_INTERVAL);
        let since = marked.saturating_duration_since(self.rested);
        let whole = since.as_nanos().div_ceil(interval.as_nanos()).max(1);
        self.rested + interval.saturating_mul(u32::try_from(whole).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::done::DoneSet;
    use crate::fence::Generation;
    use crate::offset::Offset;
    use crate::tracker::SpanBound;

    const MANUAL: CommitMode = CommitMode::Manual { min_interval: Duration::from_millis(50) };
    const AUTO: CommitMode = CommitMode::Auto(Duration::from_secs(1));

    /// Starts at 10; 10 to 14 complete, 15 to 19 handed over.
    fn half_way() -> Tracker {
        let bound = SpanBound { messages: 100, bytes: 1000 };
        let mut tracker = Tracker::new(NextOffset::at(10), Generation(1), bound, DoneSet::new());
        let run = tracker.hand_over(Offset(10), Offset(14), 5, 50);
        tracker.hand_over(Offset(15), Offset(19), 5, 50);
        tracker.complete(tracker.fence(), run);
        tracker
    }

    #[test]
    fn commits_the_watermark_and_only_when_it_is_new() {
        let tracker = half_way();
        for mode in [MANUAL, CommitMode::Sync, CommitMode::Interval(Duration::from_secs(1))] {
            for closing in [false, true] {
                assert_eq!(mode.due(&tracker, Some(NextOffset::at(10)), closing), Some(NextOffset::at(15)));
                assert_eq!(mode.due(&tracker, None, closing), Some(NextOffset::at(15)));
                assert_eq!(mode.due(&tracker, Some(NextOffset::at(15)), closing), None);
            }
        }
    }

    #[test]
    fn auto_commits_the_position_and_takes_it_back_to_the_watermark_when_closing() {
        let tracker = half_way();
        assert_eq!(AUTO.due(&tracker, Some(NextOffset::at(10)), false), Some(NextOffset::at(20)));
        assert_eq!(AUTO.due(&tracker, Some(NextOffset::at(20)), false), None);
        assert_eq!(AUTO.due(&tracker, Some(NextOffset::at(20)), true), Some(NextOffset::at(15)));
    }

    #[test]
    fn commits_nothing_for_a_closed_generation() {
        let mut tracker = half_way();
        tracker.close();
        for mode in [MANUAL, CommitMode::Sync, AUTO] {
            assert_eq!(mode.due(&tracker, None, false), None);
            assert_eq!(mode.due(&tracker, Some(NextOffset::at(10)), true), None);
        }
    }

    #[test]
    fn a_commit_is_spaced_by_what_the_mode_says() {
        let began = Instant::now();
        let at = |millis: u64| began + Duration::from_millis(millis);
        let pace = Pace { started: Some(at(0)), rested: at(10) };
        assert_eq!(MANUAL.next_commit(pace, Some(at(20))), Some(at(50)));
        assert_eq!(MANUAL.next_commit(pace, Some(at(70))), Some(at(70)));
        assert_eq!(CommitMode::Sync.next_commit(pace, Some(at(5))), Some(at(10)));
        let interval = CommitMode::Interval(Duration::from_millis(100));
        assert_eq!(interval.next_commit(pace, Some(at(20))), Some(at(110)));
        assert_eq!(interval.next_commit(pace, Some(at(250))), Some(at(310)));
        assert_eq!(AUTO.next_commit(pace, None), Some(at(1010)));
        for mode in [MANUAL, CommitMode::Sync, interval] {
            assert_eq!(mode.next_commit(pace, None), None);
        }
    }
}
