//! End to end on a real Apache Kafka. One binary: the broker starts once.

#![deny(unsafe_code)]

mod admin;
mod clients;
mod commits;
mod compiling;
mod endings;
mod failures;
mod harness;
mod kills;
mod ledger;
mod operator;
mod out_of_range;
mod spine;
