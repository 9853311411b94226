//! How many messages differ, and in what.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::difference::Differences;

/// Fields that are counted by name. A value with names that are different in each message has as many fields as messages.
const MAX_NAMED_FIELDS: usize = 200;

/// Counts of compared messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Messages that both versions were given.
    pub messages: u64,
    /// Those of which they made different things.
    pub differing: u64,
    /// Differing messages by field, whatever the number of the output, header or list item: `output value.items[].price`.
    pub fields: BTreeMap<String, u64>,
    /// Differences in fields beyond those that are counted by name.
    pub other_fields: u64,
}

impl Summary {
    /// Counts messages of which both versions made the same.
    pub fn same(&mut self, messages: u64) {
        self.messages += messages;
    }

    /// Counts a message that differs.
    pub fn differs(&mut self, differences: &Differences) {
        self.messages += 1;
        self.differing += 1;
        let fields: BTreeSet<String> = differences.fields.iter().map(|one| general(&one.field)).collect();
        for field in fields {
            if let Some(count) = self.fields.get_mut(&field) {
                *count += 1;
            } else if self.fields.len() < MAX_NAMED_FIELDS {
                self.fields.insert(field, 1);
            } else {
                self.other_fields += 1;
            }
        }
    }

    /// The share of messages that differ, from 0 to 1.
    pub fn share(&self) -> f64 {
        if self.messages == 0 { 0.0 } else { self.differing as f64 / self.messages as f64 }
    }

    /// The fields, that with the most messages first.
    pub fn by_count(&self) -> Vec<(&str, u64)> {
        let mut fields: Vec<_> = self.fields.iter().map(|(field, count)| (field.as_str(), *count)).collect();
        fields.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        fields
    }
}

/// A field without the numbers of output, header and list items.
fn general(field: &str) -> String {
    let mut kept = String::with_capacity(field.len());
    let mut words = field.splitn(5, ' ');
    // `output 0 header 1 name`: numbers stand second and fourth. Behind them is what a message can name.
    for at in 0.. {
        let Some(word) = words.next() else { break };
        let is_place = match at {
            1 => field.starts_with("output "),
            3 => field.starts_with("output ") && kept.ends_with(" header"),
            _ => false,
        };
        if is_place {
            continue;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept += word;
    }
    without_places(&kept)
}

/// `items[3].price` as `items[].price`.
fn without_places(path: &str) -> String {
    let mut kept = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('[') {
        kept += &rest[..=at];
        rest = rest[at + 1..].trim_start_matches(|letter: char| letter.is_ascii_digit());
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::difference::Difference;

    fn differences(fields: &[&str]) -> Differences {
        let one = |field: &&str| Difference { field: (*field).to_owned(), old: None, new: None };
        Differences { fields: fields.iter().map(one).collect(), more: 0 }
    }

    #[test]
    fn fields_are_counted_once_a_message_whatever_their_places() {
        let mut summary = Summary::default();
        summary.same(7);
        summary.differs(&differences(&["verdict", "output 0 value.items[3].price", "output 12 value.items[14].price"]));
        summary.differs(&differences(&["output 1 value.items[0].price", "output 0 header 2 trace id", "output 3"]));
        assert_eq!((summary.messages, summary.differing), (9, 2));
        let expected =
            [("output value.items[].price", 2), ("output", 1), ("output header trace id", 1), ("verdict", 1)];
        assert_eq!(summary.by_count(), expected);
        assert!((summary.share() - 2.0 / 9.0).abs() < 1e-9);
    }

    #[test]
    fn names_without_end_are_counted_together() {
        let mut summary = Summary::default();
        for number in 0..1000 {
            summary.differs(&differences(&[&format!("output 0 value.user{number}")]));
        }
        assert_eq!((summary.fields.len(), summary.other_fields), (MAX_NAMED_FIELDS, 1000 - MAX_NAMED_FIELDS as u64));
    }
}
