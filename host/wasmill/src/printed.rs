//! Standard output, and whether what was written to it arrived: a disk may be full.

use std::io::{self, Write as _};
use std::sync::OnceLock;

use crate::failure::Failure;

/// The first write to standard output that failed, in a process that does nothing but answer.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Notes a write that failed, and says whether it makes sense to write on. A reader that went away has read what it
/// wanted, which is no failure; a full disk is one, and the process ends with it ([`all_written`]).
pub fn wrote(result: io::Result<()>) -> bool {
    let Err(error) = result else { return true };
    if error.kind() != io::ErrorKind::BrokenPipe {
        let _ = UNWRITTEN.set(error);
    }
    false
}

/// Writes to standard output, colours only where they are seen. What is not written ends the process with a failure.
pub fn put(text: &str) {
    let mut out = anstream::stdout();
    wrote(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Whether all that was written has arrived.
///
/// # Errors
/// What kept it from that, a reader that went away apart.
pub fn all_written() -> Result<(), Failure> {
    // The last line may have no end, and is in a buffer then.
    wrote(io::stdout().flush());
    match UNWRITTEN.get() {
        None => Ok(()),
        Some(error) => Err(anyhow::anyhow!(
            "cannot write to standard output: {error}; hint: what was asked for was done, and its answer is incomplete"
        )
        .into()),
    }
}
