//! Rules between keys: what contradicts, and what is legal but can hurt.
//!
//! A rule looks only at values that are right in themselves, so that one mistake is named once.

use std::collections::HashMap;
use std::time::Duration;

use wasmill_core::{OutOfRange, Position, Start};

use crate::checked::Rollout;
use crate::compound::{At, Either};
use crate::convert::convert_breaker;
use crate::handler::Handler;
use crate::raw::{Exhausted, Mode, RawConfig, RawLimits, RawPipeline};
use crate::report::{Place, Report};
use crate::table::Field;
use crate::units::{show_duration, show_size};

/// Brokers refuse less by default (`group.min.session.timeout.ms`).
const BROKER_MIN_SESSION: Duration = Duration::from_secs(6);

type Named = At<(String, RawPipeline)>;

/// Finds everything that is wrong or dangerous in the file as a whole.
pub(crate) fn apply(raw: &RawConfig, report: &mut Report<'_>) {
    admin(raw, report);
    tokens(raw, report);
    let pipelines = raw.pipelines.value.as_deref().unwrap_or_default();
    for At { value: (_, pipeline), place } in pipelines {
        exhaustion(pipeline, place, report);
        commit(pipeline, report);
        timeouts(pipeline, report);
        bounds(pipeline, &raw.memory, report);
        breaker(pipeline, report);
        steps(pipeline, report);
        starts(pipeline, report);
        topics(pipeline, report);
        misplaced_properties(pipeline, report);
        backtest(pipeline, report);
        watch(pipeline, report);
    }
    shared_groups(pipelines, report);
    control_topics(pipelines, report);
    loops_between(pipelines, report);
}

/// Tokens have one source, and the mechanism that wants them.
fn tokens(raw: &RawConfig, report: &mut Report<'_>) {
    let Some(kafka) = &raw.kafka.value else { return };
    let (file, command) = (kafka.token_file.value.is_some(), kafka.token_command.value.as_ref());
    if command.is_some_and(Vec::is_empty) {
        report.error(
            &kafka.token_command.key,
            "`token_command` is empty".to_owned(),
            "name a program, then its arguments",
        );
    }
    if file && command.is_some() {
        report.error(&kafka.token_command.key, "`token_file` is there as well".to_owned(), "take one of them out");
    }
    let place = if file { &kafka.token_file.key } else { &kafka.token_command.key };
    let mechanism = kafka.properties.value.iter().flatten().find(|pair| pair.value.0.starts_with("sasl.mechanism"));
    let wants = mechanism.is_some_and(|pair| pair.value.1.eq_ignore_ascii_case("OAUTHBEARER"));
    if (file || command.is_some()) && !wants {
        let message = "a token is of use for one mechanism only".to_owned();
        report.warn(place, message, "add `properties.\"sasl.mechanism\" = \"OAUTHBEARER\"`");
    }
}

fn admin(raw: &RawConfig, report: &mut Report<'_>) {
    let Some(admin) = &raw.admin.value else { return };
    let (Some(listen), Some(allowed)) = (admin.listen.value, admin.allow_remote.value) else { return };
    if listen.ip().is_loopback() {
        return;
    }
    let place = &admin.listen.key;
    if allowed {
        report.warn(
            place,
            format!("other machines can reach `{listen}`"),
            "put something in front that asks who calls",
        );
    } else {
        let hint = format!("write `\"127.0.0.1:{}\"`, or add `allow_remote = true`", listen.port());
        report.error(place, format!("`listen` is not a loopback address: {listen}"), hint);
    }
}

/// A share that shrinks would take keys back from the new handler and give them to it again.
fn steps(raw: &RawPipeline, report: &mut Report<'_>) {
    let canary = raw.swap.value.as_ref().and_then(|swap| swap.canary.value.as_ref());
    let steps = canary.and_then(|canary| canary.steps.value.as_deref()).unwrap_or_default();
    if let Some([before, after]) = steps.array_windows().find(|[before, after]| after.value < before.value) {
        let message = format!("`{}`: {} comes after {}", after.place.name(), after.value, before.value);
        report.error(&after.place, message, "write the steps from the smallest to the largest");
    }
}

