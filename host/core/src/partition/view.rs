//! A partition as status shows it: nothing here is stored, all of it is read from stage, motion and holds.

use std::time::Instant;

use super::Partition;
use super::hold::Reason;
use super::stage::{Closed, Stage};

/// What a partition is doing, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Its first position is not persisted yet.
    Starting,
    /// Messages are delivered as they come.
    Running,
    /// It waits and goes on by itself.
    Waiting,
    /// It needs a decision, or its topic is gone.
    Stopped,
    /// An operator holds it.
    Paused,
    /// A later version of the group has had messages of it.
    Behind,
    /// The assignment is over.
    Closed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Starting, Self::Running, Self::Waiting, Self::Stopped, Self::Paused, Self::Behind, Self::Closed];

    /// The word for it in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Behind => "behind",
            Self::Closed => "closed",
        }
    }
}

/// What there is to say about a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// What the partition is doing.
    pub state: State,
    /// The message that waits, or at which it stands.
    pub offset: Option<i64>,
    /// The attempt that is next.
    pub attempt: Option<u32>,
    /// When the next attempt is due.
    pub next_try: Option<Instant>,
    /// Why it is in this state, for people.
    pub reason: Option<String>,
}

impl View {
    fn of(state: State) -> Self {
        Self { state, offset: None, attempt: None, next_try: None, reason: None }
    }
}

impl Partition {
    /// The partition as status shows it: its stage, and of its holds the one that says most.
    pub fn view(&self) -> View {
        if let Some(hold) = self.holds.get(Reason::VersionBehind { epoch: 0 })
            && let Reason::VersionBehind { epoch } = hold.reason
            && !self.tracker.is_closed()
        {
            let reason = format!("version {epoch} of the group has had messages of it and does not serve here yet");
            return View { reason: Some(reason), ..View::of(State::Behind) };
        }
        match &self.stage {
            Stage::Closed(Closed::Orphaned(reason)) => View {
                offset: Some(self.tracker.position().get()),
                reason: Some(reason.clone()),
                ..View::of(State::Stopped)
            },
            Stage::Closed(Closed::Revoked | Closed::Lost) => View::of(State::Closed),
            Stage::Resolving => View { reason: self.why(), ..View::of(State::Starting) },
            Stage::Opening | Stage::Leaving { opening: true, .. } if self.holds.stop().is_none() => {
                View::of(State::Starting)
            }
            Stage::Opening | Stage::Held | Stage::Leaving { .. } => self.view_of_holds(),
        }
    }

    fn why(&self) -> Option<String> {
        self.holds.first().map(|hold| hold.why.clone().into_owned())
    }

    fn view_of_holds(&self) -> View {
        if let Some((_, stop)) = self.holds.stop() {
            let reason = Some(stop.why.clone().into_owned());
            let state = if stop.next_try.is_some() { State::Waiting } else { State::Stopped };
            return View { offset: stop.offset(), reason, next_try: stop.next_try, ..View::of(state) };
        }
        for hold in self.holds.iter() {
            let (offset, next_try) = (hold.offset(), hold.next_try);
            let reason = Some(hold.why.clone().into_owned()).filter(|why| !why.is_empty());
            match hold.reason {
                Reason::Backoff { attempt } => {
                    return View { state: State::Waiting, offset, attempt: Some(attempt), next_try, reason };
                }
                Reason::AwaitInput | Reason::AwaitOutput | Reason::OutcomeUnknown => {
                    return View { state: State::Waiting, offset, attempt: None, next_try, reason };
                }
                Reason::Paused => return View::of(State::Paused),
                // Shown above, or they last for moments and say nothing to a person.
                Reason::VersionBehind { .. }
                | Reason::Stopped(_)
                | Reason::VersionUnnoted
                | Reason::VersionDraining
                | Reason::Parked
                | Reason::Breaker
                | Reason::ProducerResting
                | Reason::WindowFull
                | Reason::NoteFull
                | Reason::RetryFull
                | Reason::SyncUnpersisted
                | Reason::SliceEnding
                | Reason::RateLimit => {}
            }
        }
        View::of(State::Running)
    }
}
