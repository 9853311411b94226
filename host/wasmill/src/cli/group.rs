//! `wasmill group describe | reset`.

use clap::Subcommand;
use serde_json::json;
use wasmill_core::{Form, Position};

use super::arguments::certain_position;
use super::cluster::{ANSWER, Cluster, failed};
use super::output::{answer, known, table};
use crate::failure::{Exit, Failure};

/// Look at a consumer group, or move it
#[derive(Debug, clap::Args)]
pub struct Group {
    #[command(subcommand)]
    call: Call,
    #[command(flatten)]
    cluster: Cluster,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Call {
    /// Show members, and for every partition the committed offset, the end and the lag
    Describe {
        /// The group
        group: String,
    },
    /// Move the committed offsets of a group that nobody is in
    Reset {
        /// The group
        group: String,
        /// The topic
        #[arg(long)]
        topic: String,
        #[arg(long, help = Form::list(&Form::CERTAIN), allow_negative_numbers = true, value_parser = certain_position)]
        to: Position,
        /// Only this partition; may be given several times
        #[arg(long)]
        partition: Vec<i32>,
    },
}

impl Group {
    /// Asks the coordinator.
    pub fn run(self) -> Result<Exit, Failure> {
        let admin = self.cluster.admin()?;
        match self.call {
            Call::Describe { group } => {
                let told = admin.group_describe(&group, ANSWER).map_err(failed)?;
                if told.members.is_empty() && told.partitions.is_empty() {
                    let hint = "a group is there once a member joined or an offset was committed";
                    return Err(anyhow::anyhow!("group {group} does not exist; hint: {hint}").into());
                }
                let members: Vec<_> = told
                    .members
                    .iter()
                    .map(|one| {
                        let held: Vec<_> = one.partitions.iter().map(ToString::to_string).collect();
                        json!({ "member": one.id, "client": one.client_id, "host": one.host,
                            "instance_id": one.instance_id, "partitions": held })
                    })
                    .collect();
                let partitions: Vec<_> = told
                    .partitions
                    .iter()
                    .map(|one| {
                        json!({ "topic": *one.id.topic, "partition": one.id.partition, "committed": one.committed,
                            "end": one.end, "lag": one.lag() })
                    })
                    .collect();
                let value = json!({ "group": group, "state": told.state, "assignor": told.assignor,
                    "members": members, "partitions": partitions });
                answer(self.json, &value, || {
                    let mut text = format!("{group}: {} {}\n\n", told.state, told.assignor);
                    text += &table(
                        ["member", "host", "partitions"],
                        told.members.iter().map(|one| {
                            let held: Vec<_> = one.partitions.iter().map(ToString::to_string).collect();
                            [one.client_id.clone(), one.host.clone(), held.join(", ")]
                        }),
                    );
                    text.push('\n');
                    text + &table(
                        ["partition", "committed", "end", "lag"],
                        told.partitions
                            .iter()
                            .map(|one| [one.id.to_string(), known(one.committed), known(one.end), known(one.lag())]),
                    )
                })
            }
            Call::Reset { group, topic, to, partition } => {
                let moved = admin.group_reset(&group, &topic, &partition, to, ANSWER).map_err(failed)?;
                let value: Vec<_> = moved
                    .iter()
                    .map(|(id, offset)| json!({ "partition": id.to_string(), "committed": offset }))
                    .collect();
                answer(self.json, &json!(value), || {
                    table(
                        ["partition", "committed"],
                        moved.iter().map(|(id, offset)| [id.to_string(), offset.to_string()]),
                    )
                })
            }
        }
    }
}
