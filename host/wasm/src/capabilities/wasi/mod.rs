//! The part of WASI 0.2 that toolchains link whether a handler uses it or not. It gives a handler its standard output as
//! log lines, and a clock and random bytes where its pipeline grants them; no environment, no arguments, no files, no
//! network. Whatever waits ends with the call's deadline.

use wasmill_core::Grant;
use wasmtime::component::Linker;

mod cli;
mod clocks;
mod context;
mod filesystem;
mod io;
mod pollables;
mod random;
mod stdio;

pub(crate) use context::{Wasi, WasiView};

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
pub(crate) fn grant(interface: &str) -> Option<Grant> {
    if interface.starts_with("wasi:clocks/") {
        Some(Grant::Clock)
    } else if interface.starts_with("wasi:random/") {
        Some(Grant::Random)
    } else {
        None
    }
}

/// Adds every interface to the linker. `view` finds in a store's data what they need.
pub(crate) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    view: impl Fn(&mut T) -> WasiView<'_> + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    io::add_to_linker(linker, view)?;
    cli::add_to_linker(linker)?;
    clocks::add_to_linker(linker, view)?;
    random::add_to_linker(linker)?;
    filesystem::add_to_linker(linker)
}
