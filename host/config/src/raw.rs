//! The file as typed. Each key stands here once: type, kind with bounds, default with its reason, and, as its doc
//! comment, the manual. To add a key, add it here and read it in `convert`.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use wasmill_core::{Assignor, Order, OutOfRange, Share, Start};

use crate::checked::{CanaryBy, Grant, OnStartFailure, Oversized, Rollout, Timestamp, TimestampRefused};
use crate::compound::{At, Either, List, Named, OneOf, Scalars};
use crate::handler::Handler;
use crate::kind::{Choice, Count, Flag, Off, Percent, Size, Text, Time};
use crate::owned;
use crate::table::{Sub, table};
use crate::text::{
    ADDRESS, ARGUMENT, BOOTSTRAP, FILE, GROUP, HANDLER, INSTANCE_ID, OUTPUT_TOPIC, StartKind, TOPIC,
    refuse_pipeline_name,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

const PROPERTIES: Scalars = Scalars {
    noun: "a table of librdkafka properties",
    bounds: "not those that wasmill owns",
    example: "{ \"security.protocol\" = \"SASL_SSL\" }",
    refused: &["enable.auto.commit", "acks", "test.mock.num.brokers"],
    refuse: owned::refuse,
};

const HANDLER_CONFIG: Scalars = Scalars {
    noun: "a table of strings, numbers and booleans",
    bounds: "",
    example: "{ mask = \"true\" }",
    refused: &[],
    refuse: |_| None,
};

const OUTPUT_TOPICS: List<Text<String>> = List { of: OUTPUT_TOPIC, unique: true };

const ASSIGNORS: Choice<Assignor> = {
    use Assignor::{CooperativeSticky, Range};
    Choice { words: &[(Range.as_str(), Range), (CooperativeSticky.as_str(), CooperativeSticky)], later: &[] }
};

const ROLLOUTS: Choice<Rollout> = {
    use Rollout::{All, Canary, Shadow};
    Choice { words: &[(All.as_str(), All), (Canary.as_str(), Canary), (Shadow.as_str(), Shadow)], later: &[] }
};

const GRANTS: List<Choice<Grant>> =
    List { of: Choice { words: &[("clock", Grant::Clock), ("random", Grant::Random)], later: &[] }, unique: true };

/// A cluster's properties or a handler's configuration: pairs with their places.
pub(crate) type Pairs = Vec<At<(String, String)>>;

/// The mode as typed; with the other keys of its table it becomes a [`CommitMode`](wasmill_core::CommitMode).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Manual,
    Auto,
}

/// What to do without a dead-letter topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exhausted {
    Stop,
    Skip,
}

table! {
    /// One file describes one process: a cluster, an admin port, pipelines. Durations and sizes are strings with a unit
    /// (`"45s"`, `"64MiB"`). `${NAME}` in a string stands for an environment variable, `$${` for the characters
    /// themselves.
    RawConfig {
        /// What messages may use, all pipelines together. Half is for what is fetched ahead, in equal parts for all partitions
        /// of the topics that are read; a quarter for what is on its way out, in equal parts for the pipelines. The rest is
        /// for what is being handled, which `span.bytes` bounds. Instances have their own `limits.memory`. A pipeline that a
        /// reload adds gets its part of what is left, and of nothing the least that a client gets on with; the others keep
        /// what they have until `wasmill restart`.
        memory: u64 = Size(16 * MIB, TIB),
            default("512MiB", "measured: 64 partitions are fast with half of it");
        /// The folder of what the process keeps for the next one: the admin token, if `admin.token_file` names no other, and
        /// the histories of swaps. It is made if it is missing. Where it cannot be written, the process goes on without.
        state: PathBuf = FILE, optional("`.wasmill` beside this file");
        /// What becomes of the process if a pipeline cannot start: its topics are missing, its handler is not to be had or
        /// its `init` fails. `"exit"`: nothing starts and the process ends with 3. `"start_others"`: what can start does, the
        /// others are tried again with a growing pause, and the process is not ready until they run. It ends with 3 if none
        /// can start.
        on_start_failure: OnStartFailure = Choice {
            words: &[("exit", OnStartFailure::Exit), ("start_others", OnStartFailure::StartOthers)],
            later: &[],
        }, default("exit", "a file that cannot be run as it is should be seen by whoever deploys it");
        /// The cluster.
        kafka: RawKafka = Sub::<RawKafka>::new(), required;
        /// The admin port: status, metrics, health, and what resumes or skips.
        admin: RawAdmin = Sub::<RawAdmin>::new(), optional("no admin port");
        /// The pipelines, each under its name.
        pipelines: Vec<At<(String, RawPipeline)>> = Named {
            refuse: refuse_pipeline_name,
            refused: &["Orders", "or.ders", ""],
            bounds: "a name is 1 to 64 of `a-z 0-9 - _`",
            table: PhantomData::<RawPipeline>,
        }, required;
    }
}

