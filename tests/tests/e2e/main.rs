//! End to end on a real Apache Kafka. One binary: the broker starts once.

#![deny(unsafe_code)]

mod admin;
mod article;
mod bad_moments;
mod certificates;
mod clients;
mod cold;
mod commits;
mod company;
mod compiling;
mod diff;
mod endings;
mod failures;
mod group_swap;
mod harness;
mod hot_swap;
mod kills;
mod lag;
mod ledger;
mod novice;
mod operator;
mod orders;
mod out_of_range;
mod outputs;
mod parts;
mod plain;
mod projects;
mod reach;
mod recycling;
mod registry;
mod reload;
mod rights;
mod rollout;
mod seek;
mod spine;
mod swap;
mod swaps;
mod tokens;
mod topics;
mod workbench;
mod zombie;
