//! The data plane: a pipeline at work.
//!
//! Control: one loop, which hears of events and acts ([`Pipeline::run`]). Data: lanes, each with its thread ([`lane`],
//! [`version`]). Between them stands what both may look at ([`shared`], [`partition`]). Which version lanes run is decided
//! elsewhere; [`versions`] is the seam. The nouns and the modules that own them are listed in this folder's README.md.
#![deny(unsafe_code)]

pub mod committer;
pub mod counters;
pub mod dead_letter;
pub mod deployed;
pub mod flight;
mod gather;
pub mod handle;
pub mod handler_spec;
mod handover;
pub mod instances;
pub mod lane;
pub mod member;
mod mutant;
pub mod partition;
pub mod pipeline;
mod publish;
pub mod publisher;
mod recover;
pub mod seek;
mod shadow;
pub mod shared;
pub mod status;
pub mod succession;
mod turn;
pub mod version;
pub mod versions;

#[cfg(test)]
mod tests;

pub use handle::Handle;
pub use pipeline::{End, Parts, Pipeline};