table! {
    /// The cluster.
    RawKafka {
        /// The servers to ask first.
        bootstrap: String = BOOTSTRAP, required;
        /// librdkafka properties of every client: security, SASL, TLS, timeouts of sockets.
        properties: Pairs = PROPERTIES, optional("librdkafka's defaults");
        /// The file with the token of `sasl.mechanism = "OAUTHBEARER"`, which something else keeps fresh: a sidecar, a projected
        /// volume. It is read again when four fifths of a token's life are over, as its `exp` has it; five minutes count for one
        /// without.
        token_file: PathBuf = FILE, optional("no token, or an unsecured one by `sasl.oauthbearer.config`");
        /// The command that prints such a token, and its arguments, run when a token is needed; it may take ten seconds.
        token_command: Vec<At<String>> = List { of: ARGUMENT, unique: false },
            optional("no token, or an unsecured one by `sasl.oauthbearer.config`");
    }
}

table! {
    /// The admin port.
    RawAdmin {
        /// Where to listen.
        listen: SocketAddr = ADDRESS, default("127.0.0.1:9464", "only this machine can reach it");
        /// Allow `listen` to be an address that other machines reach.
        allow_remote: bool = Flag, default(false, "status and metrics show names of topics and groups");
        /// The file with the token that calls which change something must carry.
        token_file: PathBuf = FILE, optional("`admin-token` in the folder `state`; made, for its owner alone, if it is missing");
    }
}

