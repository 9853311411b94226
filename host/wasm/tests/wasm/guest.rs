//! Guests made by hand, and what they are run with.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use wasmill_core::{Batch, Grants};
use wasmill_wasm::{Engine, EngineOptions, Instance, InstanceSpec, Limits, LogLevel, LogSink, OutputNames, Plugin};

/// One engine for all tests, as in the process.
pub static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&EngineOptions::default()).unwrap());

/// The guest of script.wat.
pub static SCRIPT: LazyLock<Plugin> =
    LazyLock::new(|| ENGINE.load(&module("batches", include_str!("script.wat"))).unwrap());

/// A core module with the type of one of the contract's worlds embedded, as wit-bindgen leaves it.
pub fn module(world: &str, wat: &str) -> Vec<u8> {
    of_wit(include_str!("../../../../wit/handler.wit"), world, wat)
}

/// The same for another contract.
pub fn of_wit(wit: &str, world: &str, wat: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("handler.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = wat::parse_str(wat).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    module
}

/// Log lines, kept.
#[derive(Default)]
pub struct Lines(pub Mutex<Vec<(LogLevel, String)>>);

impl Lines {
    pub fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }
}

impl LogSink for Lines {
    fn write(&self, level: LogLevel, text: &str) {
        self.0.lock().unwrap().push((level, text.to_owned()));
    }
}

/// Small limits, so that tests reach them soon.
pub fn limits() -> Limits {
    Limits {
        memory_bytes: 8 << 20,
        time_per_message: Duration::from_secs(20),
        time_cap: Duration::from_secs(20),
        init_time: Duration::from_secs(20),
        output_messages: 100,
        output_bytes: 10_000,
        log_line_bytes: 100,
        log_lines_per_second: 10,
    }
}

pub fn spec(limits: Limits) -> (InstanceSpec, Arc<Lines>) {
    let lines = Arc::new(Lines::default());
    let spec = InstanceSpec {
        pipeline: "pipeline".to_owned(),
        group: "group".to_owned(),
        config: vec![("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())],
        grants: Grants::NONE,
        limits,
        outputs: Arc::new(OutputNames { default: Some("out".to_owned()), granted: vec!["eu".to_owned()] }),
        sources: Arc::new(vec!["in".to_owned(), "other".to_owned()]),
        log: lines.clone(),
    };
    (spec, lines)
}

/// The script guest, started.
pub fn script(limits: Limits) -> (Instance, Arc<Lines>) {
    let (spec, lines) = spec(limits);
    (SCRIPT.instantiate(&spec).unwrap(), lines)
}

/// A batch of messages that each have such a value and nothing else.
pub fn batch(values: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::new();
    for (offset, value) in values.iter().enumerate() {
        batch.push(None, Some(value), offset as i64, Some(1), 1).unwrap();
    }
    batch.seal();
    batch
}

/// A script: an operation with its operands, then bytes. Whole words, so that the next script is aligned too.
pub fn op(words: &[u32], bytes: &[u8]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).chain(bytes.iter().copied()).collect()
}

/// A script that emits.
pub fn emit(stride: u32, count: u32, table: &[u32], data: &[u8]) -> Vec<u8> {
    let mut words = vec![0, stride, count, table.len() as u32, data.len() as u32];
    words.extend(table);
    op(&words, data)
}
