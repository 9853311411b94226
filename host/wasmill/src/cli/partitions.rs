//! The pipeline and the partitions that `resume`, `pause` and `skip` are about.

use serde::de::DeserializeOwned;

use super::output::Sent;
use super::target::{ANSWER, Target};
use crate::api::{of_pipeline, operate};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Which {
    /// The pipeline's name
    pipeline: String,
    /// One partition; without it, all of them
    #[arg(long)]
    pub partition: Option<i32>,
    /// The partition's topic, where the pipeline has several
    #[arg(long, requires = "partition")]
    topic: Option<String>,
    /// The answer as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    target: Target,
}

impl Which {
    /// Asks; the offset is that of a message to skip.
    pub fn ask<T: DeserializeOwned>(&self, path: &str, offset: Option<i64>) -> Result<Sent<T>, Failure> {
        let asked = operate::Which { topic: self.topic.clone(), partition: self.partition, offset };
        self.target.post(&of_pipeline(path, &self.pipeline), &asked, ANSWER)
    }
}