table! {
    /// A pipeline: topics, group, handler, output and what to do about failures.
    RawPipeline {
        /// The topics to read.
        topics: Vec<At<String>> = List { of: TOPIC, unique: true }, required;
        /// The consumer group.
        group: String = GROUP, required;
        /// The handler: a WebAssembly component, or a core module with an embedded component type. A file, or an artifact in a
        /// registry. A tag is looked up at each start; one that was looked up before is started from the local cache where the
        /// registry does not answer. A digest means always the same bytes, and what is in the cache is not asked for again.
        /// Credentials are docker's.
        handler: Handler = HANDLER, required;
        /// What the handler may ask for beyond computing: `"clock"` is the time and timers (`wasi:clocks`), `"random"`
        /// chance (`wasi:random`). A handler that imports what is not granted is refused. `wasmill inspect` tells what one
        /// needs. There are no files and no network to be granted.
        grant: Vec<At<Grant>> = GRANTS, optional("nothing: what comes of a message depends on the message alone");
        /// How many consumers of the group this process runs.
        members: u64 = Count(1, 64), default(1, "one member reads any number of partitions");
        /// How many instances handle messages beside each other. A partition always goes to the same lane.
        lanes: u64 = Count(1, 64), optional("as many as assigned partitions, 64 at most");
        /// What is handled in order.
        order: Order = Choice {
            words: &[("partition", Order::Partition)],
            later: &[
                ("key", "messages are handled in order of their partition, which keeps the order of each key too"),
                ("none", "messages are handled in order of their partition"),
            ],
        }, default("partition", "it is Kafka's own order");
        /// Where a group without committed offsets begins. `"error"`: nowhere, its partitions stop and say so; for a group
        /// that has read before, whose offsets may have expired. Partitions that are added later begin at the earliest.
        start: Start = StartKind, default("earliest", "nothing is lost that is still there");
        /// What to do when the committed offset is not there any more.
        out_of_range: OutOfRange = Choice {
            words: &[
                ("stop", OutOfRange::Stop),
                ("earliest", OutOfRange::Earliest),
                ("latest", OutOfRange::Latest),
            ],
            later: &[],
        }, default("stop", "messages were lost to retention; somebody should know before anything goes on");
        /// How the group divides partitions among its members. All members of a group need the same.
        assignor: Assignor = ASSIGNORS, default(
            "range",
            "measured when a member joins: everything stands still for less than 60 ms (half a second under full load), under cooperative-sticky what moves stands for 1 s; the same when a member leaves"
        );
        /// How long the group waits for a member that is silent. Below 6 s only if the brokers allow it.
        session_timeout: Duration = Time(SECOND, 30 * MINUTE),
            default("45s", "Kafka's own: longer than a garbage collection or a migration of a machine");
        /// How often a member is heard. Below the session timeout, better below a third of it.
        heartbeat_interval: Duration = Time(100, 10 * MINUTE),
            optional("`\"3s\"`, Kafka's own, or a third of `session_timeout` if that is less");
        /// How long wasmill may be stuck before the group gives up on this member. At least the session timeout.
        max_poll_interval: Duration = Time(SECOND, 24 * HOUR),
            default("5m", "Kafka's own; slow handlers do not count, only a process that is stuck");
        /// How long a rebalance or a shutdown waits for what is in flight. Below `max_poll_interval`.
        drain_timeout: Duration = Time(0, HOUR),
            default("30s", "three calls at their cap; the group waits meanwhile");
        /// Static membership: a member that comes back within the session timeout finds its partitions again. The
        /// number of the member is appended.
        instance_id: String = INSTANCE_ID, optional("dynamic membership");
        /// Where emitted messages go.
        output: RawOutput = Sub::<RawOutput>::or_just("topic"), section;
        /// The topic for messages that are given up. Either this or `on_exhausted` must be written.
        dead_letter: RawDeadLetter = Sub::<RawDeadLetter>::or_just("topic"), section;
        /// What to do with a message that is given up when there is no dead-letter topic: `"stop"` holds its partition,
        /// `"skip"` loses it.
        on_exhausted: Exhausted = Choice {
            words: &[("stop", Exhausted::Stop), ("skip", Exhausted::Skip)],
            later: &[],
        }, optional("`dead_letter` must be written");
        /// When offsets are committed.
        commit: RawCommit = Sub::<RawCommit>::new(), section;
        /// How much one call of the handler is given: what is there, up to these bounds. Nothing waits for more.
        batch: RawBatch = Sub::<RawBatch>::new(), section;
        /// How far a partition may run ahead of the oldest message that is not complete.
        span: RawSpan = Sub::<RawSpan>::new(), section;
        /// How often a message is tried.
        retry: RawRetry = Sub::<RawRetry>::new(), section;
        /// Holds the pipeline when too many messages are given up: a bad deploy must not drain a topic into the dead
        /// letters. `false` switches it off.
        breaker: Either<(), RawBreaker> = OneOf(Off, Sub::<RawBreaker>::new()), section;
        /// What the handler may use.
        limits: RawLimits = Sub::<RawLimits>::new(), section;
        /// How a new handler takes over while messages flow.
        swap: RawSwap = Sub::<RawSwap>::new(), section;
        /// Names and values for the handler's init.
        config: Pairs = HANDLER_CONFIG, optional("nothing");
        /// librdkafka properties of this pipeline's consumers, over those in `[kafka]`.
        properties: Pairs = PROPERTIES, optional("librdkafka's defaults");
        /// For `wasmill dev` only.
        dev: RawDev = Sub::<RawDev>::new(), section;
    }
}

table! {
    /// Where emitted messages go. A string in its place is the `topic`. A handler can publish to no other topic.
    RawOutput {
        /// Where a message goes that names no topic.
        topic: String = OUTPUT_TOPIC, optional("a message must name its topic");
        /// Topics that a message may name.
        topics: Vec<At<String>> = OUTPUT_TOPICS, optional("none");
        /// How long the producer waits to fill a request.
        linger: Duration = Time(0, MINUTE), default("5ms", "hardly felt, and requests are well filled");
        /// Put the digest of the handler into each message that it emits, as the header `wasmill.plugin`.
        digest_header: bool = Flag, default(false, "64 bytes for each message");
        /// The timestamp of a message whose handler gives it none: `"message"` is that of the message it came from, `"now"`
        /// the present. A topic whose retention is shorter than its messages are old deletes them as they come.
        timestamp: Timestamp = Choice {
            words: &[("message", Timestamp::Message), ("now", Timestamp::Now)],
            later: &[],
        }, default("message", "it is when things happened, which joins and windows need");
        /// What becomes of a message whose timestamp its topic does not take (`message.timestamp.after.max.ms` and
        /// `before`): `"now"` publishes it with the present time and the refused one in the header `wasmill.timestamp`,
        /// `"fail"` gives up the message that it came from.
        timestamp_refused: TimestampRefused = Choice {
            words: &[("now", TimestampRefused::Now), ("fail", TimestampRefused::Fail)],
            later: &[],
        }, default("now", "somebody else's clock is no reason to fail a message that was handled");
        /// How requests are compressed.
        compression: &'static str = Choice {
            words: &[("none", "none"), ("gzip", "gzip"), ("snappy", "snappy"), ("lz4", "lz4"), ("zstd", "zstd")],
            later: &[],
        }, default("none", "it is Kafka's own; what pays depends on the messages");
        /// librdkafka properties of this pipeline's producer, over those in `[kafka]`.
        properties: Pairs = PROPERTIES, optional("librdkafka's defaults");
    }
}

