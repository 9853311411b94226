//! Stand-ins for types of `wasmill-core` until they are there; same names, same fields.
#![allow(missing_docs)]
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitMode {
    Manual { min_interval: Duration },
    Sync,
    Interval(Duration),
    Auto(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanBound {
    pub messages: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    pub attempts: u32,
    pub backoff: Duration,
    pub max_delay: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    pub given_up: u32,
    pub of: u32,
    pub first_given_up: u32,
    pub first_of: u32,
}
