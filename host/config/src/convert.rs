//! From the raw tables to the checked configuration: defaults that depend on other keys are decided here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wasmill_core::{BreakerPolicy, Budget, CommitMode, RetryPolicy, Share, SpanBound};

use crate::checked::{
    Admin, Backtest, Canary, Config, Dev, History, Kafka, Limits, OnExhausted, Output, Pipeline, Shadow, Swap, Token,
    Watched,
};
use crate::compound::{At, Either, properties};
use crate::properties::Properties;
use crate::raw::{
    Exhausted, Mode, Pairs, RawAdmin, RawBacktest, RawBreaker, RawCommit, RawConfig, RawDev, RawKafka, RawLimits,
    RawOutput, RawPipeline, RawSwap,
};
use crate::table::Field;

/// Kafka's default; a third of the session timeout is the most that is sound.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// Auto mode commits so often if the file does not say.
const AUTO_INTERVAL: Duration = Duration::from_secs(1);

/// A canary's shares if the file does not say.
const STEPS: [Share; 2] = [Share::millionths(50_000), Share::millionths(250_000)];

/// The window after a start or a swap is so much smaller if the file does not say.
const FIRST_WINDOW_PART: u64 = 5;

/// A window of a few messages would open at the first one that is given up.
const FIRST_WINDOW_LEAST: u64 = 10;

/// `None` only if a key is wrong or missing, of which there is a finding.
pub(crate) fn convert(raw: &RawConfig, directory: PathBuf) -> Option<Config> {
    let pipelines = raw.pipelines.value.as_ref()?;
    Some(Config {
        kafka: convert_kafka(raw.kafka.value.as_ref()?, &directory)?,
        admin: match &raw.admin.value {
            Some(admin) => Some(convert_admin(admin, &directory)?),
            None => None,
        },
        memory_bytes: raw.memory.value?,
        state: state(&raw.state, &directory),
        on_start_failure: raw.on_start_failure.value?,
        pipelines: pipelines
            .iter()
            .map(|At { value: (name, raw), .. }| convert_pipeline(name, raw, &directory))
            .collect::<Option<_>>()?,
        directory,
    })
}

/// Where the process keeps something.
pub(crate) fn state(typed: &Field<PathBuf>, directory: &Path) -> PathBuf {
    directory.join(typed.value.as_deref().unwrap_or(Path::new(".wasmill")))
}

pub(crate) fn convert_kafka(raw: &RawKafka, directory: &Path) -> Option<Kafka> {
    let words = raw.token_command.value.as_ref().map(|words| words.iter().map(|word| word.value.clone()).collect());
    let token = match (&raw.token_file.value, words) {
        (Some(path), _) => Some(Token::File(directory.join(path))),
        (None, words) => words.map(Token::Command),
    };
    Some(Kafka { bootstrap: raw.bootstrap.value.clone()?, properties: pairs(&raw.properties), token })
}

pub(crate) fn convert_admin(raw: &RawAdmin, directory: &Path) -> Option<Admin> {
    Some(Admin {
        listen: raw.listen.value?,
        allow_remote: raw.allow_remote.value?,
        token_file: raw.token_file.value.as_ref().map(|path| directory.join(path)),
    })
}

fn convert_pipeline(name: &str, raw: &RawPipeline, directory: &Path) -> Option<Pipeline> {
    let batch = raw.batch.value.as_ref()?;
    let span = raw.span.value.as_ref()?;
    let retry = raw.retry.value.as_ref()?;
    let dead_letter = raw.dead_letter.value.as_ref()?;
    let session_timeout = raw.session_timeout.value?;
    Some(Pipeline {
        name: name.to_owned(),
        topics: values(raw.topics.value.as_ref()?),
        group: raw.group.value.clone()?,
        handler: raw.handler.value.as_ref()?.joined(directory),
        grant: raw.grant.value.as_deref().map(values).unwrap_or_default(),
        members: number(&raw.members)?,
        order: raw.order.value?,
        lanes: if raw.lanes.written { Some(number(&raw.lanes)?) } else { None },
        start: raw.start.value?,
        out_of_range: raw.out_of_range.value?,
        assignor: raw.assignor.value?,
        session_timeout,
        heartbeat_interval: raw.heartbeat_interval.value.unwrap_or(HEARTBEAT.min(session_timeout / 3)),
        max_poll_interval: raw.max_poll_interval.value?,
        drain_timeout: raw.drain_timeout.value?,
        instance_id: raw.instance_id.value.clone(),
        output: convert_output(raw.output.value.as_ref()?)?,
        commit: convert_commit(raw.commit.value.as_ref()?)?,
        batch_messages: number(&batch.messages)?,
        batch_bytes: number(&batch.bytes)?,
        span: SpanBound { messages: span.messages.value?, bytes: span.bytes.value? },
        retry: RetryPolicy {
            attempts: number(&retry.attempts)?,
            backoff: retry.backoff.value?,
            max_delay: retry.max_delay.value?,
        },
        oversized: dead_letter.oversized.value?,
        on_exhausted: match (&dead_letter.topic.value, raw.on_exhausted.value) {
            (Some(topic), None) => OnExhausted::DeadLetter(topic.clone()),
            (None, Some(Exhausted::Stop)) => OnExhausted::Stop,
            (None, Some(Exhausted::Skip)) => OnExhausted::Skip,
            _ => return None,
        },
        breaker: match raw.breaker.value.as_ref()? {
            Either::A(()) => None,
            Either::B(breaker) => Some(convert_breaker(breaker)?),
        },
        limits: convert_limits(raw.limits.value.as_ref()?)?,
        swap: convert_swap(raw.swap.value.as_ref()?, directory)?,
        config: pairs(&raw.config),
        properties: pairs(&raw.properties),
        dev: convert_dev(raw.dev.value.as_ref()?, directory)?,
    })
}

