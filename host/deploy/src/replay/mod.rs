//! Two versions of a handler beside each other.
//!
//! - **made**: what a version made of one message: a verdict, and outputs (`fields.rs`).
//! - **difference**: a field in which two versions do not agree, with what each of them made of it; where both are JSON, by
//!   its path in there (`json.rs`).
//! - **summary**: how many messages differ, and in which fields (`summary.rs`).
//! - **history**: messages of the past, and which of them are read (`history.rs`).
//! - **numbers**: what a version did with all messages (`numbers.rs`).
//! - **replay**: both versions over the same history, each in a lane of its own, with nothing published (`side_by_side.rs`).
//! - **shadow**: the same on a lane that serves, of the messages of the moment (`shadow.rs`).
//! - **backtest**: a replay that is judged (`backtest.rs`).

mod align;
pub mod backtest;
pub mod difference;
pub mod fields;
pub mod history;
mod json;
pub mod numbers;
pub mod shadow;
pub mod side_by_side;
pub mod summary;
mod text;
