//! What commands say of versions of a handler: what a swap answered, what is on trial, where partitions passed on.

use std::time::Duration;

use wasmill_deploy::group::lead;
use wasmill_deploy::handler::digest::short;
use wasmill_deploy::swap::answer::{Boundary, Done, Outcome, WatchedFor};
use wasmill_deploy::swap::history::{Record, What};

use super::output::{known, table};
use crate::api::status::{Trial, TrialStatus};
use crate::api::swap::Swapped;

/// A version on trial, in a line.
pub fn on_trial(trial: &TrialStatus) -> String {
    let what = match trial.rollout {
        Trial::Canary => format!("canary of {}", known(trial.share.as_ref())),
        Trial::Watch => "watched since it took over".to_owned(),
        Trial::Shadow | Trial::Other(_) => "shadow".to_owned(),
    };
    let differing = trial.differing.map_or(String::new(), |count| format!(", {count} differ"));
    let TrialStatus { messages, given_up, crashes, .. } = trial;
    let version = short(&trial.plugin);
    format!("{version} {what}: {messages} messages, {given_up} given up, {crashes} crashes{differing}")
}

/// The first offsets of an event, as in `in/0@7`.
pub fn boundaries(record: &Record) -> Vec<String> {
    let boundary = |one: &Boundary| format!("{}@{}", one.partition, one.first_offset);
    record.partitions.iter().map(boundary).collect()
}

/// One event of the history, in a line: what it was about, and what serves since.
pub fn event(one: &Record) -> String {
    let reason = one.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let first = boundaries(one);
    let first = if first.is_empty() { String::new() } else { format!(", from {} on", first.join(", ")) };
    let (to, source) = (short(&one.to.digest), &one.to.source);
    // Where the version that it is about is not the one that serves.
    let serves = one.from.as_ref().map_or_else(String::new, |from| format!("{} serves", short(&from.digest)));
    let told = match one.what {
        What::Report => format!("{to} of {source} was a shadow and has ended{reason}; {serves}{first}"),
        What::Shadow => format!("{to} of {source} runs beside, unheard; {serves}{first}{reason}"),
        What::Canary => format!("{to} of {source} gets a share; {serves}{first}{reason}"),
        What::Refused => format!("{to} of {source} was not let in{reason}; {serves}"),
        What::Start | What::Swap | What::Confirmed | What::Rollback | What::Other(_) => {
            format!("{to} of {source} serves{first}{reason}")
        }
    };
    format!("{}: {}", one.what.as_str(), told.trim_end_matches("; "))
}

/// What a swap or a rollback answered, for people.
pub fn told(answer: &Swapped) -> String {
    match answer {
        Swapped::Group(swapped) => told_of_group(swapped),
        Swapped::Here(outcome) => told_of_process(outcome),
    }
}

fn told_of_process(answer: &Outcome) -> String {
    let (name, to, from) = (&answer.pipeline, short(&answer.to.digest), short(&answer.from.digest));
    let mut text = match answer.outcome {
        Done::Unchanged => return format!("{name}: {to} serves already\n"),
        Done::Canary => {
            format!("{name}: {to} gets {} of the messages, {from} the others\n", known(answer.share.as_ref()))
        }
        Done::Shadow => format!("{name}: {to} runs beside {from}, and nothing that it emits is sent\n"),
        Done::RolledBack => format!("{name}: {to} serves again, {from} no longer\n"),
        Done::Swapped | Done::Other(_) => format!("{name}: {to} takes over from {from}\n"),
    };
    let row = |one: &Boundary| {
        let attempt = one.attempt.map_or(String::new(), |attempt| format!("attempt {attempt}"));
        [one.partition.clone(), one.first_offset.to_string(), attempt]
    };
    text += &table(["partition", "first offset", ""], answer.partitions.iter().map(row));
    if let Some(longest) = answer.lanes.iter().map(|lane| lane.pause_us).max() {
        let Outcome { gate_ms, handover_ms, .. } = answer;
        text += &format!(
            "the longest pause of a lane was {longest} us; {gate_ms} ms at the gate, {handover_ms} ms to hand over\n"
        );
    }
    if let Some(watched) = &answer.watched {
        text += &format!("{to} {}; hint: wasmill swap --wait waits until that is over\n", watched_for(watched));
    }
    let waiting = answer.waiting.len();
    if waiting > 0 {
        text += &format!("{waiting} lanes are still in a batch of {from} and pass on after it\n");
    }
    text
}

/// That a version which took over is not there for good yet.
pub fn watched_for(WatchedFor { messages, ms }: &WatchedFor) -> String {
    let time = humantime::format_duration(Duration::from_millis(*ms));
    format!("is being watched, for {messages} messages or {time}, and goes back by itself if it is worse")
}

