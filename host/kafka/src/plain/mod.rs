//! Producing and consuming without rules: owned messages, one caller, no group. For commands such as `wasmill produce` and
//! `wasmill consume`, and for `dev`.

mod consumer;
mod message;
mod producer;

pub use consumer::{Next, PlainConsumer};
pub(crate) use consumer::{Quiet, passes, without_group};
pub use message::PlainMessage;
pub use producer::{Placed, PlainProducer};

#[cfg(test)]
pub(crate) use {consumer::reading, producer::producing};

#[cfg(test)]
mod tests;
