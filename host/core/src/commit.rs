//! Commit modes: which offset of a partition is to be committed now.

use std::time::Duration;

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

impl CommitMode {
    /// The least time from one commit of a member to the next.
    pub fn spacing(&self) -> Duration {
        match *self {
            Self::Manual { min_interval } => min_interval,
            Self::Sync => Duration::ZERO,
            Self::Interval(interval) | Self::Auto(interval) => interval,
        }
    }
}

/// What to commit for one partition now; `None` if there is nothing new or the generation is closed. `closing`: at a
/// revoke, a shutdown or a stop, before the tracker is closed.
///
/// Manual, sync, interval: the watermark. Auto: the position; when closing the watermark, although it may be lower than
/// what was committed, so that only a crash can lose.
///
/// When to ask is for the caller, and so is committing a note that changed while the offset did not.
pub fn due(
    mode: &CommitMode,
    tracker: &Tracker,
    last_committed: Option<NextOffset>,
    closing: bool,
) -> Option<NextOffset> {
    if tracker.is_closed() {
        // The partition may be somebody else's by now.
        return None;
    }
    let next = match mode {
        CommitMode::Auto(_) if !closing => tracker.position(),
        _ => tracker.watermark(),
    };
    // Not "higher than": in auto mode, and after a rewind, the right offset can be a lower one.
    (last_committed != Some(next)).then_some(next)
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
                assert_eq!(due(&mode, &tracker, Some(NextOffset::at(10)), closing), Some(NextOffset::at(15)));
                assert_eq!(due(&mode, &tracker, None, closing), Some(NextOffset::at(15)));
                assert_eq!(due(&mode, &tracker, Some(NextOffset::at(15)), closing), None);
            }
        }
    }

    #[test]
    fn auto_commits_the_position_and_takes_it_back_to_the_watermark_when_closing() {
        let tracker = half_way();
        assert_eq!(due(&AUTO, &tracker, Some(NextOffset::at(10)), false), Some(NextOffset::at(20)));
        assert_eq!(due(&AUTO, &tracker, Some(NextOffset::at(20)), false), None);
        assert_eq!(due(&AUTO, &tracker, Some(NextOffset::at(20)), true), Some(NextOffset::at(15)));
    }

    #[test]
    fn commits_nothing_for_a_closed_generation() {
        let mut tracker = half_way();
        tracker.close();
        for mode in [MANUAL, CommitMode::Sync, AUTO] {
            assert_eq!(due(&mode, &tracker, None, false), None);
            assert_eq!(due(&mode, &tracker, Some(NextOffset::at(10)), true), None);
        }
    }

    #[test]
    fn spacing_is_what_the_mode_says() {
        assert_eq!(MANUAL.spacing(), Duration::from_millis(50));
        assert_eq!(CommitMode::Sync.spacing(), Duration::ZERO);
        assert_eq!(AUTO.spacing(), Duration::from_secs(1));
    }
}