/// A tag that moves is not a file that changes: nobody would tell.
fn watch(raw: &RawPipeline, report: &mut Report<'_>) {
    let Some(swap) = &raw.swap.value else { return };
    if let (Some(true), Some(Handler::Oci(reference))) = (swap.watch.value, &raw.handler.value) {
        let message = format!("`watch = true` watches a file, and the handler is {reference}");
        report.error(&swap.watch.key, message, "take it out; `wasmill swap PIPELINE oci://...` brings another one");
    }
}

/// Exactly one of `dead_letter` and `on_exhausted`: that a message may be lost must have been written by somebody.
fn exhaustion(raw: &RawPipeline, place: &Place, report: &mut Report<'_>) {
    if let Some(dead_letter) = raw.dead_letter.chosen()
        && dead_letter.oversized.written
        && !dead_letter.topic.written
        && raw.on_exhausted.written
    {
        let hint = "add `dead_letter.topic = \"TOPIC\"`, or take it out";
        report.error(
            &dead_letter.oversized.key,
            "`dead_letter.oversized` is for a dead-letter topic, and none is named",
            hint,
        );
    }
    let named = raw.dead_letter.written && raw.dead_letter.value.as_ref().is_none_or(|dead| dead.topic.written);
    match (named, raw.on_exhausted.written) {
        (true, true) => report.error(
            &raw.on_exhausted.key,
            "`on_exhausted` contradicts `dead_letter`: messages that are given up go to the dead-letter topic",
            "take one of the two out",
        ),
        (false, false) => report.error(
            place,
            format!("`{}` does not say what happens to a message that is given up", place.name()),
            "add `dead_letter = \"TOPIC\"`, or `on_exhausted = \"stop\"` (its partition holds) or `\"skip\"` (it is lost)",
        ),
        _ => {}
    }
    if raw.on_exhausted.value == Some(Exhausted::Skip) {
        report.warn(
            &raw.on_exhausted.key,
            "`on_exhausted = \"skip\"` loses every message that is given up",
            "write `dead_letter = \"TOPIC\"` to keep them",
        );
    }
}

fn backtest(raw: &RawPipeline, report: &mut Report<'_>) {
    let Some(backtest) = raw.swap.value.as_ref().and_then(|swap| swap.backtest.value.as_ref()) else { return };
    if backtest.since.chosen().is_some() && backtest.sample.chosen().is_some() {
        let message = "`sample` contradicts `since`: all messages since then are compared";
        report.error(&backtest.sample.key, message, "take one of the two out");
    }
}

fn commit(raw: &RawPipeline, report: &mut Report<'_>) {
    let Some(commit) = &raw.commit.value else { return };
    let mode = commit.mode.value.unwrap_or(Mode::Manual);
    let sync = commit.sync.value == Some(true);
    match mode {
        Mode::Auto => {
            let message =
                "`mode = \"auto\"` can lose messages in a crash: offsets are committed before messages are complete";
            report.warn(&commit.mode.key, message, "write `mode = \"manual\"` with the same `interval`");
            if sync {
                let hint = "take `sync` out, or write `mode = \"manual\"`";
                report.error(&commit.sync.key, "`sync = true` contradicts `mode = \"auto\"`", hint);
            }
        }
        Mode::Manual if sync && commit.interval.written => {
            let message = "`interval` contradicts `sync = true`: every batch is committed at once";
            report.error(&commit.interval.key, message, "take one of the two out");
        }
        Mode::Manual => {}
    }
    let spaced_by = match mode {
        Mode::Auto => Some("`mode = \"auto\"`: it commits once an interval"),
        Mode::Manual if sync => Some("`sync = true`: every batch is committed at once"),
        Mode::Manual => commit.interval.written.then_some("`interval`"),
    };
    if let Some(other) = spaced_by.filter(|_| commit.min_interval.chosen().is_some()) {
        report.error(
            &commit.min_interval.key,
            format!("`min_interval` contradicts {other}"),
            "take `min_interval` out",
        );
    } else if commit.min_interval.chosen() == Some(&Duration::ZERO) {
        let message = "`min_interval` of zero can mean a thousand commits a second in `__consumer_offsets`";
        report.warn(&commit.min_interval.key, message, "write `\"50ms\"`, or keep an eye on the brokers");
    }
}

