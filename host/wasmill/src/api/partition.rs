//! What a call did with one partition.

use serde::{Deserialize, Serialize};

/// One row of an answer that has a row for each partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row<T> {
    /// `topic/number`.
    pub partition: String,
    /// What was done, or why it was not.
    #[serde(flatten)]
    pub outcome: Outcome<T>,
}

/// What was done with a partition, or why it was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome<T> {
    /// It was not.
    Refused {
        /// Why.
        error: String,
    },
    /// What was done.
    Done(T),
}

impl<T> Row<T> {
    /// What came of it.
    pub fn new(partition: impl ToString, outcome: Result<T, String>) -> Self {
        let outcome = match outcome {
            Ok(done) => Outcome::Done(done),
            Err(error) => Outcome::Refused { error },
        };
        Self { partition: partition.to_string(), outcome }
    }

    /// Whether it was not done.
    pub fn is_refused(&self) -> bool {
        matches!(self.outcome, Outcome::Refused { .. })
    }
}
