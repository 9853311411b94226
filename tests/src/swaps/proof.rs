//! Many swaps in a row under load. The topics must tell that nothing was lost, nothing came twice, order held, and that
//! each version was given what the answers say.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::book::{Book, Run, Verdict};
use super::fleet::{Answer, Fleet};
use super::{AS_FAST_AS_IT_TAKES, KEYS, PARTITIONS, Spread};
use crate::broker::Broker;
use crate::eye::{Eye, Offsets};
use crate::scratch::Scratch;
use crate::shared::unique;
use crate::versions::Version;

/// The handler whose versions are swapped: it stamps its digest on what it is given.
const HANDLER: &str = "stamp";
/// How long the group may take to catch up at the end.
const DRAIN: Duration = Duration::from_secs(280);
/// Of the runs that are reported, at most this share may have no message: one proves nothing about its boundary. On a
/// machine with nothing else to do a swap takes 30 ms, and one run in twenty is empty.
const MOST_EMPTY: f64 = 0.2;

/// What to run.
#[derive(Clone, Debug, Serialize)]
pub struct Options {
    /// Swaps in a row, of every process.
    pub swaps: usize,
    /// Different versions. Each of them is compiled when it comes for the first time.
    pub digests: u32,
    /// Messages produced a second, or as many as the broker takes.
    pub per_second: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { swaps: 1000, digests: 25, per_second: AS_FAST_AS_IT_TAKES }
    }
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub options: Options,
    /// Swaps of which a handler was compiled cold.
    pub cold: usize,
    /// From the first swap to the answer of the last.
    pub seconds: f64,
    /// Messages that came out a second meanwhile.
    pub rate: f64,
    /// How long lanes stood still, in microseconds.
    pub pause_us: Spread,
    /// Milliseconds until every lane had passed on.
    pub handover_ms: Spread,
    /// Milliseconds at the gate with a handler that had been compiled before.
    pub gate_ms: Spread,
    /// Milliseconds at the gate with one that had not.
    pub gate_cold_ms: Spread,
    /// Megabytes of each process once every version had been there, and at the end.
    pub resident_mb: [Vec<f64>; 2],
    /// What the topics say.
    pub verdict: Verdict,
    /// What is wrong, in words.
    pub reasons: Vec<String>,
}

/// Runs it. `say` hears about the progress.
///
/// # Errors
/// It could not be run, or a swap was refused.
pub fn run(options: &Options, broker: &Broker, say: &dyn Fn(&str)) -> Result<Report> {
    ensure!(options.digests >= 2 && options.swaps > 0, "one version cannot be swapped; hint: two digests or more");
    let (eye, name) = (broker.eye()?, unique("swaps"));
    let (input, output) = (format!("{name}-in"), format!("{name}-out"));
    eye.create_topic(&input, PARTITIONS, &[])?;
    eye.create_topic(&output, PARTITIONS, &[])?;
    let folder = Scratch::new("versions")?;
    let versions: Vec<Version> =
        (0..options.digests).map(|number| Version::write(folder.path(), HANDLER, number)).collect::<Result<_>>()?;
    let fleet = Fleet::start(&broker.bootstrap(), &eye, &name, (&input, &output), &versions[0])?;
    eye.start_stream(&input, PARTITIONS, KEYS, options.per_second)?;
    eye.read_count(&output, 1000, DRAIN)?;
    let (swaps, seconds, rate, early) = swap(options, &versions, &fleet, &eye, &output, say)?;
    let given = eye.stop_stream(&input)?;
    say(&format!("{} messages produced; drain", given.iter().sum::<i64>()));
    let ends: Offsets = (0..).zip(given.iter().copied()).collect();
    eye.wait_committed(&name, &input, &ends, DRAIN)?;
    let resident_mb = [early, fleet.resident_mb()];
    fleet.stop()?;
    let mut book = Book::new(&given);
    eye.stamped(&output, |piece| book.enter(&piece))?;
    let verdict = book.close(Some(&promised(&versions, &swaps)?));
    // The first version is compiled when the processes start.
    let cold = |number: usize| number + 1 < versions.len();
    let gates = |is_cold: bool| {
        let some = swaps.iter().enumerate().filter(move |(number, _)| cold(*number) == is_cold);
        Spread::of(some.flat_map(|(_, answers)| answers).map(|answer| answer.gate_ms as f64))
    };
    let answers = || swaps.iter().flatten();
    let reasons = reasons(&verdict);
    Ok(Report {
        options: options.clone(),
        cold: (0..swaps.len()).filter(|number| cold(*number)).count(),
        seconds,
        rate,
        pause_us: Spread::of(answers().flat_map(Answer::pauses)),
        handover_ms: Spread::of(answers().map(|answer| answer.handover_ms as f64)),
        gate_ms: gates(false),
        gate_cold_ms: gates(true),
        resident_mb,
        verdict,
        reasons,
    })
}