fn timeouts(raw: &RawPipeline, report: &mut Report<'_>) {
    if let (Some(session), Some(heartbeat)) = (raw.session_timeout.value, raw.heartbeat_interval.chosen()) {
        let (place, third) = (&raw.heartbeat_interval.key, show_duration(session / 3));
        let hint = format!("write at most a third of it, `\"{third}\"`, or take `heartbeat_interval` out");
        let shown = show_duration(session);
        if *heartbeat >= session {
            report.error(place, format!("`heartbeat_interval` must be below `session_timeout`, {shown}"), hint);
        } else if *heartbeat > session / 3 {
            let message = format!("two lost heartbeats within `session_timeout`, {shown}, are the end of the member");
            report.warn(place, message, hint);
        }
    }
    if raw.session_timeout.chosen().is_some_and(|session| *session < BROKER_MIN_SESSION) {
        let message = "brokers refuse a `session_timeout` below 6 s unless `group.min.session.timeout.ms` allows it";
        report.warn(&raw.session_timeout.key, message, "write `\"6s\"` or more");
    }
    at_least(&raw.max_poll_interval, &raw.session_timeout, "session_timeout", report);
    if let (Some(drain), Some(poll)) = (raw.drain_timeout.value, raw.max_poll_interval.value)
        && drain >= poll
    {
        let place = written_first(&raw.drain_timeout, &raw.max_poll_interval);
        let message = format!(
            "`drain_timeout`, {}, must be below `max_poll_interval`, {}: the group would take the partitions away",
            show_duration(drain),
            show_duration(poll)
        );
        report.error(place, message, "write less for `drain_timeout` or more for `max_poll_interval`");
    }
}

fn bounds(raw: &RawPipeline, memory: &Field<u64>, report: &mut Report<'_>) {
    if let Some(retry) = &raw.retry.value {
        at_least(&retry.max_delay, &retry.backoff, "retry.backoff", report);
    }
    let (batch, span, limits) = (raw.batch.value.as_ref(), raw.span.value.as_ref(), raw.limits.value.as_ref());
    if let (Some(batch), Some(span)) = (batch, span) {
        least(&span.messages, &batch.messages, ["span.messages", "batch.messages"], u64::to_string, report);
        least(&span.bytes, &batch.bytes, ["span.bytes", "batch.bytes"], |bytes| show_size(*bytes), report);
        if let (Some(bytes), Some(total)) = (span.bytes.value, memory.value)
            && bytes > total
        {
            let (bytes, total) = (show_size(bytes), show_size(total));
            let message = format!("`span.bytes`, {bytes}, is more than `memory`, {total}, at the top of the file");
            let hint = format!("write `bytes = \"{total}\"` or less in `span`, or more `memory`");
            report.error(written_first(&span.bytes, memory), message, hint);
        }
    }
    let Some(limits) = limits else { return };
    at_least(&limits.time_cap, &limits.time, "limits.time", report);
    if let (Some(bytes), Some(memory)) = (batch.and_then(|batch| batch.bytes.value), limits.memory.value)
        && bytes >= memory
    {
        let message = format!("a full batch, {}, does not fit into `limits.memory`", show_size(bytes));
        let place = batch.map(|batch| written_first(&limits.memory, &batch.bytes)).unwrap_or(&limits.memory.key);
        report.error(place, message, "write less for `batch.bytes` or more for `limits.memory`");
    }
    long_calls(raw, limits, report);
}

