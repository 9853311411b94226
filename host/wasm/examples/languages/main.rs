//! What a message costs in handlers of several languages, as JSON: `cargo xtask bench languages` builds the reference
//! handlers, runs this and makes tables of it.
//!
//! ```text
//! cargo run --release -p wasmill-wasm --example languages -- ROUNDS go=handler.wasm zig=another.wasm
//! ```
//! **The unit** is what serde_json takes to parse a document of about 200 bytes in this program: a machine's speed. Every
//! figure is taken in *slices* of some milliseconds, each with a slice of the unit before it, and counts as the median of
//! its slices beside the median of the unit's. So a slow spell hits both.
//!
//! **The clock is the thread's CPU time**: what others do on the machine counts only as far as it makes this thread slower.
//! Compilation alone uses every core and is measured in wall time, once, in a cache that was empty before.
//!
//! **Counts.** Every call must reach every message and fail none, and the outputs of all calls are counted; after each
//! round the outputs of one more call are compared byte by byte.
#![allow(clippy::print_stdout)]

mod work;
mod worker;

use std::hint::black_box;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use serde_json::{Value, json};
use wasmill_wasm::{Engine, EngineOptions, Plugin};

use work::{MESSAGES, Task, documents};
use worker::{Guest, Native, Worker};

/// Whatever went wrong.
pub type Failure = Box<dyn std::error::Error>;

/// Slices of a figure in a round.
const SLICES: usize = 15;
const SLICE: Duration = Duration::from_millis(4);
/// Documents of the unit's slice, in rounds through all of them: about a millisecond.
const UNIT_PASSES: usize = 8;
/// Instances started in a round.
const STARTS: usize = 3;

/// A handler and what was seen of it.
struct Subject {
    name: String,
    bytes: usize,
    compile_ms: f64,
    cached_ms: f64,
    start_ms: Vec<f64>,
    guest: Guest,
    figures: Figures,
}

/// For each task a pair of nanoseconds, the message's and the unit's, a round.
type Figures = Vec<Vec<[f64; 2]>>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().ok_or("how many rounds?")?.parse()?;
    let mut subjects = Vec::new();
    for argument in arguments {
        let (name, path) = argument.split_once('=').ok_or("a handler is NAME=FILE.wasm")?;
        eprintln!("compile {name}");
        subjects.push(Subject::compile(name, path).map_err(|error| format!("{name}: {error}"))?);
    }
    let (tasks, unit) = (Task::all()?, Unit(documents()));
    let (mut native, mut beside) = (Native::default(), vec![Vec::new(); tasks.len()]);
    for round in 0..rounds {
        eprintln!("round {}", round + 1);
        measure(&mut native, &tasks, &unit, &mut beside)?;
        // Each round begins with another one, so that none is always first.
        for turn in 0..subjects.len() {
            let count = subjects.len();
            let subject = &mut subjects[(turn + round) % count];
            subject.round(&tasks, &unit).map_err(|error| format!("{}: {error}", subject.name))?;
        }
    }
    let native = json!({ "name": "native", "figures": figures(&tasks, &beside) });
    let subjects: Vec<Value> = subjects.iter().map(|subject| subject.report(&tasks)).collect();
    println!("{:#}", json!({ "batch": MESSAGES, "rounds": rounds, "native": native, "handlers": subjects }));
    Ok(())
}

impl Subject {
    fn compile(name: &str, path: &str) -> Result<Self, Failure> {
        let bytes = std::fs::read(path)?;
        let cache = tempfile::tempdir()?;
        let load = || -> Result<(f64, Plugin), Failure> {
            let options = EngineOptions { cache_directory: Some(cache.path().to_owned()), ..Default::default() };
            let engine = Engine::new(&options)?;
            let began = Instant::now();
            let plugin = engine.load(&bytes)?;
            Ok((began.elapsed().as_secs_f64() * 1e3, plugin))
        };
        let (compile_ms, _) = load()?;
        let (cached_ms, plugin) = load()?;
        let figures = vec![Vec::new(); Task::all()?.len()];
        let guest = Guest::start(plugin)?;
        let name = name.to_owned();
        Ok(Self { name, bytes: bytes.len(), compile_ms, cached_ms, start_ms: Vec::new(), guest, figures })
    }

