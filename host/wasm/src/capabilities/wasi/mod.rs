//! The part of WASI 0.2 that toolchains link whether a handler uses it or not. It gives a handler its standard output as
//! log lines, and a clock and chance where its pipeline grants them; no environment, no arguments, no files, no network.
//! Whatever waits ends with the call's deadline.

use wasmtime::component::Linker;

use crate::grants::Capability;
use crate::state::State;

mod cli;
mod clocks;
mod filesystem;
mod io;
mod random;

pub(crate) use cli::{Lines, Stdio};
pub(crate) use io::Pollables;

/// Every interface that is accepted. Any 0.2.x of them is, as far as its functions are known here.
pub(crate) const INTERFACES: &[&str] = &[
    "wasi:cli/environment@0.2.12",
    "wasi:cli/exit@0.2.12",
    "wasi:cli/stdin@0.2.12",
    "wasi:cli/stdout@0.2.12",
    "wasi:cli/stderr@0.2.12",
    "wasi:cli/terminal-input@0.2.12",
    "wasi:cli/terminal-output@0.2.12",
    "wasi:cli/terminal-stdin@0.2.12",
    "wasi:cli/terminal-stdout@0.2.12",
    "wasi:cli/terminal-stderr@0.2.12",
    "wasi:clocks/monotonic-clock@0.2.12",
    "wasi:clocks/wall-clock@0.2.12",
    "wasi:filesystem/types@0.2.12",
    "wasi:filesystem/preopens@0.2.12",
    "wasi:io/error@0.2.12",
    "wasi:io/poll@0.2.12",
    "wasi:io/streams@0.2.12",
    "wasi:random/random@0.2.12",
    "wasi:random/insecure@0.2.12",
    "wasi:random/insecure-seed@0.2.12",
];

/// What an interface gives that a pipeline must grant; the others give nothing that a handler could not do by itself.
/// `wasi:io/poll` is none of them: without a clock there is nothing in it to wait for.
pub(crate) fn capability(interface: &str) -> Option<Capability> {
    if interface.starts_with("wasi:clocks/") {
        Some(Capability::Clock)
    } else if interface.starts_with("wasi:random/") {
        Some(Capability::Random)
    } else {
        None
    }
}

/// Adds every interface to the linker.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    io::add_to_linker(linker)?;
    cli::add_to_linker(linker)?;
    clocks::add_to_linker(linker)?;
    random::add_to_linker(linker)?;
    filesystem::add_to_linker(linker)
}

/// What the guests' WASI needs between calls.
pub(crate) struct Wasi {
    pub(crate) stdio: Stdio,
    pub(crate) pollables: Pollables,
    /// Where the monotonic clock reads 0.
    pub(crate) began: std::time::Instant,
}

impl Wasi {
    pub(crate) fn new() -> Self {
        Self { stdio: Stdio::default(), pollables: Pollables::default(), began: std::time::Instant::now() }
    }
}
