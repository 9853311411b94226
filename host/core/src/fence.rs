//! Fences: the number of an assignment and of its local restarts, which everything in flight carries.
//!
//! An answer whose fence is not the present one is dropped. Without it, a verdict or a delivery report that comes late
//! moves the offset of a partition that by then belongs to somebody else.

/// The number of one holding of partitions by a member. Never used twice in a process.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Generation(pub u64);

/// The number of a local restart (rewind) within a generation.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch of a partition that has just been assigned.
    pub const FIRST: Self = Self(0);

    /// The epoch after a rewind.
    pub fn next(self) -> Self {
        // Wrapping, not saturating: an epoch that stood still would let everything late through.
        Self(self.0.wrapping_add(1))
    }
}

/// Which generation and epoch something in flight belongs to.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Fence {
    /// The number of the assignment.
    pub generation: Generation,
    /// The restart within it.
    pub epoch: Epoch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_never_follows_itself() {
        for epoch in [Epoch::FIRST, Epoch(41), Epoch(u32::MAX)] {
            assert_ne!(epoch.next(), epoch);
        }
    }
}
