//! One ledger from beginning to end.

use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use serde_json::json;

use super::book::{Book, Verdict};
use super::fleet::{Fleet, GROUP, INPUT, OUTPUT};
use super::{Disturbance, Kind, Options};
use crate::broker::{self, Broker};

/// Kills that a minute must have: 60 in ten minutes.
const KILLS_A_MINUTE: f64 = 6.0;
/// How long the group may take to catch up at the end.
const DRAIN: Duration = Duration::from_secs(90);

/// What is written to the report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub options: Options,
    /// What was done.
    pub disturbances: Vec<Disturbance>,
    /// What processes did that they should not.
    pub complaints: Vec<String>,
    /// What the topics say.
    pub verdict: Verdict,
    /// True if all promises were kept and enough was asked of them.
    pub passed: bool,
    /// What is missing, in words.
    pub reasons: Vec<String>,
}

/// Runs a ledger. `say` hears about the progress.
///
/// # Errors
/// It could not be run: that says nothing about wasmill.
pub fn run(options: &Options, say: &dyn Fn(&str)) -> Result<Report> {
    let broker = Broker::start(&broker::Options::default())?;
    let eye = broker.eye()?;
    eye.create_topic(INPUT, options.partitions, &[])?;
    // The broker's time, not the message's: when a copy came out is part of the proof.
    eye.create_topic(OUTPUT, options.partitions, &[("message.timestamp.type", "LogAppendTime")])?;
    let mut fleet = Fleet::start(options, &broker, &eye, StdRng::seed_from_u64(options.seed))?;
    eye.start_stream(INPUT, options.partitions, options.keys, options.per_second)?;
    disturb(options, &mut fleet, say)?;
    let given = eye.stop_stream(INPUT)?;
    say(&format!("{} messages produced; drain", given.iter().sum::<i64>()));
    let at_end = fleet.drain(&given, DRAIN)?;

    let input: Vec<_> = eye.end_offsets(INPUT)?.into_values().collect();
    anyhow::ensure!(
        input == given,
        "the input has {input:?} messages, {given:?} were produced: numbers are not offsets"
    );
    let mut book = Book::new(&given);
    eye.read_each(json!({ "topic": OUTPUT, "timeout_ms": 280_000 }), |message| book.enter(&message))?;
    let commits = eye.commits(GROUP, INPUT)?;
    let verdict = book.close(&commits, &at_end, &fleet.disturbances, options.span_messages);
    let reasons = reasons(options, &verdict, &fleet);
    if (options.keep || !reasons.is_empty())
        && let Some(folder) = fleet.keep()
    {
        say(&format!("logs kept in {}", folder.display()));
    }
    let (disturbances, complaints) = (fleet.disturbances.clone(), fleet.complaints.clone());
    Ok(Report { options: options.clone(), disturbances, complaints, verdict, passed: reasons.is_empty(), reasons })
}

fn disturb(options: &Options, fleet: &mut Fleet<'_>, say: &dyn Fn(&str)) -> Result<()> {
    let mut random = StdRng::seed_from_u64(options.seed.wrapping_add(1));
    let began = Instant::now();
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let mut next = began + Duration::from_secs(2);
    while began.elapsed() < length {
        fleet.tend()?;
        if Instant::now() < next || !fleet.is_whole() {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        let done = fleet.disturbances.len();
        let kills = kills(&fleet.disturbances) as f64;
        // A third more than the bar asks for: not each of them will catch messages in flight.
        fleet.disturb(kills < began.elapsed().as_secs_f64() / 60.0 * KILLS_A_MINUTE * 1.33)?;
        for one in &fleet.disturbances[done..] {
            let who = one.process.map_or_else(|| "broker".into(), |process| format!("process {process}"));
            say(&format!("{:>6.1} s  {:?} {who}", began.elapsed().as_secs_f64(), one.kind));
        }
        next = Instant::now() + Duration::from_millis(random.random_range(300..2500));
    }
    Ok(())
}

fn kills(disturbances: &[Disturbance]) -> usize {
    disturbances.iter().filter(|one| one.kind == Kind::Kill).count()
}

fn reasons(options: &Options, verdict: &Verdict, fleet: &Fleet<'_>) -> Vec<String> {
    let mut reasons = fleet.complaints.clone();
    for (promise, count) in &verdict.finding_counts {
        reasons.push(format!("\"{promise}\" is broken {count} times, e.g. {}", verdict.findings[promise].join("; ")));
    }
    let wanted = (options.minutes * KILLS_A_MINUTE).floor() as usize;
    if verdict.kills_in_flight < wanted {
        let (seen, all) = (verdict.kills_in_flight, verdict.kills.len());
        reasons.push(format!("only {seen} of {all} kills caught messages in flight, {wanted} are needed for a proof"));
    }
    reasons
}
