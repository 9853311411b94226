//! The messages of a call, by their offsets.
//!
//! What comes of a call is said of these messages and of no others. In partition order a call has everything of its
//! partition between its first and its last message, and that range is all there is to keep. In any other order the offsets
//! in between belong to other calls, so a call keeps them one by one.

use std::sync::Arc;

/// The offsets of a call's messages, ascending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Messages {
    /// Every message of the partition from `first` to `last`. What does not exist in between is a gap or complete already.
    /// True in partition order only.
    Range {
        /// The first message.
        first: i64,
        /// The last message, `first` or higher.
        last: i64,
    },
    /// These and no others.
    Listed(Arc<[i64]>),
}

impl Messages {
    /// The first offset.
    pub fn first(&self) -> i64 {
        match self {
            Self::Range { first, .. } => *first,
            Self::Listed(offsets) => offsets.first().copied().unwrap_or_default(),
        }
    }

    /// The last offset.
    pub fn last(&self) -> i64 {
        match self {
            Self::Range { last, .. } => *last,
            Self::Listed(offsets) => offsets.last().copied().unwrap_or_default(),
        }
    }

    /// Those up to `last`, which is one of them: what was settled of the call.
    #[must_use]
    pub fn up_to(&self, last: i64) -> Self {
        match self {
            Self::Range { first, .. } => Self::Range { first: *first, last },
            Self::Listed(offsets) => Self::Listed(offsets.iter().copied().filter(|offset| *offset <= last).collect()),
        }
    }

    /// The ranges that are complete when everything but `refused` is. The only place where offsets between messages count
    /// as complete, and only for a range: in any other order they are somebody else's, and to call them complete would
    /// lose them.
    pub fn complete_beside(&self, refused: impl IntoIterator<Item = i64>) -> Vec<(i64, i64)> {
        let mut refused: Vec<i64> = refused.into_iter().collect();
        refused.sort_unstable();
        refused.dedup();
        let mut ranges = Vec::new();
        match self {
            Self::Range { first, last } => {
                let mut from = *first;
                for offset in refused {
                    if from < offset {
                        ranges.push((from, (offset - 1).min(*last)));
                    }
                    from = from.max(offset.saturating_add(1));
                }
                if from <= *last {
                    ranges.push((from, *last));
                }
            }
            Self::Listed(offsets) => {
                let complete = offsets.iter().filter(|offset| refused.binary_search(offset).is_err());
                ranges.extend(complete.map(|offset| (*offset, *offset)));
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(offsets: &[i64]) -> Messages {
        Messages::Listed(offsets.into())
    }

    #[test]
    fn in_partition_order_the_gaps_beside_a_refused_message_are_complete() {
        let call = Messages::Range { first: 100, last: 109 };
        assert_eq!(call.complete_beside([104, 104, 101]), [(100, 100), (102, 103), (105, 109)]);
        assert_eq!(call.complete_beside([100, 109]), [(101, 108)]);
        assert_eq!(call.complete_beside([]), [(100, 109)]);
    }

    #[test]
    fn in_any_other_order_what_lies_between_is_somebody_elses() {
        assert_eq!(listed(&[100, 104, 109]).complete_beside([104]), [(100, 100), (109, 109)]);
    }

    #[test]
    fn a_call_that_was_settled_in_part_answers_for_that_part() {
        assert_eq!(Messages::Range { first: 5, last: 9 }.up_to(7), Messages::Range { first: 5, last: 7 });
        assert_eq!(listed(&[5, 7, 9]).up_to(7), listed(&[5, 7]));
        assert_eq!((listed(&[5, 7]).first(), listed(&[5, 7]).last()), (5, 7));
    }
}
