//! The data plane: a pipeline at work.
//!
//! Control: one loop, which hears of events and acts ([`Pipeline::run`]). Data: lanes, each with its thread ([`lane`],
//! [`version`]). Between them stands what both may look at ([`shared`], [`partition`]). Which version lanes run is decided
//! elsewhere; [`versions`] is the seam. The nouns and the modules that own them are listed in this folder's README.md.
#![deny(unsafe_code)]

pub mod at_least_once;
mod bench;
mod clock;
pub mod conditions;
pub mod counters;
pub mod dead_letter;
pub mod delivery;
pub mod deployed;
mod dirty;
pub mod failures;
pub mod flight;
mod guest;
pub mod handle;
pub mod handler_spec;
pub mod holdings;
pub mod instances;
pub mod io;
pub mod kafka;
pub mod lane;
pub mod lanes;
pub mod member;
mod mutant;
pub mod observe;
mod operate;
pub mod partition;
pub mod pipeline;
mod publish;
pub mod publisher;
mod recover;
pub mod seek;
mod shadow;
pub mod shared;
mod slot;
pub mod status;
#[cfg(test)]
mod tests;
mod unconfirmed;
pub mod version;
pub mod versions;
mod worker;

pub use handle::Handle;
pub use pipeline::{End, Parts, Pipeline};
