//! Where two versions do not agree on a message.

use serde::Serialize;

use super::text::cut;

/// Differences of one message that are kept.
pub(super) const MAX_FIELD_DIFFERENCES: usize = 50;

/// A field in which two versions do not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `verdict`, `outputs`, `output 0 topic`, `output 0 value.customer.name`.
    pub field: String,
    /// What the old version made of it, cut, as a person may read it; `None`: it is not there.
    pub old: Option<String>,
    /// Likewise the new version.
    pub new: Option<String>,
}

/// The differences of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// The first ones.
    pub fields: Vec<Difference>,
    /// So many more were found and are not kept.
    pub more: usize,
}

impl Differences {
    /// True if both versions made the same.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Notes a difference, or counts it. `field` is made only if it is kept.
    pub(super) fn add(&mut self, field: impl FnOnce() -> String, old: Option<String>, new: Option<String>) {
        if self.fields.len() < MAX_FIELD_DIFFERENCES {
            self.fields.push(Difference { field: cut(&field(), 0), old, new });
        } else {
            self.more += 1;
        }
    }
}
