//! `wasmill resume`.

use super::output::{Sent, answer};
use super::partitions::Which;
use crate::api::operate::{GoesOn, RESUME, Resumed};
use crate::api::partition::{Outcome, Row};
use crate::failure::{Exit, Failure};

/// Go on after a stop, a pause or an open breaker
#[derive(Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    which: Which,
}

impl Resume {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        let resumed: Sent<Resumed> = self.which.ask(RESUME, None)?;
        answer(self.which.json, &resumed, || told(&resumed.read) + "\n")?;
        let refused = resumed.read.resumed.iter().any(Row::is_refused);
        Ok(if refused { Exit::Failed } else { Exit::Done })
    }
}

/// What was done, for people.
fn told(Resumed { resumed }: &Resumed) -> String {
    if resumed.is_empty() {
        // A pipeline that held, and partitions that were paused, go on without being listed.
        return "it goes on".to_owned();
    }
    let line = |Row { partition, outcome }: &Row<GoesOn>| match outcome {
        Outcome::Refused { error } => format!("{partition}: {error}"),
        Outcome::Done(on) => format!("{partition} goes on at {}", on.offset),
    };
    resumed.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_resumed_is_told_partition_by_partition() {
        let stands = Row::new("orders/1", Err("it was revoked meanwhile".to_owned()));
        let resumed = Resumed { resumed: vec![Row::new("orders/0", Ok(GoesOn { offset: 7 })), stands] };
        assert_eq!(told(&resumed), "orders/0 goes on at 7\norders/1: it was revoked meanwhile");
        assert_eq!(told(&Resumed { resumed: Vec::new() }), "it goes on");
    }
}