fn long_calls(raw: &RawPipeline, limits: &RawLimits, report: &mut Report<'_>) {
    if let (Some(cap), Some(drain)) = (limits.time_cap.value, raw.drain_timeout.value)
        && cap > drain
        && (limits.time_cap.written || raw.drain_timeout.written)
    {
        let place = written_first(&limits.time_cap, &raw.drain_timeout);
        let message = format!(
            "a call may take {}, a drain waits {}: a rebalance can cut a call off",
            show_duration(cap),
            show_duration(drain)
        );
        report.warn(place, message, "write less for `limits.time_cap` or more for `drain_timeout`");
    }
}

fn breaker(raw: &RawPipeline, report: &mut Report<'_>) {
    let breaker = match &raw.breaker.value {
        Some(Either::A(())) => {
            let message = "without a breaker a bad deploy can send a whole topic to the dead letters";
            report.warn(&raw.breaker.key, message, "take `breaker = false` out");
            return;
        }
        Some(Either::B(breaker)) => breaker,
        None => return,
    };
    let Some(policy) = convert_breaker(breaker) else { return };
    let never = |given_up: &str, of: &str| format!("`{given_up}` must be below `{of}`, or the breaker never opens");
    if policy.first_of > policy.of {
        let place = written_first(&breaker.first_of, &breaker.of);
        let message = "`first_of` must be at most `of`: it is the smaller window";
        report.error(place, message, format!("write `first_of = {}` or less", policy.of));
    } else if policy.given_up >= policy.of {
        let place = written_first(&breaker.given_up, &breaker.of);
        report.error(place, never("given_up", "of"), format!("write `given_up = {}` or less", policy.of - 1));
    } else if policy.first_given_up >= policy.first_of {
        let place = written_first(&breaker.first_given_up, &breaker.first_of);
        let hint = format!("write `first_given_up = {}` or less", policy.first_of - 1);
        report.error(place, never("first_given_up", "first_of"), hint);
    }
}

fn starts(raw: &RawPipeline, report: &mut Report<'_>) {
    if raw.start.value == Some(Start::At(Position::Latest)) {
        let message = "`start = \"latest\"` never handles what arrives before the group's first start";
        report.warn(&raw.start.key, message, "write `\"earliest\"` or a time if that matters");
    }
    if raw.out_of_range.value == Some(OutOfRange::Latest) {
        let message = "`out_of_range = \"latest\"` skips everything that is there when retention overtakes the group";
        report.warn(&raw.out_of_range.key, message, "write `\"stop\"`, or `\"earliest\"` to go on with the oldest");
    }
}

/// Every topic that a pipeline may write to, with its place. The dead-letter topic is the last.
fn written_topics(raw: &RawPipeline) -> Vec<(&str, &Place)> {
    let output = raw.output.value.as_ref();
    let default = output.and_then(|output| Some((output.topic.value.as_deref()?, &output.topic.key)));
    let granted = output.and_then(|output| output.topics.value.as_deref()).unwrap_or_default();
    let dead_letter = raw.dead_letter.value.as_ref();
    let dead_letter = dead_letter.and_then(|dead| Some((dead.topic.value.as_deref()?, &dead.topic.key)));
    let granted = granted.iter().map(|topic| (topic.value.as_str(), &topic.place));
    default.into_iter().chain(granted).chain(dead_letter).collect()
}

fn reads(raw: &RawPipeline, topic: &str) -> bool {
    raw.topics.value.iter().flatten().any(|known| known.value == topic)
}

