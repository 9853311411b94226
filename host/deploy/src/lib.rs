//! Handlers over time: which version of a handler a pipeline runs, how it gets there, and how it goes back.
//!
//! A handler is fetched and compiled ([`handler`], [`oci`]), tested ([`handler_tests`], [`replay`]) and put in force while
//! messages flow ([`swap`]), for one process or for its whole group ([`group`]). What runs it is `wasmill-pipeline`. The
//! nouns and the modules that own them are listed in this folder's README.md.
#![deny(unsafe_code)]

pub mod counters;
pub mod explain;
pub mod group;
pub mod handler;
pub mod handler_tests;
pub mod messages;
pub mod oci;
pub mod replay;
pub mod swap;

pub use explain::explain;
