//! Who does it: an instance of a handler, or Rust functions without a sandbox.

use std::hint::black_box;
use std::sync::Arc;

use serde_json::Value;
use wasmill_core::{Batch, Emitted, EmittedRow, Grants, Span};
use wasmill_wasm::{Instance, InstanceSpec, Limits, LogLevel, LogSink, OutputNames, Plugin};

use crate::Failure;
use crate::work::{Command, MESSAGES, Task};

/// Does a task again and again.
pub trait Worker {
    /// Hands the task's batch over once.
    fn call(&mut self, task: &Task) -> Result<(), Failure>;
    /// What came of the last call for a command.
    fn emitted(&self, command: Command) -> &Emitted;
}

/// A handler, with an instance for each command: the command is a setting, so that no header is looked for.
pub struct Guest {
    plugin: Plugin,
    instances: Vec<Instance>,
    /// Instances that were replaced because their memory had grown, as the host does it.
    pub replaced: usize,
}

impl Guest {
    /// Starts the instances.
    pub fn start(plugin: Plugin) -> Result<Self, Failure> {
        let start = |command: &Command| Ok(plugin.instantiate(&spec(*command))?);
        let instances = Command::ALL.iter().map(start).collect::<Result<_, Failure>>()?;
        Ok(Self { plugin, instances, replaced: 0 })
    }

    /// Starts one more instance, which is dropped.
    pub fn start_another(&self) -> Result<(), Failure> {
        drop(self.plugin.instantiate(&spec(Command::Drop))?);
        Ok(())
    }

    /// Bytes of linear memory, of the instance that has most.
    pub fn memory_bytes(&self) -> u64 {
        self.instances.iter().map(Instance::memory_bytes).max().unwrap_or_default()
    }
}

impl Worker for Guest {
    fn call(&mut self, task: &Task) -> Result<(), Failure> {
        let instance = &mut self.instances[task.command as usize];
        if instance.is_due_for_replacement() {
            *instance = self.plugin.instantiate(&spec(task.command))?;
            self.replaced += 1;
        }
        let reached = instance.handle(0, 0, &task.batch)? as usize;
        if reached != MESSAGES || !instance.failures().is_empty() {
            let first = instance.failures().first();
            return Err(format!("{reached} of {MESSAGES} messages were reached; failures: {first:?}").into());
        }
        Ok(())
    }

    fn emitted(&self, command: Command) -> &Emitted {
        self.instances[command as usize].emitted()
    }
}

/// The same in Rust functions of this program.
#[derive(Default)]
pub struct Native(Emitted);

impl Worker for Native {
    fn call(&mut self, task: &Task) -> Result<(), Failure> {
        self.0.clear();
        let handle = match task.command {
            Command::Drop => drop_each,
            Command::Upper => upper_each,
            Command::Json => json_each,
        };
        handle(black_box(&task.batch), &mut self.0)
    }

    fn emitted(&self, _: Command) -> &Emitted {
        &self.0
    }
}

fn drop_each(batch: &Batch, _: &mut Emitted) -> Result<(), Failure> {
    for message in batch.messages() {
        black_box(message);
    }
    Ok(())
}

fn upper_each(batch: &Batch, out: &mut Emitted) -> Result<(), Failure> {
    for (index, message) in batch.messages().enumerate() {
        let key = push(batch, out, message.key().unwrap_or_default());
        let at = out.data.len();
        let value = push(batch, out, message.value().unwrap_or_default());
        out.data[at..].make_ascii_uppercase();
        out.rows.push(row(index, key, value));
    }
    Ok(())
}

fn json_each(batch: &Batch, out: &mut Emitted) -> Result<(), Failure> {
    for (index, message) in batch.messages().enumerate() {
        let document: Value = serde_json::from_slice(message.value().unwrap_or_default())?;
        let name = document.get("name").and_then(Value::as_str).ok_or("no name")?;
        let value = push(batch, out, name.as_bytes());
        out.rows.push(row(index, Span::NONE, value));
    }
    Ok(())
}

fn push(batch: &Batch, out: &mut Emitted, bytes: &[u8]) -> Span {
    let start = (batch.data().len() + out.data.len()) as u32;
    out.data.extend_from_slice(bytes);
    Span { start, len: bytes.len() as u32 }
}

fn row(message: usize, key: Span, value: Span) -> EmittedRow {
    let message = message as u32;
    EmittedRow { message, topic: 0, key, value, first_header: 0, headers: 0, timestamp: None, partition: None }
}

struct Printed;

impl LogSink for Printed {
    fn write(&self, level: LogLevel, text: &str) {
        eprintln!("{level:?}: {text}");
    }
}

fn spec(command: Command) -> InstanceSpec {
    InstanceSpec {
        pipeline: "bench".to_owned(),
        group: "bench".to_owned(),
        config: vec![("do".to_owned(), command.name().to_owned())],
        grants: Grants::ALL,
        limits: Limits::default(),
        outputs: Arc::new(OutputNames { default: Some("out".to_owned()), granted: Vec::new() }),
        sources: Arc::new(vec!["in".to_owned()]),
        log: Arc::new(Printed),
    }
}