table! {
    /// Where messages go that are given up. A string in its place is the `topic`.
    RawDeadLetter {
        /// The topic.
        topic: String = OUTPUT_TOPIC, optional("`on_exhausted` must be written");
        /// What becomes of a message that its dead-letter topic refuses as it is, because it is too large: `"stop"` publishes
        /// nothing and holds its partition, `"strip"` publishes it without value and headers of its own. The header
        /// `wasmill.stripped` then says how many bytes the value had.
        oversized: Oversized = Choice {
            words: &[("stop", Oversized::Stop), ("strip", Oversized::Strip)],
            later: &[],
        }, default("stop", "no payload is dropped unless somebody said so");
    }
}

table! {
    /// When offsets are committed.
    RawCommit {
        /// `"manual"`: only what is complete. `"auto"`: whatever was handed over, which can lose messages in a crash.
        mode: Mode = Choice {
            words: &[("manual", Mode::Manual), ("auto", Mode::Auto)],
            later: &[("transaction", "outputs and offsets are not yet written in one transaction")],
        }, default("manual", "nothing is lost");
        /// Hand over nothing more until the commit of the last batch is confirmed.
        sync: bool = Flag, default(false, "a partition would stand still for every commit; a crash repeats a little more");
        /// Commit once an interval.
        interval: Duration = Time(10, HOUR), optional("manual: as the watermark moves; auto: `\"1s\"`");
        /// At least so long from one commit of a member to the next, when commits follow the watermark.
        min_interval: Duration = Time(0, 10 * SECOND),
            default("50ms", "20 commits a second are little for `__consumer_offsets`, and a crash repeats little");
    }
}

table! {
    /// The bounds of one call.
    RawBatch {
        /// Messages.
        messages: u64 = Count(1, 100_000), default(512, "the cost of a call is spread; more gains little");
        /// Bytes of keys, values and headers. A message that is larger alone is a batch of its own.
        bytes: u64 = Size(KIB, 256 * MIB), default("1MiB", "Kafka's largest message, and small beside a handler's memory");
    }
}

table! {
    /// The bounds of a partition's span: from its watermark to the highest message handed over.
    RawSpan {
        /// Messages. At least `batch.messages`.
        messages: u64 = Count(1, 10_000_000), default(20000, "measured: over a million messages a second, with two thirds of the memory that no bound takes");
        /// Bytes. At least `batch.bytes`, at most `memory`.
        bytes: u64 = Size(KIB, 16 * GIB), default("64MiB", "what librdkafka itself would prefetch for a partition");
    }
}

table! {
    /// How often a message is tried before it is given up, and how patiently.
    RawRetry {
        /// Attempts in all, the first included.
        attempts: u64 = Count(1, 1000), default(5, "over a second and a half: a hiccup passes, a poisonous message does not hold for long");
        /// The wait before the second attempt; it doubles with each.
        backoff: Duration = Time(1, HOUR), default("100ms", "a service that is asked again at once seldom has recovered");
        /// No wait is longer, whatever the handler asks for.
        max_delay: Duration = Time(1, HOUR), default("30s", "a partition stands still meanwhile");
    }
}

table! {
    /// When the pipeline holds: as soon as more than `given_up` of the last `of` messages are given up.
    RawBreaker {
        /// As many are borne.
        given_up: u64 = Count(0, 100_000), default(50, "half of the messages failing is a bad deploy, not bad messages");
        /// Messages in the window.
        of: u64 = Count(1, 100_000), default(100, "enough to tell a deploy from a run of bad messages");
        /// As many are borne in the smaller window that applies after a start or a swap.
        first_given_up: u64 = Count(0, 100_000), optional("`given_up` in proportion");
        /// Messages in the smaller window.
        first_of: u64 = Count(1, 100_000), optional("a fifth of `of`, at least 10");
    }
}

