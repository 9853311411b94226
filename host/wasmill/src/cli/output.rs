//! What commands print.

use std::io::Write as _;

use crate::failure::{Exit, Failure};

/// Prints what was asked for; a reader that went away is no failure.
pub fn print(text: &str) -> Result<Exit, Failure> {
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(Exit::Done)
}

/// Tells a failure on standard error, in the form of a compiler's.
pub fn print_failure(failure: &Failure) {
    let red = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
    // A closed standard error is no reason to panic.
    let _ = writeln!(anstream::stderr(), "{red}error{red:#}: {failure}");
}