type Swaps = Vec<Vec<Answer>>;

/// All swaps, with seconds, messages a second, and the memory once every version had been there.
fn swap(
    options: &Options,
    versions: &[Version],
    fleet: &Fleet,
    eye: &Eye,
    output: &str,
    say: &dyn Fn(&str),
) -> Result<(Swaps, f64, f64, Vec<f64>)> {
    let came_out = || Ok::<i64, anyhow::Error>(eye.end_offsets(output)?.into_values().sum());
    let (began, before) = (Instant::now(), came_out()?);
    let (mut swaps, mut early) = (Vec::new(), Vec::new());
    for number in 0..options.swaps {
        let version = &versions[(number + 1) % versions.len()];
        let answers = fleet.swap(version).with_context(|| format!("swap {number}"))?;
        let before = &versions[number % versions.len()];
        // A version that was taken back by itself would be another run than those that are looked for.
        let followed = answers.iter().all(|one| one.from.digest == before.digest);
        ensure!(followed, "before swap {number} a version was taken back: {}", fleet.taken_back()?.join("; "));
        swaps.push(answers);
        if number + 1 == versions.len().min(options.swaps) {
            early = fleet.resident_mb();
        }
        if (number + 1) % 50 == 0 {
            say(&format!("{:>6.1} s  {} swaps", began.elapsed().as_secs_f64(), number + 1));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok((swaps, seconds, (came_out()? - before) as f64 / seconds, early))
}

/// The runs of each partition according to the answers. Each partition must be in exactly one answer of each swap.
fn promised(versions: &[Version], swaps: &[Vec<Answer>]) -> Result<Vec<Vec<Run>>> {
    let run = |version: &Version, first| Run { stamp: version.stamp().to_owned(), first };
    let mut runs = vec![vec![run(&versions[0], 0)]; PARTITIONS as usize];
    for (number, answers) in swaps.iter().enumerate() {
        let mut firsts = Offsets::new();
        for (partition, first) in answers.iter().map(Answer::firsts).collect::<Result<Vec<_>>>()?.into_iter().flatten()
        {
            ensure!(firsts.insert(partition, first).is_none(), "swap {number}: two processes answer for {partition}");
        }
        for (partition, runs) in (0..).zip(&mut runs) {
            let first =
                *firsts.get(&partition).with_context(|| format!("swap {number}: nothing of partition {partition}"))?;
            let last = runs.last().map_or(0, |run| run.first);
            ensure!(first >= last, "swap {number}: partition {partition} goes back from {last} to {first}");
            runs.push(run(&versions[(number + 1) % versions.len()], first));
        }
    }
    Ok(runs)
}

fn reasons(verdict: &Verdict) -> Vec<String> {
    let mut reasons = verdict.reasons();
    let (empty, all) = (verdict.empty_runs, verdict.empty_runs + verdict.runs);
    if empty as f64 > MOST_EMPTY * all as f64 {
        reasons.push(format!("{empty} of {all} runs had no message: a boundary proves nothing where nothing flows"));
    }
    reasons
}
