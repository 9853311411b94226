//! `wasmill restart`.

use super::keys::{in_brackets, outside};
use super::output::{Sent, answer, known};
use super::target::{PATIENCE, Target};
use crate::api::restart::{PATH, Restarted};
use crate::api::{Nothing, of_pipeline};
use crate::failure::{Exit, Failure};

/// Have one pipeline drain, leave its group and start again with what the configuration says now
///
/// The others go on. If the file has a mistake, or the pipeline does not pass, the running one goes on too. Exit code 4 if
/// something that was handed over was not settled in time; it is handled again.
#[derive(Debug, clap::Args)]
pub struct Restart {
    /// The pipeline's name
    pipeline: String,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Restart {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        let path = of_pipeline(PATH, &self.pipeline);
        let restarted: Sent<Restarted> = self.target.post(&path, &Nothing {}, PATIENCE)?;
        answer(self.json, &restarted, || told(&restarted.read) + "\n")?;
        Ok(if restarted.read.settled { Exit::Done } else { Exit::Overdue })
    }
}

/// What became of it, for people.
fn told(Restarted { pipeline, keys, reason, left, process, .. }: &Restarted) -> String {
    let mut lines = vec![format!("{pipeline}: restarted{}", in_brackets(keys))];
    lines.extend(left.iter().map(|one| format!("{} left at {}", one.partition, known(one.committed))));
    lines.extend(reason.clone());
    lines.extend(outside(process));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::restart::Left;

    #[test]
    fn what_was_left_is_told_partition_by_partition() {
        let left = |number: i32, committed| Left { partition: format!("in/{number}"), committed };
        let restarted = Restarted {
            pipeline: "a".to_owned(),
            keys: Vec::new(),
            settled: true,
            reason: None,
            left: vec![left(0, Some(7)), left(1, None)],
            process: Vec::new(),
        };
        assert_eq!(told(&restarted), "a: restarted\nin/0 left at 7\nin/1 left at -");
        let late = Restarted {
            keys: vec!["members".to_owned()],
            reason: Some("late".to_owned()),
            left: Vec::new(),
            process: vec!["kafka.bootstrap".to_owned()],
            ..restarted
        };
        let told = told(&late);
        assert_eq!(told, "a: restarted (members)\nlate\nnot applied: kafka.bootstrap; hint: restart the process");
    }
}
