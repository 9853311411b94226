//! Where reading begins: decided here and nowhere in librdkafka, whose own answer to a missing position is a silent jump.
//!
//! A group's first position in a topic may be the end or a time. A partition that is added to the topic later must begin
//! at its first message all the same: what was produced before the group noticed the partition would be skipped. The two
//! cases look alike, a partition without a committed offset while others have one, since members of a fresh group do not
//! commit at the same moment. So every commit carries the *founding count*, the number of partitions when the group first
//! took a position in the topic, at the end of the metadata: `#` and the number. It is copied from commit to commit and
//! never changes. A partition below it is one of the first; any other came later. Where no commit carries one (somebody
//! else's commits), the highest partition with a commit stands for it.
//!
//! A topic that was deleted and made again has other messages under the same offsets. Kafka forgets a group's offsets with
//! the topic, but not those that a member of the old one commits afterwards, nor those that a tool puts back. So a committed
//! offset counts only if the topic's id in its note is the one that the topic has now.

use std::collections::HashMap;

use wasmill_core::{CommitNote, OutOfRange, Position, Start};

use super::note;
use crate::TopicPartition;
use crate::list::Row;
use crate::queue::QueueProblem;

/// The beginning of one partition.
#[derive(Debug)]
pub(super) struct First {
    pub(super) id: TopicPartition,
    pub(super) offset: i64,
    /// What librdkafka is told, where that is another one: it gives a partition up for good that is assigned at an offset
    /// which does not exist, and then no seek can bring it back.
    pub(super) stand_in: Option<i64>,
    pub(super) note: String,
    pub(super) founding: i32,
    pub(super) committed: Option<i64>,
    pub(super) needs_first_commit: bool,
    pub(super) reset: Option<String>,
    pub(super) problem: Option<QueueProblem>,
    pub(super) topic_id: Option<String>,
}

/// Whether this was committed for a topic of the same name that is not there any more.
pub(super) fn is_of_former(row: &Row, now: Option<&str>) -> bool {
    let Some(now) = now.filter(|_| row.offset >= 0) else { return false };
    CommitNote::decode(note::open(&row.note).0).topic_id.is_some_and(|then| then != now)
}

/// What is known of a group's first position in a topic.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(super) struct Founding {
    count: i32,
    /// No partition of the topic has a committed offset.
    fresh: bool,
    /// The group read an earlier topic of that name: all that is in this one came while it was there.
    pub(super) made_again: bool,
}

impl Founding {
    pub(super) fn fresh(count: i32) -> Self {
        Self { count, fresh: true, made_again: false }
    }

    pub(super) fn of<'a>(rows: impl Iterator<Item = &'a Row>, partitions: i32) -> Self {
        let committed: Vec<_> = rows.filter(|row| row.offset >= 0).collect();
        let Some(highest) = committed.iter().map(|row| row.id.partition).max() else {
            return Self::fresh(partitions);
        };
        let noted = committed.iter().filter_map(|row| note::open(&row.note).1).min();
        Self { count: noted.unwrap_or(highest + 1), fresh: false, made_again: false }
    }

    fn came_later(self, partition: i32) -> bool {
        self.made_again || (!self.fresh && partition >= self.count)
    }
}

/// Decides about one partition. No requests here.
pub(super) fn begin(
    id: &TopicPartition,
    row: Option<Row>,
    founding: Founding,
    (start, out_of_range): (Start, OutOfRange),
    ends: &Ends,
) -> First {
    let (low, high) = (ends.low(id), ends.high(id));
    let mut first = First {
        id: id.clone(),
        offset: low,
        stand_in: None,
        note: String::new(),
        founding: founding.count,
        committed: None,
        needs_first_commit: true,
        reset: None,
        problem: None,
        topic_id: None,
    };
    let Some(row) = row.filter(|row| row.offset >= 0) else {
        first.reset = founding
            .made_again
            .then(|| format!("topic {} was deleted and made again, beginning at its first message {low}", id.topic));
        first.offset = match start {
            _ if founding.came_later(id.partition) => low,
            Start::At(position) => position.within(low, ends.latest(id), || ends.at_time(id)),
            Start::Error => {
                // Not even committed: the next start, or the next owner, must find out for itself.
                first.needs_first_commit = false;
                first.problem = Some(QueueProblem::NoOffset);
                first.stand_in = Some(ends.latest(id));
                low
            }
        };
        return first;
    };
    let (note, noted) = note::open(&row.note);
    first.note = note.to_owned();
    first.founding = noted.unwrap_or(founding.count);
    first.needs_first_commit = false;
    first.committed = Some(row.offset);
    first.offset = row.offset;
    if (low..=high).contains(&row.offset) {
        return first;
    }
    let moved = match out_of_range {
        OutOfRange::Stop => {
            first.problem = Some(QueueProblem::OutOfRange { offset: row.offset });
            first.stand_in = Some(ends.latest(id));
            return first;
        }
        OutOfRange::Earliest => low,
        OutOfRange::Latest => ends.latest(id),
    };
    first.offset = moved;
    // What the note says is about messages that are gone.
    first.note = String::new();
    first.committed = None;
    first.needs_first_commit = true;
    first.reset =
        Some(format!("committed offset {} of {id} is not between {low} and {high}, going on at {moved}", row.offset));
    first
}

/// Begins a partition whose committed offset is one of a former topic. No requests here.
pub(super) fn begin_again(row: &Row, founding: Founding, ends: &Ends) -> First {
    // As one that came later, whatever `start` says: nothing of it was ever handed over.
    let first = begin(
        &row.id,
        None,
        Founding { made_again: true, ..founding },
        (Start::At(Position::Earliest), OutOfRange::Stop),
        ends,
    );
    let reset = format!(
        "topic {} was deleted and made again, committed offset {} is one of the old topic, going on at {}",
        row.id.topic, row.offset, first.offset
    );
    First { reset: Some(reset), ..first }
}

/// The ends of the partitions in question.
#[derive(Default)]
pub(super) struct Ends {
    pub(super) low: HashMap<TopicPartition, i64>,
    /// The first offset not to be read yet; below open transactions.
    pub(super) latest: HashMap<TopicPartition, i64>,
    /// The end, open transactions included, where it was asked for.
    pub(super) high: HashMap<TopicPartition, i64>,
    pub(super) at_time: HashMap<TopicPartition, i64>,
}

impl Ends {
    pub(super) fn extend(&mut self, more: Self) {
        self.low.extend(more.low);
        self.latest.extend(more.latest);
        self.high.extend(more.high);
        self.at_time.extend(more.at_time);
    }

    fn low(&self, id: &TopicPartition) -> i64 {
        self.low.get(id).copied().unwrap_or(0).max(0)
    }

    pub(super) fn latest(&self, id: &TopicPartition) -> i64 {
        self.latest.get(id).copied().unwrap_or(0).max(0)
    }

    fn high(&self, id: &TopicPartition) -> i64 {
        self.high.get(id).copied().unwrap_or_else(|| self.latest(id)).max(self.latest(id))
    }

    /// The end if nothing is that young.
    fn at_time(&self, id: &TopicPartition) -> i64 {
        self.at_time.get(id).copied().filter(|offset| *offset >= 0).unwrap_or_else(|| self.latest(id))
    }
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
