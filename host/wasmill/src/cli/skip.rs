//! `wasmill skip`.

use super::output::{Sent, answer};
use super::partitions::Which;
use crate::api::operate::{SKIP, Skipped};
use crate::failure::{Exit, Failure};

/// Pass over the message at which a partition stands; it is counted as handled and logged
#[derive(Debug, clap::Args)]
pub struct Skip {
    #[command(flatten)]
    which: Which,
    /// The offset of the message: it must be the one `wasmill status` shows
    #[arg(long)]
    offset: i64,
}

impl Skip {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        if self.which.partition.is_none() {
            return Err(Failure::usage(anyhow::anyhow!(
                "skip needs a partition; hint: add --partition N, the one that `wasmill status` shows as stopped"
            )));
        }
        let skipped: Sent<Skipped> = self.which.ask(SKIP, Some(self.offset))?;
        answer(self.which.json, &skipped, || told(&skipped.read) + "\n")
    }
}

/// What was done, for people.
fn told(Skipped { partition, skipped }: &Skipped) -> String {
    format!("{partition}: message {skipped} is passed over")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_that_was_skipped_is_told() {
        let skipped = Skipped { partition: "orders/0".to_owned(), skipped: 7 };
        assert_eq!(told(&skipped), "orders/0: message 7 is passed over");
    }
}
