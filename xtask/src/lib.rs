//! The project's chores.
//!
//! - **setup**: what a new machine lacks: wasm targets, a real Apache Kafka, compiled handlers. Idempotent.
//! - **test**: set-up, the binary, every test of the workspace.
//! - **languages**: the tools of the languages that handlers are written in, and their tests.
//! - **tidy**: the rules of ARCHITECTURE.md that a compiler does not check.
//! - **ledger**, **mutants**: the proof that nothing is lost, and that the proof can fail.
//! - **registry**: a registry for handlers, from Debian's archive.
//! - **bench**: wasmill beside a native loop on librdkafka.
//!
//! It is a library, too, so that the end-to-end tests find Kafka and the handlers where the set-up put them.

#![deny(unsafe_code)]

pub mod bench;
pub mod guests;
pub mod kafka;
pub mod languages;
pub mod ledger;
pub mod process;
pub mod registry;
pub mod setup;
pub mod test;
pub mod tidy;
