//! The checked configuration: what the rest of wasmill reads. It is made only by [`parse`](crate::parse), from a
//! file without mistakes, so every value in it is within its bounds and agrees with the others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use wasmill_core::{
    Assignor, BreakerPolicy, Budget, CommitMode, Order, OutOfRange, RetryPolicy, Share, SpanBound, Start,
};

pub use wasmill_core::Grant;

use crate::finding::Finding;
use crate::handler::Handler;
use crate::properties::Properties;

/// A file without mistakes.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the file says.
    pub config: Config,
    /// What is legal but dangerous, in order of position.
    pub warnings: Vec<Finding>,
}

/// A whole file.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How to reach the cluster.
    pub kafka: Kafka,
    /// The admin port; `None` if there is no `[admin]`.
    pub admin: Option<Admin>,
    /// What prefetch and flight of all pipelines may use together, in bytes.
    pub memory_bytes: u64,
    /// In the order of the file; at least one.
    pub pipelines: Vec<Pipeline>,
    /// The folder of what the process keeps for the next one.
    pub state: PathBuf,
    /// What becomes of the process if a pipeline cannot start.
    pub on_start_failure: OnStartFailure,
    /// The folder of the file: relative paths in it are already joined to this.
    pub directory: PathBuf,
}

/// What becomes of the process if a pipeline cannot start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnStartFailure {
    /// Nothing starts.
    #[default]
    Exit,
    /// The others start, and it is tried again.
    StartOthers,
}

/// The cluster all pipelines use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port`, several separated by commas.
    pub bootstrap: String,
    /// For every client: consumers, producers, admin.
    pub properties: Properties,
    /// Where tokens of SASL/OAUTHBEARER come from.
    pub token: Option<Token>,
}

/// Where tokens of SASL/OAUTHBEARER come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A file that something else keeps fresh.
    File(PathBuf),
    /// A program and its arguments.
    Command(Vec<String>),
}

/// The admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// A loopback address unless `allow_remote`.
    pub listen: SocketAddr,
    /// `listen` may be any address.
    pub allow_remote: bool,
    /// Where the token of calls that change something is read from.
    pub token_file: Option<PathBuf>,
}

impl Pipeline {
    /// The topics that it publishes to: outputs, and dead letters.
    pub fn output_topics(&self) -> impl Iterator<Item = &String> {
        let dead_letters = match &self.on_exhausted {
            OnExhausted::DeadLetter(topic) => Some(topic),
            OnExhausted::Stop | OnExhausted::Skip => None,
        };
        self.output.default.iter().chain(&self.output.granted).chain(dead_letters)
    }
}

/// One pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// 1 to 64 of `a-z`, `0-9`, `-`, `_`.
    pub name: String,
    /// At least one, none twice.
    pub topics: Vec<String>,
    /// The consumer group.
    pub group: String,
    /// Where the handler comes from.
    pub handler: Handler,
    /// What the handler may ask for beyond computing; none twice.
    pub grant: Vec<Grant>,
    /// Consumers of the group in this process, 1 to 64.
    pub members: usize,
    /// What is handled in order.
    pub order: Order,
    /// 1 to 64; `None`: as many as assigned partitions, 64 at most.
    pub lanes: Option<usize>,
    /// Where a group without committed offsets begins.
    pub start: Start,
    /// What to do when the committed offset is no longer there.
    pub out_of_range: OutOfRange,
    /// How the group divides partitions.
    pub assignor: Assignor,
    /// How long a silent member is kept in the group.
    pub session_timeout: Duration,
    /// At most a third of the session timeout, unless the file says otherwise; always below it.
    pub heartbeat_interval: Duration,
    /// At least the session timeout.
    pub max_poll_interval: Duration,
    /// Below `max_poll_interval`.
    pub drain_timeout: Duration,
    /// Static membership; the number of the member is appended.
    pub instance_id: Option<String>,
    /// Where emitted messages go.
    pub output: Output,
    /// When offsets are committed.
    pub commit: CommitMode,
    /// Most messages of one handler call.
    pub batch_messages: usize,
    /// Most bytes of one handler call (one message may be larger).
    pub batch_bytes: usize,
    /// How far a partition may run ahead of its watermark; at least one batch.
    pub span: SpanBound,
    /// What a message may cost before it is given up.
    pub retry: RetryPolicy,
    /// What happens to a message that is given up.
    pub on_exhausted: OnExhausted,
    /// What happens to a dead letter that its topic refuses as it is.
    pub oversized: Oversized,
    /// `None`: `breaker = false`.
    pub breaker: Option<BreakerPolicy>,
    /// What a handler may use.
    pub limits: Limits,
    /// How a new handler takes over.
    pub swap: Swap,
    /// For the handler's init; scalars as text.
    pub config: Properties,
    /// For the consumers of this pipeline.
    pub properties: Properties,
    /// For `wasmill dev` only.
    pub dev: Dev,
}

/// Where emitted messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Topic number 0: where a message goes that names no topic.
    pub default: Option<String>,
    /// Topic numbers 1 and up; none is the default.
    pub granted: Vec<String>,
    /// How long the producer waits to fill a request.
    pub linger: Duration,
    /// Each emitted message names the handler's digest.
    pub digest_header: bool,
    /// Of a message whose handler gives it none.
    pub timestamp: Timestamp,
    /// What happens to a message whose timestamp its topic does not take.
    pub timestamp_refused: TimestampRefused,
    /// `gzip`, `snappy`, `lz4` or `zstd`; `None`: not compressed.
    pub compression: Option<String>,
    /// For the producer of this pipeline.
    pub properties: Properties,
}

