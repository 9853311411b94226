//! The hidden command that compiles one handler, for a process that must not do it itself.

use std::path::PathBuf;
use std::time::Duration;

use wasmill_deploy::handler::compiler::{Bounds, compile_here};

use crate::failure::{Exit, Failure};

/// Compile the handler on standard input into the cache
#[derive(Debug, clap::Args)]
pub struct CompileHandler {
    /// The folder of compiled handlers
    #[arg(long)]
    cache: PathBuf,
    /// The process that waits for it
    #[arg(long)]
    parent: i32,
    /// Bytes of memory that it may take
    #[arg(long)]
    memory: u64,
    /// Seconds that it may take
    #[arg(long)]
    time: u64,
    /// Bytes that an instance of it may take
    #[arg(long)]
    instance_memory: u64,
    /// Milliseconds that its instantiation may take
    #[arg(long)]
    init_time: u64,
}

impl CompileHandler {
    /// Compiles. Exit 3: the handler is none.
    pub fn run(self) -> Result<Exit, Failure> {
        let (instance_memory, init_time) = (self.instance_memory, Duration::from_millis(self.init_time));
        let bounds = Bounds { memory: self.memory, time: self.time, instance_memory, init_time };
        let compiled = compile_here(self.cache, self.parent, &bounds)?;
        Ok(if compiled { Exit::Done } else { Exit::Start })
    }
}
