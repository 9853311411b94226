//! How what a member's calls come to is published and persisted.
//!
//! A call's outputs and completions are settled as one, under a *permit*. What is settled is persisted together with what
//! other calls of the member settled; when, is for the implementation. At a revoke or an orderly end it is persisted by a
//! deadline, and the answer says what became of it.

use std::sync::Arc;
use std::time::Instant;

use crate::partition::Partition;
use crate::publisher::Publisher;

/// Leave to publish and settle one call. Until it is dropped the slice that the call is in does not end.
#[must_use]
pub struct Permit<'a>(Option<Box<dyn FnOnce() + 'a>>);

impl<'a> Permit<'a> {
    /// One that nobody waits for.
    pub fn free() -> Self {
        Self(None)
    }

    /// One whose end is told: for a delivery whose slices end only when no call is between publishing and settling.
    pub fn returned_by(give_back: impl FnOnce() + 'a) -> Self {
        Self(Some(Box::new(give_back)))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(give_back) = self.0.take() {
            give_back();
        }
    }
}

/// What became of what was settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The coordinator has it.
    Persisted,
    /// It has not: whoever comes next delivers those messages again.
    Restored(String),
    /// Nobody knows; the coordinator has to be asked.
    Unknown(String),
}

/// The delivery of one member.
pub trait Delivery: Send + Sync {
    /// Through what its calls publish now.
    fn publisher(&self) -> Arc<Publisher>;
    /// Waits until a call may be published and settled.
    fn permit(&self) -> Permit<'_>;
    /// Waits until everything that these partitions have in flight is answered for. False: not by the deadline.
    fn drain(&self, partitions: &[Arc<Partition>], deadline: Instant) -> bool;
    /// Persists what these partitions have settled, for the last time: from here on they are not persisted any more. After
    /// *lost* nothing of them is.
    fn end(&self, partitions: &[Arc<Partition>], lost: bool) -> Outcome;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_permit_is_given_back_once_when_it_is_dropped() {
        let given_back = Cell::new(0);
        let permit = Permit::returned_by(|| given_back.set(given_back.get() + 1));
        assert_eq!(given_back.get(), 0);
        drop(permit);
        assert_eq!(given_back.get(), 1);
        drop(Permit::free());
    }
}