fn convert_output(raw: &RawOutput) -> Option<Output> {
    Some(Output {
        default: raw.topic.value.clone(),
        granted: raw.topics.value.as_deref().map(values).unwrap_or_default(),
        linger: raw.linger.value?,
        digest_header: raw.digest_header.value?,
        timestamp: raw.timestamp.value?,
        timestamp_refused: raw.timestamp_refused.value?,
        compression: Some(raw.compression.value?).filter(|codec| *codec != "none").map(str::to_owned),
        properties: pairs(&raw.properties),
    })
}

fn convert_commit(raw: &RawCommit) -> Option<CommitMode> {
    Some(match (raw.mode.value?, raw.sync.value?, raw.interval.value) {
        (Mode::Auto, _, interval) => CommitMode::Auto(interval.unwrap_or(AUTO_INTERVAL)),
        (Mode::Manual, true, _) => CommitMode::Sync,
        (Mode::Manual, false, Some(interval)) => CommitMode::Interval(interval),
        (Mode::Manual, false, None) => CommitMode::Manual { min_interval: raw.min_interval.value? },
    })
}

/// The windows of a breaker; those after a start or a swap follow the others unless they are written.
pub(crate) fn convert_breaker(raw: &RawBreaker) -> Option<BreakerPolicy> {
    let (given_up, of) = (raw.given_up.value?, raw.of.value?);
    let first_of = raw.first_of.value.unwrap_or((of / FIRST_WINDOW_PART).max(of.min(FIRST_WINDOW_LEAST)));
    let in_proportion = (given_up * first_of).div_ceil(of).min(first_of - 1);
    let first_given_up = raw.first_given_up.value.unwrap_or(in_proportion);
    let [given_up, of, first_given_up, first_of] =
        [given_up, of, first_given_up, first_of].map(|value| u32::try_from(value).ok());
    Some(BreakerPolicy { given_up: given_up?, of: of?, first_given_up: first_given_up?, first_of: first_of? })
}

fn convert_limits(raw: &RawLimits) -> Option<Limits> {
    Some(Limits {
        memory_bytes: raw.memory.value?,
        time: raw.time.value?,
        time_cap: raw.time_cap.value?,
        init_time: raw.init_time.value?,
        component_bytes: raw.component.value?,
        compile_memory_bytes: raw.compile_memory.value?,
        compile_time: raw.compile_time.value?,
        output_messages: number(&raw.output_messages)?,
        output_bytes: number(&raw.output_bytes)?,
        log_lines_per_second: number(&raw.log_lines)?,
        log_line_bytes: number(&raw.log_line)?,
    })
}

fn convert_swap(raw: &RawSwap, directory: &Path) -> Option<Swap> {
    let (canary, shadow) = (raw.canary.value.as_ref()?, raw.shadow.value.as_ref()?);
    let budget = raw.budget.value.as_ref()?;
    let tests = raw.tests.value.as_deref().map(values).unwrap_or_default();
    let watched =
        |messages: &Field<u64>, time: &Field<Duration>| Some(Watched { messages: messages.value?, time: time.value? });
    Some(Swap {
        control_topic: raw.control_topic.value.clone(),
        group_timeout: raw.group_timeout.value?,
        tests: tests.iter().map(|path| directory.join(path)).collect(),
        watch: raw.watch.value?,
        rollout: raw.rollout.value?,
        canary: Canary {
            by: canary.by.value?,
            steps: canary.steps.value.as_deref().map_or_else(|| STEPS.to_vec(), values),
            step: watched(&canary.messages, &canary.time)?,
        },
        shadow: Shadow { until: watched(&shadow.messages, &shadow.time)?, differences: number(&shadow.differences)? },
        rollback: match raw.rollback.value.as_ref()? {
            Either::A(()) => None,
            Either::B(rollback) => Some(watched(&rollback.messages, &rollback.time)?),
        },
        budget: Budget {
            given_up: budget.given_up.value?,
            crashes: number(&budget.crashes)?,
            slower: Some(budget.slower.value?),
            window: budget.window.value?,
        },
        backtest: match &raw.backtest.value {
            Some(backtest) => Some(convert_backtest(backtest)?),
            None => None,
        },
    })
}

fn convert_backtest(raw: &RawBacktest) -> Option<Backtest> {
    Some(Backtest {
        topic: raw.topic.value.clone(),
        messages: match raw.since.value {
            Some(since) => History::Since(since),
            None => History::Sample(raw.sample.value?),
        },
        differ: raw.differ.value,
        rejects: raw.rejects.value?,
        time: raw.time.value?,
    })
}

fn convert_dev(raw: &RawDev, directory: &Path) -> Option<Dev> {
    let watch = raw.watch.value.as_deref().map(values).unwrap_or_default();
    Some(Dev {
        sample: raw.sample.value.as_ref().map(|path| directory.join(path)),
        build: raw.build.value.as_deref().map(values),
        watch: watch.iter().map(|path| directory.join(path)).collect(),
        partitions: number(&raw.partitions)?,
    })
}

/// Within its bounds a number fits its type: the bounds of every count and size are below 2³², or the type is 64 bits.
fn number<T: TryFrom<u64>>(field: &Field<u64>) -> Option<T> {
    field.value.and_then(|value| T::try_from(value).ok())
}

fn values<T: Clone>(items: &[At<T>]) -> Vec<T> {
    items.iter().map(|item| item.value.clone()).collect()
}

fn pairs(field: &Field<Pairs>) -> Properties {
    field.value.as_deref().map(properties).unwrap_or_default()
}
