//! `wasmill rollback`.

use super::output::{Sent, answer};
use super::target::{PATIENCE, Target};
use super::versions::{Waiting, told, user};
use crate::api::of_pipeline;
use crate::api::swap::{Asked, ROLLBACK, Swapped};
use crate::failure::{Exit, Failure};

/// Go back to the handler before, or end a canary or a shadow
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// The pipeline's name
    pipeline: String,
    /// Go back in every process of the consumer group, or in none (swap.control_topic)
    #[arg(long)]
    group: bool,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Rollback {
    /// Asks.
    pub fn run(self) -> Result<Exit, Failure> {
        let path = of_pipeline(ROLLBACK, &self.pipeline);
        let asked = Asked { by: Some(user()), group: self.group, ..Asked::default() };
        let _waiting = self.group.then(|| Waiting::of(&self.pipeline));
        let swapped: Sent<Swapped> = self.target.send(&path, &asked.query(), PATIENCE, "application/json", b"{}")?;
        answer(self.json, &swapped, || told(&swapped.read))
    }
}
