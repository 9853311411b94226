//! What a call costs: nanoseconds per message of each plugin given, for batches of 128 messages of 100 bytes.
//!
//! ```text
//! cargo run --release -p wasmill-wasm --example call_cost -- ack.wasm upper.wasm
//! ```
//! `FILE.wasm=COMMAND` gives every message a header `do` with that command, as the reference handlers take them.
//! The best of many runs counts: it is the cost, what is above it is the machine.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmill_core::{Batch, Grants};
use wasmill_wasm::{Engine, EngineOptions, Instance, InstanceSpec, Limits, LogLevel, LogSink, OutputNames};

const MESSAGES: usize = 128;
const VALUE_BYTES: usize = 100;
const RUNS: usize = 40;
const RUN: Duration = Duration::from_millis(50);

struct Printed;

impl LogSink for Printed {
    fn write(&self, level: LogLevel, text: &str) {
        println!("{level:?}: {text}");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::new(&EngineOptions::default())?;
    for argument in std::env::args().skip(1) {
        let (path, command) = argument.split_once('=').map_or((argument.as_str(), None), |(p, c)| (p, Some(c)));
        let batch = batch(command)?;
        let bytes = std::fs::read(path)?;
        let began = Instant::now();
        let plugin = engine.load(&bytes)?;
        let loaded = began.elapsed();
        let began = Instant::now();
        let mut instance = plugin.instantiate(&spec())?;
        let started = began.elapsed();
        let cost = cost(&mut instance, &batch)?;
        let outputs = instance.emitted().rows.len();
        println!(
            "{cost:7.1} ns  {argument}: {outputs} outputs a call, loaded in {loaded:.0?}, started in {started:.0?}, {} KiB",
            instance.memory_bytes() >> 10
        );
    }
    Ok(())
}

/// Nanoseconds per message, in the best run.
fn cost(instance: &mut Instance, batch: &Batch) -> Result<f64, Box<dyn std::error::Error>> {
    let mut best = f64::MAX;
    for _ in 0..RUNS {
        let began = Instant::now();
        let mut calls = 0_u32;
        while began.elapsed() < RUN {
            for _ in 0..16 {
                instance.handle(0, 0, batch)?;
            }
            calls += 16;
        }
        best = best.min(began.elapsed().as_nanos() as f64 / f64::from(calls) / MESSAGES as f64);
    }
    Ok(best)
}

fn batch(command: Option<&str>) -> Result<Batch, wasmill_core::BatchFull> {
    let mut batch = Batch::new();
    for offset in 0..MESSAGES {
        let key = format!("k{offset:08}");
        let value: Vec<u8> =
            (0..VALUE_BYTES).map(|at| b"abcdefghijklmnopqrstuvwxyzABCDEF"[(at * 7 + offset) % 32]).collect();
        batch.push(Some(key.as_bytes()), Some(&value), offset as i64, Some(1_700_000_000_000), 1)?;
        if let Some(command) = command {
            batch.push_header(b"do", Some(command.as_bytes()))?;
        }
    }
    batch.seal();
    Ok(batch)
}

fn spec() -> InstanceSpec {
    InstanceSpec {
        pipeline: "cost".to_owned(),
        group: "cost".to_owned(),
        config: Vec::new(),
        grants: Grants::ALL,
        limits: Limits::default(),
        outputs: Arc::new(OutputNames { default: Some("out".to_owned()), granted: Vec::new() }),
        sources: Arc::new(vec!["in".to_owned()]),
        log: Arc::new(Printed),
    }
}