fn topics(raw: &RawPipeline, report: &mut Report<'_>) {
    for (topic, place) in written_topics(raw) {
        if reads(raw, topic) {
            let message =
                format!("`{topic}` is written and read by the same pipeline: its messages would go round for ever");
            report.error(place, message, "write to another topic, or take it out of `topics`");
        }
    }
    let Some(output) = &raw.output.value else { return };
    if raw.output.written && !output.topic.written && !output.topics.written {
        let hint = "add `topic = \"TOPIC\"` or `topics = [\"TOPIC\"]`, or take `output` out";
        report.error(&raw.output.key, "`output` names no topic", hint);
    }
    for topic in output.topics.value.iter().flatten() {
        if output.topic.value.as_ref() == Some(&topic.value) {
            let message = format!("`{}` is the `topic` of this output already", topic.value);
            report.error(&topic.place, message, "take it out: a message that names no topic goes there");
        }
    }
    let Some(dead) = &raw.dead_letter.value else { return };
    let Some(dead_letter) = &dead.topic.value else { return };
    let is_output = |(topic, place): &(&str, &Place)| topic == dead_letter && **place != dead.topic.key;
    if written_topics(raw).iter().any(is_output) {
        let message = format!("`{dead_letter}` is an output too: its readers could not tell dead letters from results");
        report.error(&dead.topic.key, message, "write a topic of its own");
    }
}

/// A control topic holds what processes tell each other. A handler that could write there could name versions.
fn control_topics(pipelines: &[Named], report: &mut Report<'_>) {
    for At { value: (name, raw), .. } in pipelines {
        let Some(swap) = &raw.swap.value else { continue };
        let Some(topic) = &swap.control_topic.value else { continue };
        if swap.watch.value == Some(true) {
            let message =
                "`watch` contradicts `control_topic`: a file that changes would swap one process of the group";
            report.error(&swap.watch.key, message, "take `watch` out, and use `wasmill swap --group`");
        }
        if swap.rollout.value.is_some_and(|rollout| rollout != Rollout::All) {
            let message = "`rollout` contradicts `control_topic`: a group swaps at once";
            report.error(&swap.rollout.key, message, "take `rollout` out");
        }
        if swap.rollback.written && matches!(swap.rollback.value, Some(Either::B(_))) {
            let message = "a group is not taken back by itself: with `control_topic` this `rollback` never applies";
            report.warn(&swap.rollback.key, message, "write `rollback = false`, and use `wasmill rollback --group`");
        }
        // Members that read other topics are members of the same group, and know nothing of this pipeline's versions.
        let shares =
            |(other, pipeline): &&(String, RawPipeline)| other != name && pipeline.group.value == raw.group.value;
        if let Some((other, _)) = pipelines.iter().map(|pipeline| &pipeline.value).find(shares) {
            let message = format!("`{other}` is in the same group, and a swap of the group is one of a pipeline");
            report.error(&swap.control_topic.key, message, "write another `group` for each");
        }
        for At { value: (other, pipeline), .. } in pipelines {
            let written = written_topics(pipeline).iter().any(|(written, _)| written == topic);
            if !written && !reads(pipeline, topic) {
                continue;
            }
            let what = if written { "written" } else { "read" };
            let message = format!("`{topic}` is {what} by `{other}`: a control topic is for wasmill alone");
            report.error(&swap.control_topic.key, message, "write a topic of its own");
            break;
        }
    }
}

/// What connects to a cluster must be known to every client, not only to a pipeline's consumers or producer.
fn misplaced_properties(raw: &RawPipeline, report: &mut Report<'_>) {
    let output = raw.output.value.as_ref().and_then(|output| output.properties.value.as_deref());
    let consumer = raw.properties.value.as_deref();
    for pair in consumer.into_iter().chain(output).flatten() {
        let name = &pair.value.0;
        if ["security.", "sasl.", "ssl."].iter().any(|begin| name.starts_with(begin)) {
            let message = format!("`{name}` is set for one kind of client only; the others connect without it");
            report.warn(&pair.place, message, "move it to `[kafka.properties]`");
        }
    }
}

