//! What WASI keeps in an instance, and the view that its functions have of the store's data.

use std::time::Instant;

use super::pollables::Pollables;
use super::stdio::Stdio;
use crate::capabilities::log::LogGate;
use crate::deadline::Watch;

/// What the guest's WASI keeps between calls.
pub(crate) struct Wasi {
    pub(super) stdio: Stdio,
    pub(super) pollables: Pollables,
    /// Where the monotonic clock reads 0.
    pub(super) began: Instant,
}

impl Wasi {
    pub(crate) fn new() -> Self {
        Self { stdio: Stdio::default(), pollables: Pollables::default(), began: Instant::now() }
    }
}

/// What the interfaces work with: their own context, the log that takes what is written, and the clock of the call that
/// ends whatever waits.
pub(crate) struct WasiView<'a> {
    pub(crate) wasi: &'a mut Wasi,
    pub(crate) log: &'a mut LogGate,
    pub(crate) watch: &'a mut Watch,
}

impl WasiView<'_> {
    /// Writes the lines that were begun and not ended: nothing more will come for a while.
    pub(crate) fn write_rest(&mut self) {
        for (level, line) in self.wasi.stdio.rest(self.log.line_bytes) {
            self.log.write(level, &line);
        }
    }
}