table! {
    /// What a handler may use. It is stopped at a limit, and only its own lane feels it.
    RawLimits {
        /// The memory of one instance.
        memory: u64 = Size(64 * KIB, 4 * GIB), default("64MiB", "ample for a handler without a large model or table");
        /// The time of a call, for each message in it: processor time, and waits for the clock. What a busy machine or a
        /// quota takes away is not counted.
        time: Duration = Time(1, HOUR), default("1s", "a handler computes; it cannot wait for a network");
        /// The time of a call by the wall clock, however many messages are in it. A call that it ends without having used
        /// its own time counts as no attempt; three in a row of one message count as one.
        time_cap: Duration = Time(1, HOUR), default("10s", "an endless loop holds its lane no longer");
        /// The time of init: processor time and waits. By the wall clock it may take as much and `time_cap` more.
        init_time: Duration = Time(1, HOUR), default("5s", "tables are built in init, and every new instance waits for it");
        /// The handler's file. Larger ones are refused before they are read.
        component: u64 = Size(KIB, 256 * MIB), default("64MiB", "ample for a handler that brings a language's runtime along");
        /// The memory of the process that compiles the handler.
        compile_memory: u64 = Size(128 * MIB, TIB), default("2GiB", "measured: 128 MiB do for a handler of 46 kB, and 64 do not always; one that holds a language's runtime takes more");
        /// The time of that process.
        compile_time: Duration = Time(SECOND, HOUR), default("2m", "seconds are usual; nothing that runs waits for it");
        /// Messages that a call may emit.
        output_messages: u64 = Count(0, 10_000_000), default(100000, "200 for each message of a full batch");
        /// Bytes that a call may emit.
        output_bytes: u64 = Size(0, GIB), default("16MiB", "16 times a full batch");
        /// Log lines of an instance in a second; more are dropped and counted.
        log_lines: u64 = Count(0, 100_000), default(100, "enough to read, too few to fill a disk");
        /// Bytes of a log line; the rest is cut off.
        log_line: u64 = Size(16, 64 * KIB), default("2KiB", "a message and its context fit");
    }
}

table! {
    /// How a new handler takes over: `wasmill swap`, a file that changes, a reload.
    RawSwap {
        /// The topic through which the processes of the group agree on a version (`wasmill swap --group`): one partition,
        /// compacted, made with `wasmill topic create NAME --partitions 1 --set cleanup.policy=compact`. All members of the
        /// group need the same.
        control_topic: String = OUTPUT_TOPIC, optional("each process is swapped by itself");
        /// How long a swap of the group waits until every process has answered. Then nobody swaps.
        group_timeout: Duration = Time(SECOND, HOUR),
            default("1m", "a large handler is compiled in seconds, and a member that was killed is out of the group after its session");
        /// Files with cases, as `wasmill test` runs them, that a new handler must pass before it takes over.
        tests: Vec<At<PathBuf>> = List { of: FILE, unique: true }, optional("no cases are run");
        /// Swap when the handler's file changes.
        watch: bool = Flag, default(false, "a file that is copied by mistake should change nothing");
        /// `"all"`: at once, for all messages. `"canary"`: first for a growing share of them. `"shadow"`: beside the old
        /// one, which goes on alone: the new one gets the same messages, nothing of what it emits is sent, and what it
        /// would have done otherwise is reported.
        rollout: Rollout = ROLLOUTS, default("all", "one version at a time is the simplest to think about");
        /// The share that a new handler gets first, and how it grows.
        canary: RawCanary = Sub::<RawCanary>::new(), section;
        /// How long a new handler runs beside the old one.
        shadow: RawShadow = Sub::<RawShadow>::new(), section;
        /// Go back to the old handler if the new one exceeds its budget soon after it took over for all messages. `false`
        /// switches it off.
        rollback: Either<(), RawRollback> = OneOf(Off, Sub::<RawRollback>::new()), section;
        /// What a new handler may do beyond what the old one does, as a canary and until `rollback` is over.
        budget: RawBudget = Sub::<RawBudget>::new(), section;
        /// Run a new handler beside the old one over messages of the past, with nothing published, before it takes over, and
        /// compare. `wasmill diff --gate` tries it.
        backtest: RawBacktest = Sub::<RawBacktest>::new(), optional("it is not run over messages of the past");
    }
}

