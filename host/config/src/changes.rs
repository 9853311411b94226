//! What differs between two readings of a file, key by key, and what of it a running process can take up.
//!
//! The structs are taken apart field by field, so that a new field that nobody decided about does not compile.

use wasmill_core::{RetryPolicy, SpanBound};

use crate::checked::{Admin, Config, Kafka, Limits, OnExhausted, Output, Pipeline, Swap};

/// A key whose value is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key without the name of its pipeline: `retry.attempts`. Of a change outside the pipelines, the whole key:
    /// `kafka.bootstrap`.
    pub key: &'static str,
    /// A running pipeline can take it up between two batches. Else it has to start again.
    pub live: bool,
}

/// Collects the keys that differ.
#[derive(Default)]
struct Found(Vec<Change>);

impl Found {
    /// A key that takes effect between two batches.
    fn live<T: PartialEq>(&mut self, key: &'static str, (old, new): (T, T)) {
        self.note(key, old != new, true);
    }

    /// A key that members, lanes or producer are made with.
    fn fixed<T: PartialEq>(&mut self, key: &'static str, (old, new): (T, T)) {
        self.note(key, old != new, false);
    }

    fn note(&mut self, key: &'static str, differs: bool, live: bool) {
        if differs {
            self.0.push(Change { key, live });
        }
    }
}

/// What differs between two readings of one pipeline's table. That the handler's file holds something else under the same
/// path is not seen here.
#[must_use]
pub fn changes(old: &Pipeline, new: &Pipeline) -> Vec<Change> {
    let Pipeline {
        name: _,
        topics,
        group,
        handler,
        grant,
        members,
        order,
        lanes,
        start,
        out_of_range,
        assignor,
        session_timeout,
        heartbeat_interval,
        max_poll_interval,
        drain_timeout,
        instance_id,
        output,
        commit,
        batch_messages,
        batch_bytes,
        span,
        retry,
        on_exhausted,
        oversized,
        breaker,
        limits,
        swap,
        config,
        properties,
        // Nothing but `wasmill dev` reads it.
        dev: _,
    } = new;
    let mut found = Found::default();
    found.fixed("topics", (&old.topics, topics));
    found.fixed("group", (&old.group, group));
    found.live("handler", (&old.handler, handler));
    found.live("grant", (&old.grant, grant));
    found.fixed("members", (&old.members, members));
    found.fixed("lanes", (&old.lanes, lanes));
    found.fixed("order", (&old.order, order));
    found.fixed("start", (&old.start, start));
    found.fixed("out_of_range", (&old.out_of_range, out_of_range));
    found.fixed("assignor", (&old.assignor, assignor));
    found.fixed("session_timeout", (&old.session_timeout, session_timeout));
    found.fixed("heartbeat_interval", (&old.heartbeat_interval, heartbeat_interval));
    found.fixed("max_poll_interval", (&old.max_poll_interval, max_poll_interval));
    found.fixed("drain_timeout", (&old.drain_timeout, drain_timeout));
    found.fixed("instance_id", (&old.instance_id, instance_id));
    of_output(&mut found, &old.output, output);
    let exhausted_key = match (&old.on_exhausted, on_exhausted) {
        (OnExhausted::DeadLetter(_), OnExhausted::DeadLetter(_)) => "dead_letter",
        _ => "on_exhausted",
    };
    found.fixed(exhausted_key, (&old.on_exhausted, on_exhausted));
    found.fixed("dead_letter.oversized", (&old.oversized, oversized));
    found.fixed("commit", (&old.commit, commit));
    found.fixed("batch.messages", (&old.batch_messages, batch_messages));
    found.fixed("batch.bytes", (&old.batch_bytes, batch_bytes));
    let SpanBound { messages, bytes } = span;
    found.fixed("span.messages", (&old.span.messages, messages));
    found.fixed("span.bytes", (&old.span.bytes, bytes));
    let RetryPolicy { attempts, backoff, max_delay } = retry;
    found.live("retry.attempts", (&old.retry.attempts, attempts));
    found.live("retry.backoff", (&old.retry.backoff, backoff));
    found.live("retry.max_delay", (&old.retry.max_delay, max_delay));
    found.fixed("breaker", (&old.breaker, breaker));
    of_limits(&mut found, &old.limits, limits);
    of_swap(&mut found, &old.swap, swap);
    found.live("config", (&old.config, config));
    found.fixed("properties", (&old.properties, properties));
    found.0
}

