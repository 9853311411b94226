//! `wasmill seek`.

use wasmill_core::{Form, Position};

use super::arguments::certain_position;
use super::output::{Sent, answer};
use super::target::{PATIENCE, Target};
use crate::api::of_pipeline;
use crate::api::partition::{Outcome, Row};
use crate::api::seek::{Move, PATH, Sought, Where};
use crate::failure::{Exit, Failure};

/// Go on at another message, while the pipeline runs
///
/// What is in flight is let finish; then everything from the new position on is handed over, also what was complete, and
/// attempts are counted anew. The answer comes once the new position is committed: a crash does not undo it. A partition
/// that has stopped goes on; one that is paused stays so. Partitions of other processes are named and not moved. Outputs
/// that come of messages handled before are published again.
#[derive(Debug, clap::Args)]
pub struct Seek {
    /// The pipeline's name
    pipeline: String,
    #[arg(long, help = Form::list(&Form::CERTAIN), allow_negative_numbers = true, value_parser = certain_position)]
    to: Position,
    /// One partition; without it, all that this process holds
    #[arg(long)]
    partition: Option<i32>,
    /// The partitions of this topic, where the pipeline has several
    #[arg(long)]
    topic: Option<String>,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Seek {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        let Self { pipeline, to, partition, topic, json, target } = self;
        let asked = Where { topic, partition, to: Some(to.to_string().into()) };
        let sought: Sent<Sought> = target.post(&of_pipeline(PATH, &pipeline), &asked, PATIENCE)?;
        answer(json, &sought, || told(&sought.read) + "\n")?;
        let refused = sought.read.sought.iter().any(Row::is_refused);
        Ok(if refused { Exit::Failed } else { Exit::Done })
    }
}

/// What was moved, for people.
fn told(Sought { sought, not_here }: &Sought) -> String {
    let line = |Row { partition, outcome }: &Row<Move>| match outcome {
        Outcome::Refused { error } => format!("{partition}: {error}"),
        Outcome::Done(moved) => format!("{partition} goes on at {}, was at {}", moved.to, moved.from),
    };
    let mut lines: Vec<String> = sought.iter().map(line).collect();
    if !not_here.is_empty() {
        lines.push(format!("not moved, since this process does not hold them: {}", not_here.join(", ")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_moved_is_told_partition_by_partition() {
        let moved = Move { from: 9, to: 4, dropped: 0 };
        let sought = Sought {
            sought: vec![Row::new("in/0", Ok(moved)), Row::new("in/1", Err("no".to_owned()))],
            not_here: vec!["in/2".to_owned()],
        };
        assert_eq!(
            told(&sought),
            "in/0 goes on at 4, was at 9\nin/1: no\nnot moved, since this process does not hold them: in/2"
        );
    }
}