    fn round(&mut self, tasks: &[Task], unit: &Unit) -> Result<(), Failure> {
        for _ in 0..STARTS {
            let began = ThreadTime::now();
            self.guest.start_another()?;
            self.start_ms.push(began.elapsed().as_secs_f64() * 1e3);
        }
        measure(&mut self.guest, tasks, unit, &mut self.figures)
    }

    fn report(&self, tasks: &[Task]) -> Value {
        json!({
            "name": self.name,
            "component_bytes": self.bytes,
            "compile_ms": self.compile_ms,
            "cached_ms": self.cached_ms,
            "start_ms": self.start_ms,
            "memory_bytes": self.guest.memory_bytes(),
            "replaced": self.guest.replaced,
            "figures": figures(tasks, &self.figures),
        })
    }
}

/// One round of every task.
fn measure(worker: &mut dyn Worker, tasks: &[Task], unit: &Unit, figures: &mut Figures) -> Result<(), Failure> {
    for (task, figures) in tasks.iter().zip(figures) {
        let what = |error: Failure| format!("{} of {} B: {error}", task.command.name(), task.value_bytes);
        figures.push(figure(worker, task, unit).map_err(what)?);
        worker.call(task).map_err(what)?;
        task.check(worker.emitted(task.command)).map_err(|wrong| what(wrong.into()))?;
    }
    Ok(())
}

fn figure(worker: &mut dyn Worker, task: &Task, unit: &Unit) -> Result<[f64; 2], Failure> {
    let (mut outputs, mut calls) = (0, 0);
    let mut call = |calls: &mut usize| -> Result<(), Failure> {
        worker.call(task)?;
        outputs += worker.emitted(task.command).rows.len();
        *calls += 1;
        Ok(())
    };
    // How many calls fill a slice; this also warms what was cold.
    let began = ThreadTime::now();
    while began.elapsed() < SLICE {
        call(&mut calls)?;
    }
    let slice = calls;
    let (mut own, mut units) = (Vec::new(), Vec::new());
    for _ in 0..SLICES {
        units.push(unit.nanos()?);
        let began = ThreadTime::now();
        for _ in 0..slice {
            call(&mut calls)?;
        }
        own.push(began.elapsed().as_secs_f64() * 1e9 / (slice * MESSAGES) as f64);
    }
    if outputs != calls * task.outputs() {
        return Err(format!("{outputs} outputs of {calls} calls, {} a call must be", task.outputs()).into());
    }
    Ok([median(own), median(units)])
}

/// The yardstick, and what it parses.
struct Unit(Vec<Vec<u8>>);

impl Unit {
    /// Of one document.
    fn nanos(&self) -> Result<f64, Failure> {
        let began = ThreadTime::now();
        for _ in 0..UNIT_PASSES {
            for document in &self.0 {
                black_box(serde_json::from_slice::<Value>(black_box(document))?);
            }
        }
        Ok(began.elapsed().as_secs_f64() * 1e9 / (UNIT_PASSES * self.0.len()) as f64)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn figures(tasks: &[Task], figures: &Figures) -> Vec<Value> {
    let one = |(task, rounds): (&Task, &Vec<[f64; 2]>)| {
        let column = |at: usize| rounds.iter().map(|pair| pair[at]).collect::<Vec<_>>();
        json!({
            "command": task.command.name(),
            "value_bytes": task.value_bytes,
            "nanos": column(0),
            "unit_nanos": column(1),
        })
    };
    tasks.iter().zip(figures).map(one).collect()
}
