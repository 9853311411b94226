//! `wasmill consume`: messages as lines of JSON.

use std::io::Write as _;
use std::time::Duration;

use wasmill_core::{BadPosition, Form, Position};
use wasmill_deploy::messages::jsonl;
use wasmill_kafka::now_ms;
use wasmill_kafka::plain::{Next, PlainConsumer};

use super::cluster::{ANSWER, Cluster, failed};
use crate::failure::{Exit, Failure};
use crate::printed::wrote;

/// How long one look for a message waits.
const LOOK: Duration = Duration::from_millis(500);

/// Print messages as lines of JSON, without a group: nothing is committed
#[derive(Debug, clap::Args)]
pub struct Consume {
    /// The topic
    topic: String,
    #[arg(
        long, default_value = "beginning", allow_negative_numbers = true, value_parser = from,
        help = format!("Where to begin: {}; short `-N` and `2h`", Form::list(&Form::ALL))
    )]
    from: Position,
    /// End after so many messages
    #[arg(long)]
    count: Option<usize>,
    /// Only this partition; may be given several times
    #[arg(long)]
    partition: Vec<i32>,
    /// Go on at the end, until interrupted
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    cluster: Cluster,
}

fn from(text: &str) -> Result<Position, BadPosition> {
    Position::parse(text, now_ms())
}

impl Consume {
    /// Prints until the end, the count, or an interrupt.
    pub fn run(self) -> Result<Exit, Failure> {
        let client = self.cluster.client()?;
        let opened = PlainConsumer::open(&client, &self.topic, &self.partition, self.from, ANSWER);
        let mut consumer = opened.map_err(failed)?;
        let mut out = std::io::stdout().lock();
        let mut left = self.count.unwrap_or(usize::MAX);
        while left > 0 {
            match consumer.next(LOOK).map_err(failed)? {
                Next::Message(message) => {
                    left -= 1;
                    if !wrote(writeln!(out, "{}", jsonl::print(&message))) {
                        break;
                    }
                }
                Next::End if !self.follow => break,
                Next::End | Next::Nothing => {}
            }
        }
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_begin_is_a_word_an_offset_or_a_time() {
        assert_eq!(from("beginning"), Ok(Position::Earliest));
        assert_eq!(from("12"), Ok(Position::Offset(12)));
        assert_eq!(from("-12"), Ok(Position::Last(12)));
        assert_eq!(from("time:1700000000000"), Ok(Position::Time(1_700_000_000_000)));
        assert!(from("yesterday").is_err());
    }
}
