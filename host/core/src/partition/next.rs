//! What a lane does with a partition now: the one place where stage, motion, holds, commits and window are put in order.

use std::time::Instant;

use super::hold::{EndedBy, Hold, Reason};
use super::stage::{Drain, Motion, Stage};
use super::{Partition, Rewound, Sought};
use crate::offset::NextOffset;
use crate::succession::Admit;

/// What the lane knows and the partition does not.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub struct Ask {
    /// What an earlier call left: its first message, and how many.
    pub leftover: Option<(i64, u64)>,
    /// Messages were taken from the source and not delivered.
    pub backlog: bool,
    /// The place in the control topic of the version in force.
    pub running: u64,
    /// The pipeline or the member holds.
    pub held_above: bool,
}

/// What the lane does with the partition now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Deliver the next messages.
    Deliver,
    /// Nothing: the event that ends the wait wakes the lane.
    Wait,
    /// Nothing before then.
    WaitUntil(Instant),
    /// Nothing, and the note has to be persisted at once.
    PersistNote,
    /// Forget what was taken, put the source here, and say how that went.
    Reposition(NextOffset),
    /// The partition went back: forget what was taken.
    Rewound(Rewound),
    /// The partition was moved by an operator: forget what was taken, and have the new position persisted at once.
    Moved(Sought),
}

impl Partition {
    /// What to do now. The order is a rule: the group's version first, then the stage, then a move that an operator asked for,
    /// then the partition's holds, then those of the pipeline, then where the source stands, and last what the commits and the
    /// window allow.
    pub fn next(&mut self, ask: &Ask, now: Instant) -> Next {
        let admit = self.admit(ask, now);
        match admit {
            // A drain may be waited for here that only a rewind or a move brings to its end.
            Admit::Now | Admit::Drained => {}
            Admit::Noted(true) => return Next::PersistNote,
            Admit::Noted(false) | Admit::Behind => return Next::Wait,
        }
        match &self.stage {
            Stage::Resolving | Stage::Leaving { .. } | Stage::Closed(_) => return Next::Wait,
            Stage::Opening | Stage::Held => {}
        }
        // Asked for by an operator, so it goes on while the partition is stopped or paused.
        if let Motion::Draining(Drain::Seek { to, until }) = self.motion {
            return self.move_when_drained(to, until, now);
        }
        if let Some(wait) = self.held(now, ask.leftover.is_some() || ask.backlog) {
            return wait;
        }
        if ask.held_above {
            return Next::Wait;
        }
        match self.motion {
            Motion::Repositioning { not_before: Some(when), .. } if now < when => return Next::WaitUntil(when),
            Motion::Repositioning { to, .. } => return self.reposition(to),
            Motion::Steady | Motion::Draining(_) => {}
        }
        if self.stage == Stage::Opening {
            return Next::Wait;
        }
        if self.motion == Motion::Draining(Drain::Rewind) {
            // Let the rest of what is in flight finish, so that nothing of it is published twice.
            if self.tickets == 0 {
                return Next::Rewound(self.rewind(now));
            }
            self.wants_wake = true;
            return Next::Wait;
        }
        if admit == Admit::Drained {
            return Next::Wait;
        }
        if self.mode.holds_delivery() && self.is_unpersisted() {
            self.holds.put(Hold::new(Reason::SyncUnpersisted, now));
            return Next::Wait;
        }
        if ask.leftover.is_none() && !self.tracker.room() {
            self.holds.put(Hold::new(Reason::WindowFull, now));
            self.wants_wake = true;
            return Next::Wait;
        }
        if self.distrusted && ask.leftover.is_none() && !ask.backlog {
            self.distrusted = false;
            let to = self.tracker.position();
            self.motion = Motion::Repositioning { to, not_before: None };
            return self.reposition(to);
        }
        if !self.holds.is_empty() {
            self.holds.end(Reason::WindowFull);
            self.holds.end(Reason::SyncUnpersisted);
        }
        self.let_in = Some(self.tracker.fence());
        Next::Deliver
    }

    fn reposition(&mut self, to: NextOffset) -> Next {
        self.asked_for = Some(to);
        Next::Reposition(to)
    }