fn of_output(found: &mut Found, old: &Output, new: &Output) {
    let Output { default, granted, linger, compression, properties, digest_header, timestamp, timestamp_refused } = new;
    found.fixed("output.topic", (&old.default, default));
    found.fixed("output.topics", (&old.granted, granted));
    found.fixed("output.linger", (&old.linger, linger));
    found.fixed("output.compression", (&old.compression, compression));
    found.fixed("output.digest_header", (&old.digest_header, digest_header));
    found.fixed("output.timestamp", (&old.timestamp, timestamp));
    found.fixed("output.timestamp_refused", (&old.timestamp_refused, timestamp_refused));
    found.fixed("output.properties", (&old.properties, properties));
}

fn of_limits(found: &mut Found, old: &Limits, new: &Limits) {
    let Limits {
        component_bytes,
        memory_bytes,
        time,
        time_cap,
        init_time,
        compile_memory_bytes,
        compile_time,
        output_messages,
        output_bytes,
        log_lines_per_second,
        log_line_bytes,
    } = new;
    found.live("limits.component", (&old.component_bytes, component_bytes));
    found.live("limits.memory", (&old.memory_bytes, memory_bytes));
    found.live("limits.time", (&old.time, time));
    found.live("limits.time_cap", (&old.time_cap, time_cap));
    found.live("limits.init_time", (&old.init_time, init_time));
    found.live("limits.compile_memory", (&old.compile_memory_bytes, compile_memory_bytes));
    found.live("limits.compile_time", (&old.compile_time, compile_time));
    found.live("limits.output_messages", (&old.output_messages, output_messages));
    found.live("limits.output_bytes", (&old.output_bytes, output_bytes));
    found.live("limits.log_lines", (&old.log_lines_per_second, log_lines_per_second));
    found.live("limits.log_line", (&old.log_line_bytes, log_line_bytes));
}

fn of_swap(found: &mut Found, old: &Swap, new: &Swap) {
    let Swap { control_topic, group_timeout, tests, watch, rollout, canary, shadow, rollback, budget, backtest } = new;
    found.fixed("swap.control_topic", (&old.control_topic, control_topic));
    found.fixed("swap.group_timeout", (&old.group_timeout, group_timeout));
    found.live("swap.tests", (&old.tests, tests));
    found.live("swap.watch", (&old.watch, watch));
    found.live("swap.rollout", (&old.rollout, rollout));
    found.live("swap.canary", (&old.canary, canary));
    found.live("swap.shadow", (&old.shadow, shadow));
    found.live("swap.rollback", (&old.rollback, rollback));
    found.live("swap.budget", (&old.budget, budget));
    found.live("swap.backtest", (&old.backtest, backtest));
}

/// What differs outside the pipelines; a running process takes up nothing of it.
#[must_use]
pub fn process_changes(old: &Config, new: &Config) -> Vec<Change> {
    // The folder is that of the file, and both are readings of one file.
    let Config { kafka, admin, memory_bytes, state, on_start_failure, pipelines: _, directory: _ } = new;
    let Kafka { bootstrap, properties, token } = kafka;
    let mut found = Found::default();
    found.fixed("memory", (&old.memory_bytes, memory_bytes));
    found.fixed("state", (&old.state, state));
    found.fixed("on_start_failure", (&old.on_start_failure, on_start_failure));
    found.fixed("kafka.bootstrap", (&old.kafka.bootstrap, bootstrap));
    found.fixed("kafka.properties", (&old.kafka.properties, properties));
    found.fixed("kafka.token", (&old.kafka.token, token));
    match (&old.admin, admin) {
        (Some(old), Some(Admin { listen, allow_remote, token_file })) => {
            found.fixed("admin.listen", (&old.listen, listen));
            found.fixed("admin.allow_remote", (&old.allow_remote, allow_remote));
            found.fixed("admin.token_file", (&old.token_file, token_file));
        }
        (old, new) => found.fixed("admin", (old, new)),
    }
    found.0
}
