//! Swaps in a row under load, and what they cost: `cargo xtask swaps`.
//!
//! - **fleet**: three members of a group in two processes, which are swapped at the same time.
//! - **run**: what a version was given without a break. The first offset of each is what the swap's answer promised.
//! - **book**: what the output topic says: each message once, in order, and the runs.
//! - **proof**: many swaps under a load as fast as the broker takes it, judged by the book ([`proof::run`]).
//! - **gap**: for how long nothing comes out around a swap, by the broker's clock ([`gap::run`]).

pub mod book;
pub mod fleet;
pub mod gap;
pub mod proof;

use serde::Serialize;

/// Of input and output.
pub const PARTITIONS: u32 = 4;
/// Different keys.
pub const KEYS: u32 = 120;
/// A rate that no broker takes: the producer waits for it.
pub const AS_FAST_AS_IT_TAKES: u32 = 1_000_000;

/// Some measured values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// The least.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The one that a hundredth lies above.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of any number of values; of none, zeros.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let Some(last) = values.len().checked_sub(1) else { return Self::default() };
        let at = |share: f64| values[(share * last as f64).ceil() as usize];
        Self { count: values.len(), min: values[0], median: at(0.5), p99: at(0.99), max: values[last] }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { count, min, median, p99, max } = self;
        write!(text, "min {min:.2}, median {median:.2}, p99 {p99:.2}, max {max:.2} (of {count})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundredth_lies_above_the_ninety_ninth() {
        let spread = Spread::of((0..=100).rev().map(f64::from));
        assert_eq!(spread, Spread { count: 101, min: 0.0, median: 50.0, p99: 99.0, max: 100.0 });
        assert_eq!(Spread::of([3.0]), Spread { count: 1, min: 3.0, median: 3.0, p99: 3.0, max: 3.0 });
        assert_eq!(Spread::of([]), Spread::default());
    }
}
