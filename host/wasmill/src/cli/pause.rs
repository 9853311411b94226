//! `wasmill pause`.

use super::output::{Sent, answer};
use super::partitions::Which;
use crate::api::operate::{PAUSE, Paused};
use crate::failure::{Exit, Failure};

/// Keep messages from being handed over, without leaving the group
///
/// What was handed over is finished. A pause lasts until `wasmill resume`, through swaps of the handler, and ends with the
/// assignment: a rebalance, a restart of the pipeline or of the process lets the partition go on.
#[derive(Debug, clap::Args)]
pub struct Pause {
    #[command(flatten)]
    which: Which,
}

impl Pause {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        let paused: Sent<Paused> = self.which.ask(PAUSE, None)?;
        answer(self.which.json, &paused, || told(&paused.read) + "\n")
    }
}

/// What was done, for people.
fn told(Paused { paused }: &Paused) -> String {
    if paused.is_empty() {
        return "this process holds no partition of it".to_owned();
    }
    paused.iter().map(|partition| format!("{partition} is paused")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_paused_is_told_partition_by_partition() {
        let paused = |partitions: &[&str]| Paused { paused: partitions.iter().map(ToString::to_string).collect() };
        assert_eq!(told(&paused(&["orders/0", "orders/1"])), "orders/0 is paused\norders/1 is paused");
        assert_eq!(told(&paused(&[])), "this process holds no partition of it");
    }
}
