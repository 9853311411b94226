//! The handler seam on wasm.

use wasmill_core::{Batch, Emitted, Failure};
use wasmill_wasm::{CallError, Canceller, Instance, InstanceSpec, Plugin, StartError};

use crate::io::{Guest, Handler};

impl Handler for Plugin {
    fn digest(&self) -> &str {
        Plugin::digest(self)
    }

    fn start(&self, spec: &InstanceSpec) -> Result<Box<dyn Guest>, StartError> {
        Ok(Box::new(self.instantiate(spec)?))
    }

    fn as_plugin(&self) -> Option<&Plugin> {
        Some(self)
    }
}

impl Guest for Instance {
    fn handle(&mut self, source: u32, partition: i32, batch: &Batch) -> Result<u32, CallError> {
        Instance::handle(self, source, partition, batch)
    }

    fn emitted(&self) -> &Emitted {
        Instance::emitted(self)
    }

    fn failures(&self) -> &[Failure] {
        Instance::failures(self)
    }

    fn is_due_for_replacement(&self) -> bool {
        Instance::is_due_for_replacement(self)
    }

    fn memory_bytes(&self) -> u64 {
        Instance::memory_bytes(self)
    }

    fn dropped_log_lines(&self) -> u64 {
        Instance::dropped_log_lines(self)
    }

    fn canceller(&self) -> Option<Canceller> {
        Some(Instance::canceller(self))
    }
}