    /// What the holds say to the lane.
    fn held(&mut self, now: Instant, in_hand: bool) -> Option<Next> {
        if self.holds.is_empty() {
            return None;
        }
        self.holds.expire(now);
        // Those are levels, not events: they are looked at anew each time.
        let levels = [Reason::WindowFull, Reason::SyncUnpersisted, Reason::VersionDraining];
        // What was taken is delivered, whatever the source says of what comes behind.
        let of_source = |hold: &&Hold| in_hand && hold.reason == Reason::AwaitInput && hold.next_try.is_some();
        let stands = |hold: &&Hold| !levels.contains(&hold.reason) && !of_source(hold);
        let mut holds = self.holds.iter().filter(stands).peekable();
        holds.peek()?;
        // All of them have to end; a time counts only if the others end by time, too.
        let mut last = None;
        for hold in holds {
            if hold.reason.ended_by() != EndedBy::Time {
                return Some(Next::Wait);
            }
            last = last.max(hold.next_try);
        }
        Some(last.map_or(Next::Wait, Next::WaitUntil))
    }

    fn is_unpersisted(&self) -> bool {
        self.tickets > 0 || self.committed().is_some_and(|committed| committed < self.tracker.watermark())
    }

    /// Whether the version in force may have the next message, as far as the group is concerned. Asked also while the
    /// partition is paused or stopped: it passes on with the others.
    fn admit(&mut self, ask: &Ask, now: Instant) -> Admit {
        // Nothing is ever committed for a group that may not begin: it stops, and the source says why.
        let begins = self.persisted.is_some() || self.is_opening();
        let leaving = self.is_leaving();
        let next = ask.leftover.map(|(first, _)| first).or(self.stopped_at());
        let Some(succession) = self.succession.as_mut().filter(|_| begins && !leaving) else { return Admit::Now };
        if succession.is_settled(ask.running) {
            // It may have become so without being asked: the note was disowned, or the swap was taken back.
            self.holds.end_version_holds();
            return Admit::Now;
        }
        let next = next.unwrap_or(self.tracker.position().get());
        // What was purged from a producer that failed is not in flight any more, and goes again.
        let again = ask.leftover.map_or(0, |(_, messages)| messages);
        let rewinds = self.motion == Motion::Draining(Drain::Rewind);
        let in_flight = self.tickets > 0 || rewinds || self.tracker.outstanding() > again;
        let admit = succession.admit(ask.running, next, in_flight);
        let behind = succession.behind();
        self.holds.end_version_holds();
        match admit {
            Admit::Now => {}
            Admit::Behind => {
                let epoch = behind.unwrap_or_default();
                self.holds.put(Hold::new(Reason::VersionBehind { epoch }, now));
            }
            Admit::Drained => {
                self.holds.put(Hold::new(Reason::VersionDraining, now));
                self.wants_wake = true;
            }
            Admit::Noted(new) => {
                self.holds.put(Hold::new(Reason::VersionUnnoted, now));
                self.note_dirty |= new;
            }
        }
        admit
    }

    /// Moves the partition once nothing of it is in flight, or when that took too long.
    fn move_when_drained(&mut self, to: NextOffset, until: Instant, now: Instant) -> Next {
        if self.tickets > 0 && now < until {
            self.wants_wake = true;
            return Next::WaitUntil(until);
        }
        let needs_new_client = self.holds.stop().is_some_and(|(class, _)| class.needs_new_client());
        let from = self.tracker.watermark().get();
        let sought = Sought { from, to: to.get(), dropped: self.tracker.outstanding(), needs_new_client };
        self.tracker.seek(to);
        self.forget_in_flight();
        self.retry = None;
        self.holds.end_stop();
        self.holds.end_backoff();
        if needs_new_client {
            self.holds.put(Hold::new(Reason::AwaitInput, now).because("a new client goes on at the new position"));
        }
        self.distrusted = false;
        self.motion = Motion::Repositioning { to, not_before: None };
        // As with the first position of an assignment: what is delivered now would be delivered again, or left out, by
        // whoever goes on from the old offset after a crash.
        self.stage = Stage::Opening;
        self.note_dirty = true;
        self.moved = Some(sought);
        Next::Moved(sought)
    }
}
