//! Which version of a group's may have a partition's next message.
//!
//! When a whole group swaps, its processes do it one a moment after the other, and partitions move meanwhile. What keeps a
//! partition from going back to the version before is its commit note: it names the newest version that may have handled
//! messages, and that name is confirmed by the coordinator before that version gets its first one.

use wasmill_core::VersionNote;

/// Whether the next message may be handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admit {
    /// To the version that runs.
    Now,
    /// Once all that the version before sent is confirmed: then every message below the boundary is complete.
    Drained,
    /// The note has to be committed. True: it is new.
    Noted(bool),
    /// A later version has had messages of the partition, and this process does not run it yet.
    Behind,
}

/// Where a partition of a pipeline with a control topic stands. One for each assignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Succession {
    noted: Option<VersionNote>,
    /// The epoch that the coordinator has.
    confirmed: u64,
    /// The version that is handed messages.
    serving: Option<VersionNote>,
    behind: Option<u64>,
}

impl Succession {
    /// Of a partition that came with this note. `fresh`: nothing is committed yet, so the first commit takes the version
    /// along. `at`: where reading begins; `running`: the epoch of the version that this process runs.
    pub fn new(note: Option<VersionNote>, fresh: bool, at: i64, running: u64) -> Self {
        let mut new = Self { noted: note, confirmed: epoch(note), serving: None, behind: None };
        if fresh && running > new.confirmed {
            new.noted = Some(VersionNote { epoch: running, first: at });
        }
        new
    }

    /// Asks for the next message, at `next`, on behalf of the version `running`. `in_flight`: not everything that was handed
    /// over is settled, or some of it has to go again.
    pub fn admit(&mut self, running: u64, next: i64, in_flight: bool) -> Admit {
        let noted = epoch(self.noted);
        self.behind = (running < noted).then_some(noted);
        if self.behind.is_some() {
            return Admit::Behind;
        }
        if running > noted {
            if in_flight {
                return Admit::Drained;
            }
            self.noted = Some(VersionNote { epoch: running, first: next });
            return Admit::Noted(true);
        }
        // A commit that was under way when the note was made carries the one before: its confirmation does not count.
        if self.confirmed < running {
            return Admit::Noted(false);
        }
        self.serving = self.noted;
        Admit::Now
    }

    /// Whether this version was let in already; cheap enough for every batch.
    pub fn is_settled(&self, running: u64) -> bool {
        self.serving == self.noted && epoch(self.noted) == running
    }

    /// The coordinator has a note with this epoch.
    pub fn confirm(&mut self, epoch: u64) {
        self.confirmed = self.confirmed.max(epoch);
    }

    /// What is committed.
    pub fn note(&self) -> Option<VersionNote> {
        self.noted
    }

    /// Its epoch, zero without one.
    pub fn epoch(&self) -> u64 {
        epoch(self.noted)
    }

    /// Whether the note waits for its commit.
    pub fn is_pending(&self) -> bool {
        self.epoch() > self.confirmed
    }

    /// The version that is handed messages, and the first one that it got.
    pub fn serving(&self) -> Option<VersionNote> {
        self.serving
    }

    /// The version that is waited for.
    pub fn behind(&self) -> Option<u64> {
        self.behind
    }

    /// The note is of a control topic that is no more: this one has no such version.
    pub fn disown(&mut self, epoch: u64) {
        if self.behind == Some(epoch) {
            *self = Self { noted: None, confirmed: 0, serving: None, behind: None };
        }
    }
}

fn epoch(note: Option<VersionNote>) -> u64 {
    note.map_or(0, |note| note.epoch)
}