fn told_of_group(answer: &lead::Swapped) -> String {
    let lead::Swapped { pipeline, group, epoch, untold, .. } = answer;
    let (to, from, processes) = (short(&answer.to), short(&answer.from), answer.processes.len());
    let mut text = format!(
        "{pipeline}: {to} takes over from {from} in {processes} processes of the group {group}, epoch {epoch}\n"
    );
    let row = |one: &lead::Boundary| {
        let id = format!("{}/{}", one.topic, one.partition);
        [id, one.first_offset.to_string(), known(one.process.as_ref())]
    };
    text += &table(["partition", "first offset", "process"], answer.partitions.iter().map(row));
    if !untold.is_empty() {
        text += &format!("nobody has told of {} yet: nobody holds it, or it does not go on\n", untold.join(", "));
    }
    text
}

/// Who asks, as far as that can be known.
pub fn user() -> String {
    let name = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    format!("{} (wasmill)", name.as_deref().unwrap_or("somebody"))
}

/// Something that moves on a terminal while a whole group gets ready. Ends when it is dropped.
pub struct Waiting(indicatif::ProgressBar);

impl Waiting {
    /// For the group of this pipeline.
    pub fn of(pipeline: &str) -> Self {
        let spinner = indicatif::ProgressBar::new_spinner().with_message(format!("{pipeline}: the group gets ready"));
        spinner.enable_steady_tick(Duration::from_millis(100));
        Self(spinner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::history::tests::record;
    use crate::api::status::tests::trial;
    use crate::api::swap::tests::{of_group, outcome};

    /// Without what fills up a table's columns.
    fn lines(text: &str) -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn an_outcome_names_each_boundary_the_longest_pause_and_who_is_still_busy() {
        for (done, first) in [
            (Done::Swapped, "orders: b takes over from a"),
            (Done::Canary, "orders: b gets 5% of the messages, a the others"),
            (Done::Shadow, "orders: b runs beside a, and nothing that it emits is sent"),
            (Done::RolledBack, "orders: b serves again, a no longer"),
            (Done::Other("of-tomorrow".to_owned()), "orders: b takes over from a"),
        ] {
            let text = told(&Swapped::Here(Outcome { outcome: done, ..outcome() }));
            let expected = [
                first,
                "partition first offset",
                "in/0 7 attempt 3",
                "in/1 9",
                "the longest pause of a lane was 80 us; 120 ms at the gate, 3 ms to hand over",
                "b is being watched, for 1000 messages or 5s, and goes back by itself if it is worse; hint: wasmill swap --wait \
                 waits until that is over",
                "1 lanes are still in a batch of a and pass on after it",
            ];
            assert_eq!(lines(&text), expected);
        }
        let unchanged = Swapped::Here(Outcome { outcome: Done::Unchanged, ..outcome() });
        assert_eq!(told(&unchanged), "orders: b serves already\n");
    }

    #[test]
    fn an_outcome_of_a_group_names_each_boundary_and_who_told_of_it() {
        let expected = [
            "orders: b takes over from a in 1 processes of the group g, epoch 4",
            "partition first offset process",
            "in/0 7 p",
            "nobody has told of in/1 yet: nobody holds it, or it does not go on",
        ];
        assert_eq!(lines(&told(&Swapped::Group(of_group()))), expected);
    }

    #[test]
    fn an_event_names_the_version_that_serves_from_where_and_why() {
        assert_eq!(event(&record()), "rollback: a of a.wasm serves, from in/0@7, in/1@9 on: worse");
        let bare = Record { partitions: Vec::new(), reason: None, ..record() };
        assert_eq!(event(&bare), "rollback: a of a.wasm serves");
    }

    #[test]
    fn what_does_not_serve_is_not_said_to_serve() {
        let of = |what| event(&Record { what, partitions: Vec::new(), ..record() });
        // They lead from `b` to `a`.
        assert_eq!(of(What::Report), "report: a of a.wasm was a shadow and has ended: worse; b serves");
        assert_eq!(of(What::Shadow), "shadow: a of a.wasm runs beside, unheard; b serves: worse");
        assert_eq!(of(What::Canary), "canary: a of a.wasm gets a share; b serves: worse");
        assert_eq!(of(What::Refused), "refused: a of a.wasm was not let in: worse; b serves");
        assert_eq!(of(What::Swap), "swap: a of a.wasm serves: worse");
        let alone = Record { from: None, reason: None, partitions: Vec::new(), what: What::Refused, ..record() };
        assert_eq!(event(&alone), "refused: a of a.wasm was not let in");
    }

    #[test]
    fn a_trial_is_told_with_what_it_gets_and_what_it_did() {
        let counts = "10 messages, 1 given up, 2 crashes";
        assert_eq!(on_trial(&trial()), format!("b shadow: {counts}, 3 differ"));
        let canary = TrialStatus { rollout: Trial::Canary, share: Some("5%".to_owned()), differing: None, ..trial() };
        assert_eq!(on_trial(&canary), format!("b canary of 5%: {counts}"));
        let watch = TrialStatus { rollout: Trial::Watch, differing: None, ..trial() };
        assert_eq!(on_trial(&watch), format!("b watched since it took over: {counts}"));
    }
}
