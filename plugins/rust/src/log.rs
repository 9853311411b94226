//! Log lines. They appear in the host's log with the pipeline, lane and plugin they came from; the host cuts, escapes
//! and counts them, and drops what is past the pipeline's limit.
//!
//! ```
//! use wasmill_handler::prelude::*;
//!
//! fn noisy(message: &Message, _out: &mut Outputs) -> Verdict {
//!     log::info!("{}/{}/{}", message.topic(), message.partition(), message.offset());
//!     ack()
//! }
//! # let _ = noisy;
//! ```

use std::fmt::Arguments;

#[doc(inline)]
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace, __log_warn as warn,
};

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// The finest grain.
    Trace,
    /// For whoever looks for a mistake.
    Debug,
    /// Worth reading in normal operation.
    Info,
    /// Something is odd, but handled.
    Warn,
    /// Something went wrong.
    Error,
}

/// Writes a line. The macros of this module are shorter.
pub fn write(level: Level, text: &str) {
    crate::host::log(level, text);
}

#[doc(hidden)]
pub fn write_format(level: Level, text: Arguments<'_>) {
    match text.as_str() {
        Some(text) => write(level, text),
        None => write(level, &text.to_string()),
    }
}

/// Writes a line at level trace, as `format!` would.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($text:tt)+) => { $crate::log::write_format($crate::log::Level::Trace, ::core::format_args!($($text)+)) };
}
/// Writes a line at level debug, as `format!` would.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($text:tt)+) => { $crate::log::write_format($crate::log::Level::Debug, ::core::format_args!($($text)+)) };
}
/// Writes a line at level info, as `format!` would.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($text:tt)+) => { $crate::log::write_format($crate::log::Level::Info, ::core::format_args!($($text)+)) };
}
/// Writes a line at level warn, as `format!` would.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($text:tt)+) => { $crate::log::write_format($crate::log::Level::Warn, ::core::format_args!($($text)+)) };
}
/// Writes a line at level error, as `format!` would.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($text:tt)+) => { $crate::log::write_format($crate::log::Level::Error, ::core::format_args!($($text)+)) };
}
