//! The data plane on fakes: no broker, no wasm and no sleep. How a test is written is in this crate's README.md.

mod rig;

mod assign;
mod commit;
mod gather;
mod judge;
mod operate;
mod pressure;
mod recover;
mod refusals;
mod rewind;
mod seek;
mod settle;
mod sources;
mod swap;
mod threads;
