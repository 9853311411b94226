//! Offsets: `Offset` is the place of one message; `NextOffset` is a place to go on from.
//!
//! They are two types because Kafka's commit wants the second and every message carries the first. One too low repeats
//! a message at each restart, one too high loses one.

use std::fmt;

/// The offset of one message in its partition.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Offset(pub i64);

/// The offset from which a partition is to be read on: the only thing that can be committed.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NextOffset(i64);

impl NextOffset {
    /// One past `offset`: that message and everything below it need not be read again.
    pub fn after(offset: Offset) -> Self {
        Self(offset.0.saturating_add(1))
    }

    /// A position as Kafka tells it (a committed offset, the first or last position of a partition): it is already the
    /// offset of the next message to read.
    pub fn at(position: i64) -> Self {
        Self(position)
    }

    /// The number to commit or to seek to.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NextOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_one_past_the_last_complete_message() {
        assert_eq!(NextOffset::after(Offset(6)).get(), 7);
        assert_eq!(NextOffset::at(7), NextOffset::after(Offset(6)));
    }

    #[test]
    fn the_highest_offset_there_is_does_not_wrap_to_the_lowest() {
        assert_eq!(NextOffset::after(Offset(i64::MAX)).get(), i64::MAX);
    }
}
