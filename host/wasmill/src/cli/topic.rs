//! `wasmill topic create | list | describe | delete`.

use clap::Subcommand;
use serde_json::json;
use wasmill_kafka::admin::NewTopic;

use super::cluster::{ANSWER, Cluster, failed};
use super::output::{answer, known, table};
use crate::failure::{Exit, Failure};

/// Make, list, describe and delete topics
#[derive(Debug, clap::Args)]
pub struct Topic {
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
    /// Make a topic
    Create {
        /// Its name
        name: String,
        /// Partitions; by default the broker's
        #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// Replicas; by default the broker's
        #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
        replication: Option<i32>,
        /// A setting, as in `cleanup.policy=compact`; may be given several times
        #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
        settings: Vec<(String, String)>,
    },
    /// List the topics
    List,
    /// Describe a topic: partitions, leaders, first and next offsets
    Describe {
        /// Its name
        name: String,
    },
    /// Delete a topic with all its messages
    Delete {
        /// Its name
        name: String,
    },
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Topic {
    /// Asks the cluster.
    pub fn run(self) -> Result<Exit, Failure> {
        let admin = self.cluster.admin()?;
        match self.call {
            Call::Create { name, partitions, replication, settings } => {
                let topic = NewTopic { name: name.clone(), partitions, replication, config: settings };
                admin.create_topic(&topic, ANSWER).map_err(failed)?;
                answer(self.json, &json!({ "created": name }), || format!("created {name}\n"))
            }
            Call::Delete { name } => {
                admin.delete_topic(&name, ANSWER).map_err(failed)?;
                answer(self.json, &json!({ "deleted": name }), || format!("deleted {name}\n"))
            }
            Call::List => {
                let topics = admin.topics(ANSWER).map_err(failed)?;
                if topics.is_empty() {
                    eprintln!("there is no topic that this login may see; hint: Describe on a topic shows it");
                }
                let names: Vec<_> = topics
                    .iter()
                    .map(|topic| json!({ "name": topic.name, "partitions": topic.partitions.len() }))
                    .collect();
                answer(self.json, &json!(names), || {
                    table(
                        ["topic", "partitions"],
                        topics.iter().map(|t| [t.name.clone(), t.partitions.len().to_string()]),
                    )
                })
            }
            Call::Describe { name } => {
                let topic = admin.describe_topic(&name, ANSWER).map_err(failed)?;
                let rows: Vec<_> = topic
                    .partitions
                    .iter()
                    .map(|one| {
                        json!({ "partition": one.id, "leader": one.leader, "replicas": one.replicas,
                            "in_sync": one.in_sync, "first": one.low, "next": one.high })
                    })
                    .collect();
                answer(self.json, &json!({ "name": topic.name, "partitions": rows }), || {
                    let header = ["partition", "leader", "replicas", "in sync", "first", "next"];
                    table(
                        header,
                        topic.partitions.iter().map(|one| {
                            let leader = one.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
                            let (replicas, in_sync) = (one.replicas.to_string(), one.in_sync.to_string());
                            [one.id.to_string(), leader, replicas, in_sync, known(one.low), known(one.high)]
                        }),
                    )
                })
            }
        }
    }
}
