//! `wasmill reload`.

use super::keys::{in_brackets, outside};
use super::output::{Sent, answer};
use super::target::{PATIENCE, Target};
use super::versions::watched_for;
use crate::api::Nothing;
use crate::api::reload::{PATH, Reloaded, Row};
use crate::failure::{Exit, Failure};

/// Read the configuration again: start, remove and change pipelines without touching the others; SIGHUP does the same
///
/// Everything is asked beforehand: if the file has a mistake, or a topic or handler does not pass, nothing changes.
/// A pipeline whose certificate or key was replaced on disk starts again, so that its clients read the new file.
/// `handler`, `grant`, `config`, `limits`, `retry` and `swap` change while a pipeline runs. A pipeline of which anything
/// else changed is left as it is, in everything, and named. Exit code 1 if not all that the file says is in force.
#[derive(Debug, clap::Args)]
pub struct Reload {
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Reload {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        let reloaded: Sent<Reloaded> = self.target.post(PATH, &Nothing {}, PATIENCE)?;
        answer(self.json, &reloaded, || told(&reloaded.read) + "\n")?;
        Ok(if reloaded.read.applied { Exit::Done } else { Exit::Failed })
    }
}

/// What became of each pipeline, for people.
fn told(Reloaded { pipelines, process, .. }: &Reloaded) -> String {
    let line = |Row { pipeline, done, keys, reason, swap }: &Row| {
        // One that takes over for some messages only says so.
        let done = swap.as_ref().map_or(done.as_str(), |swap| swap.outcome.as_str()).replace('-', " ");
        let reason = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        let watched = swap.as_ref().and_then(|swap| swap.watched.as_ref());
        let watched = watched.map_or(String::new(), |watched| format!(", and {}", watched_for(watched)));
        format!("{pipeline}: {done}{}{watched}{reason}", in_brackets(keys))
    };
    pipelines.iter().map(line).chain(outside(process)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::reload::Done;
    use crate::api::swap::tests::outcome;

    #[test]
    fn what_became_of_each_pipeline_is_told_and_what_was_not_applied_with_what_to_do() {
        let keys = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        let reason = Some("no; hint: wasmill restart c".to_owned());
        let reloaded = Reloaded {
            applied: false,
            process: keys(&["kafka.bootstrap"]),
            pipelines: vec![
                Row::new("a", Done::Unchanged),
                Row { keys: keys(&["handler", "retry.attempts"]), ..Row::new("b", Done::Swapped) },
                Row { keys: keys(&["members"]), reason, ..Row::new("c", Done::NotApplied) },
                Row { keys: keys(&["handler"]), swap: Some(outcome()), ..Row::new("d", Done::Swapped) },
            ],
        };
        assert_eq!(
            told(&reloaded),
            "a: unchanged\nb: swapped (handler, retry.attempts)\nc: not applied (members): no; hint: wasmill restart c\n\
             d: canary (handler), and is being watched, for 1000 messages or 5s, and goes back by itself if it is worse\nnot applied: kafka.bootstrap; hint: restart the process"
        );
    }
}