fn shared_groups(pipelines: &[Named], report: &mut Report<'_>) {
    for (index, At { value: (_, later), .. }) in pipelines.iter().enumerate() {
        for At { value: (name, earlier), .. } in &pipelines[..index] {
            let Some(group) = later.group.value.as_ref().filter(|_| later.group.value == earlier.group.value) else {
                continue;
            };
            let topics = earlier.topics.value.iter().flatten();
            let shared = topics.map(|topic| topic.value.as_str()).find(|topic| reads(later, topic));
            if let Some(topic) = shared {
                let message =
                    format!("`{name}` reads `{topic}` in the group `{group}` too: each gets a part of the partitions");
                report.warn(&later.group.key, message, "write another group if both are to read every message");
            }
            if let (Some(other), Some(own)) = (earlier.assignor.value, later.assignor.value)
                && other != own
            {
                let message = format!(
                    "`{name}` has `assignor = \"{}\"` in the same group, which admits one only",
                    other.as_str()
                );
                let place = written_first(&later.assignor, &earlier.assignor);
                report.error(place, message, "write the same in both, or another group");
            }
            if later.instance_id.value.is_some() && later.instance_id.value == earlier.instance_id.value {
                let message =
                    format!("`{name}` has the same `instance_id` in the same group: they would fence each other");
                report.error(&later.instance_id.key, message, "write another `instance_id`");
            }
        }
    }
}

/// Loops through several pipelines can be meant (a handler may end them), so they are only shown.
fn loops_between(pipelines: &[Named], report: &mut Report<'_>) {
    let mut seen: Vec<usize> = Vec::new();
    for first in 0..pipelines.len() {
        if seen.contains(&first) {
            continue;
        }
        if let Some(path) = way_back(pipelines, first) {
            let names: Vec<_> = path.iter().map(|index| pipelines[*index].value.0.as_str()).collect();
            let message = format!("messages can go round for ever: {} → {}", names.join(" → "), names[0]);
            report.warn(&pipelines[first].place, message, "make sure that a handler ends it");
            seen.extend(path);
        }
    }
}

/// The shortest way from a pipeline through others back to itself: the pipelines on it, the first one first.
fn way_back(pipelines: &[Named], first: usize) -> Option<Vec<usize>> {
    let mut before: HashMap<usize, usize> = HashMap::new();
    let mut queue = std::collections::VecDeque::from([first]);
    while let Some(at) = queue.pop_front() {
        let written = written_topics(&pipelines[at].value.1);
        for (next, candidate) in pipelines.iter().enumerate() {
            if next == at || !written.iter().any(|(topic, _)| reads(&candidate.value.1, topic)) {
                continue;
            }
            if next == first {
                let mut path = vec![at];
                while let Some(previous) = path.last().filter(|last| **last != first).and_then(|last| before.get(last))
                {
                    path.push(*previous);
                }
                path.reverse();
                return Some(path);
            }
            before.entry(next).or_insert_with(|| {
                queue.push_back(next);
                at
            });
        }
    }
    None
}

/// The key that the user wrote, if only one of two that contradict was.
fn written_first<'a, A, B>(field: &'a Field<A>, other: &'a Field<B>) -> &'a Place {
    if field.written || !other.written { &field.key } else { &other.key }
}

fn at_least(field: &Field<Duration>, other: &Field<Duration>, other_name: &str, report: &mut Report<'_>) {
    let name = field.key.name().to_owned();
    least(field, other, [&name, other_name], |value| show_duration(*value), report);
}

fn least<T: PartialOrd>(
    field: &Field<T>,
    other: &Field<T>,
    [name, other_name]: [&str; 2],
    show: impl Fn(&T) -> String,
    report: &mut Report<'_>,
) {
    if let (Some(value), Some(bound)) = (&field.value, &other.value)
        && value < bound
    {
        let (value, bound) = (show(value), show(bound));
        let message = format!("`{name}`, {value}, must be at least `{other_name}`, {bound}");
        report.error(
            written_first(field, other),
            message,
            format!("write more for `{name}` or less for `{other_name}`"),
        );
    }
}