/// What happens to a message that is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnExhausted {
    /// Published to this topic, with where it came from and why.
    DeadLetter(String),
    /// Its partition holds.
    Stop,
    /// Counted and logged, nothing else: it is lost.
    Skip,
}

/// What happens to a dead letter that its topic refuses as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversized {
    /// Nothing is published, and its partition holds.
    Stop,
    /// It is published without its value.
    Strip,
}

/// The timestamp of an output whose handler gives it none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamp {
    /// That of the message it came from.
    Message,
    /// The present.
    Now,
}

/// What happens to an output whose timestamp its topic does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampRefused {
    /// It goes out with the present time.
    Now,
    /// The message that it came from is given up.
    Fail,
}

/// What a handler may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// An instance's memory, in bytes.
    pub memory_bytes: u64,
    /// Per message of a call.
    pub time: Duration,
    /// Per call; at least `time`.
    pub time_cap: Duration,
    /// For init.
    pub init_time: Duration,
    /// For the handler's file, in bytes.
    pub component_bytes: u64,
    /// For the process that compiles the handler, in bytes.
    pub compile_memory_bytes: u64,
    /// For that process; at least a second.
    pub compile_time: Duration,
    /// Messages a call may emit.
    pub output_messages: usize,
    /// Bytes a call may emit.
    pub output_bytes: usize,
    /// Log lines of an instance in a second.
    pub log_lines_per_second: u32,
    /// Bytes of one log line; the rest is cut off.
    pub log_line_bytes: usize,
}

/// How a new handler takes over.
#[derive(Clone, Debug, PartialEq)]
pub struct Swap {
    /// Through which the processes of the group agree on a version; neither read nor written by any pipeline otherwise.
    pub control_topic: Option<String>,
    /// How long a swap of the group waits for all processes.
    pub group_timeout: Duration,
    /// Files with cases that it must pass.
    pub tests: Vec<PathBuf>,
    /// The handler's file is watched.
    pub watch: bool,
    /// For which messages first.
    pub rollout: Rollout,
    /// With `rollout = "canary"`.
    pub canary: Canary,
    /// With `rollout = "shadow"`.
    pub shadow: Shadow,
    /// How long it is watched once it has taken over; `None`: `rollback = false`.
    pub rollback: Option<Watched>,
    /// How much worse it may be.
    pub budget: Budget,
    /// `None`: it is not run over messages of the past.
    pub backtest: Option<Backtest>,
}

/// Which messages of the past a new handler is run over beside the old one, and how far it may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backtest {
    /// `None`: the pipeline's topics.
    pub topic: Option<String>,
    /// Which messages.
    pub messages: History,
    /// The share of messages that may come out otherwise; `None`: any.
    pub differ: Option<Share>,
    /// By how much the share of messages that are given up may rise.
    pub rejects: Share,
    /// After so long what was compared by then counts.
    pub time: Duration,
}

/// Messages of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// All of them that are no older.
    Since(Duration),
    /// So many, spread over everything that is there.
    Sample(u64),
}

/// For which messages a new handler takes over first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rollout {
    /// For all.
    All,
    /// For a share that grows.
    Canary,
    /// For none: it runs beside the old one.
    Shadow,
}

impl Rollout {
    /// Every rollout that there is.
    pub const ALL: [Self; 3] = [Self::All, Self::Canary, Self::Shadow];

    /// As the file, the command line and the admin port name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }
}

impl FromStr for Rollout {
    type Err = UnknownRollout;

    fn from_str(text: &str) -> Result<Self, UnknownRollout> {
        Self::ALL.into_iter().find(|rollout| rollout.as_str() == text).ok_or(UnknownRollout)
    }
}

/// A text that names no [`Rollout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a rollout; hint: write all, canary or shadow")]
pub struct UnknownRollout;

/// A share that grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// What stays together.
    pub by: CanaryBy,
    /// Ascending; at least one.
    pub steps: Vec<Share>,
    /// How long a step is at least: both.
    pub step: Watched,
}

/// What of the messages stays together in a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CanaryBy {
    /// All messages of a key.
    Key,
    /// All of a partition.
    Partition,
}

/// How long a handler runs beside the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Until the first of both.
    pub until: Watched,
    /// Messages that are reported with each field that differs.
    pub differences: usize,
}

/// How long something is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// After so many messages.
    pub messages: u64,
    /// Time.
    pub time: Duration,
}

/// What `wasmill dev` uses, and nothing else does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dev {
    /// Messages to send, one JSON object a line.
    pub sample: Option<PathBuf>,
    /// The command that builds the handler.
    pub build: Option<Vec<String>>,
    /// Folders and files whose change builds again.
    pub watch: Vec<PathBuf>,
    /// Partitions of each topic made.
    pub partitions: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_has_one_name_wherever_it_is_written() {
        for rollout in Rollout::ALL {
            assert_eq!(rollout.as_str().parse(), Ok(rollout));
            assert_eq!(serde_json::to_value(rollout).unwrap(), rollout.as_str());
            assert_eq!(serde_json::from_value::<Rollout>(rollout.as_str().into()).unwrap(), rollout);
        }
        assert_eq!("none".parse::<Rollout>(), Err(UnknownRollout));
    }
}
