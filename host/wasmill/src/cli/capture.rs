//! `wasmill capture`: messages of a topic become a case.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};
use wasmill_core::Position;
use wasmill_deploy::handler_tests::bless::message;
use wasmill_kafka::plain::{Next, PlainConsumer, PlainMessage};

use super::cluster::{ANSWER, Cluster, failed};
use super::output::print;
use crate::failure::{Exit, Failure};

/// How long the broker may say nothing before what came is all.
const SILENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(200);

const HELP: &str = "Nothing is committed. The case has no expectations yet: `wasmill test --bless` writes what the handler does, \
for you to read and correct. A dead letter's headers say where its message came from.";

/// Make a case of messages of a topic, for `wasmill test`
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Capture {
    /// The folder of the handler's project
    #[arg(default_value = ".")]
    directory: PathBuf,
    /// The topic
    #[arg(long)]
    topic: String,
    /// The partition
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
    /// The offset of the first message
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    offset: i64,
    /// So many messages
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// The case's name, and that of its file below `cases`
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    cluster: Cluster,
}

impl Capture {
    /// Captures. Exit 1: there is no such message.
    pub fn run(self) -> Result<Exit, Failure> {
        let default = || format!("{}-{}-{}", self.topic, self.partition, self.offset);
        let name = self.name.clone().unwrap_or_else(default);
        let file = name.replace(|letter: char| !letter.is_ascii_alphanumeric() && !"-_.".contains(letter), "-");
        let path = self.directory.join("cases").join(format!("{file}.toml"));
        if path.exists() {
            let hint = "another --name, or remove it";
            return Err(Failure::usage(anyhow::anyhow!("{} is there already; hint: {hint}", path.display())));
        }
        let messages = self.messages()?;
        if messages.is_empty() {
            let place = format!("{}/{} @{}", self.topic, self.partition, self.offset);
            return Err(anyhow::anyhow!(
                "there is no message at {place}; hint: `wasmill topic describe {}`",
                self.topic
            )
            .into());
        }
        let folder = self.directory.join("cases");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        std::fs::write(&path, text(&name, &messages)).with_context(|| format!("cannot write {}", path.display()))?;
        let (at, only) =
            (self.directory.display(), path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let (came, asked) = (messages.len(), self.count);
        let came = if came == asked as usize { format!("{came}") } else { format!("{came} of {asked}") };
        print(&format!(
            "{came} messages in {}; `wasmill test {at} --bless --only {only}` writes what the handler does with them\n",
            path.display()
        ))
    }

    fn messages(&self) -> Result<Vec<PlainMessage>, Failure> {
        let client = self.cluster.client()?;
        let from = Position::Offset(self.offset);
        let opened = PlainConsumer::open(&client, &self.topic, &[self.partition], from, ANSWER);
        let mut consumer = opened.map_err(failed)?;
        let mut messages = Vec::new();
        let mut heard = Instant::now();
        while messages.len() < self.count as usize && heard.elapsed() < SILENCE {
            match consumer.next(LOOK) {
                Ok(Next::Message(message)) => {
                    heard = Instant::now();
                    messages.push(*message);
                }
                Ok(Next::End) => break,
                Ok(Next::Nothing) => {}
                // There is no such offset, or no longer.
                Err(error) if error.code().is_some_and(|code| code == "_AUTO_OFFSET_RESET") => break,
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(messages)
    }
}

fn text(name: &str, messages: &[PlainMessage]) -> String {
    let mut tables = ArrayOfTables::new();
    for one in messages {
        tables.push(message(one));
    }
    let mut case = Table::new();
    case.insert("name", toml_edit::value(name));
    case.insert("message", Item::ArrayOfTables(tables));
    let mut cases = ArrayOfTables::new();
    cases.push(case);
    let mut document = DocumentMut::new();
    document.insert("case", Item::ArrayOfTables(cases));
    document.to_string()
}
