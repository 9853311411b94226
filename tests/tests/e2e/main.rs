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
mod hardened;
mod harness;
mod hot_swap;
mod kills;
mod lag;
mod ledger;
mod novice;
mod operator;
mod orders;
mod out_of_range;
mod parts;
mod plain;
mod projects;
mod reach;
mod recycling;
mod registry;
mod reload;
mod rights;
mod rollout;
mod sandbox;
mod seek;
mod spine;
mod starting;
mod swap;
mod swaps;
mod taken_up;
mod tokens;
mod tools;
mod topics;
mod workbench;
mod zombie;