table! {
    /// Which messages of the past a new handler is run over, and how far it may differ from the old one.
    RawBacktest {
        /// The topic that they are read from, without a group.
        topic: String = TOPIC, optional("the pipeline's `topics`");
        /// All messages so far back. Not together with `sample`.
        since: Duration = Time(SECOND, 3650 * DAY), optional("`sample` decides");
        /// So many messages, spread over all partitions and all of what is there.
        sample: u64 = Count(1, 10_000_000), default(1000, "measured: less than a second; what is one in a hundred is met ten times");
        /// The share of messages that may come out otherwise: another verdict, or other outputs.
        differ: Share = Percent(Share::NONE), optional("differences are told and not judged");
        /// The share of messages that are given up may be so much larger.
        rejects: Share = Percent(Share::NONE), default("0%", "what the old one could handle the new one should");
        /// After so long what was compared by then counts.
        time: Duration = Time(SECOND, HOUR), default("1m", "whoever asked for the swap waits for its answer");
    }
}

table! {
    /// A handler that takes over for a share of the messages first.
    RawCanary {
        /// `"key"`: all messages of a key go to the same version; one without a key goes to either. `"partition"`: all of a
        /// partition.
        by: CanaryBy = Choice {
            words: &[("key", CanaryBy::Key), ("partition", CanaryBy::Partition)],
            later: &[],
        }, default("key", "a share of any size is possible, and what belongs together stays so");
        /// The shares, ascending. Behind the last one the new handler takes over for all messages.
        steps: Vec<At<Share>> = List { of: Percent(Share::millionths(1)), unique: true }, optional("`[\"5%\", \"25%\"]`");
        /// Messages that it must have handled in a step before the next one.
        messages: u64 = Count(1, 1_000_000_000), default(1000, "ten times the detection window");
        /// The time that a step lasts at least.
        time: Duration = Time(0, 24 * HOUR), default("30s", "time to look at a graph");
    }
}

table! {
    /// A handler that runs beside the old one, unheard. Ends with what comes first.
    RawShadow {
        /// Messages that it is given.
        messages: u64 = Count(1, 1_000_000_000), default(10000, "what differs in one of a thousand is seen ten times");
        /// The time that it is given.
        time: Duration = Time(SECOND, 24 * HOUR), default("5m", "where little flows, somebody waits for the report");
        /// Messages that differ and are reported with each field; the others are counted.
        differences: u64 = Count(1, 1000), default(10, "the first few say what it is");
    }
}

table! {
    /// How long a handler that took over is watched. Ends with what comes first.
    RawRollback {
        /// Messages.
        messages: u64 = Count(1, 1_000_000_000), default(1000, "ten times the detection window");
        /// Time.
        time: Duration = Time(SECOND, 24 * HOUR), default("1m", "somebody who deploys looks on so long");
    }
}

table! {
    /// How much worse than the old one a new handler may be.
    RawBudget {
        /// The share of messages that are given up may be so much larger.
        given_up: Share = Percent(Share::NONE), default("1%", "what the old one gives up as well does not count");
        /// So many more calls may trap, hit a limit or break the contract.
        crashes: u64 = Count(0, 1_000_000), default(0, "a handler that traps where the old one did not is broken");
        /// A message may take so much longer in half of the calls, ten at least, beyond 50 microseconds: `"100%"` is twice the time.
        slower: Share = Percent(Share::NONE), default("100%", "less is often chance");
        /// The detection window, in messages: until so many were seen, the budget is that of so many.
        window: u64 = Count(10, 1_000_000), default(100, "one in a hundred is the budget, so a hundred it takes");
    }
}

table! {
    /// For `wasmill dev`; nothing else reads it.
    RawDev {
        /// Messages to send: one JSON object a line, with `key`, `value`, `headers`, `partition`.
        sample: PathBuf = FILE, optional("nothing is sent; `wasmill dev --stdin` reads standard input");
        /// The command that builds the handler, and its arguments.
        build: Vec<At<String>> = List { of: ARGUMENT, unique: false }, optional("the handler is used as it is");
        /// Folders and files whose change builds again. Not a folder into which the build writes.
        watch: Vec<At<PathBuf>> = List { of: FILE, unique: true }, optional("the handler where there is no `build`, else nothing");
        /// Partitions of each topic that is made.
        partitions: u64 = Count(1, 64), default(4, "enough to see lanes and a second member at work");
    }
}
