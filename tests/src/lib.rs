//! What the end-to-end tests stand on.
//!
//! - **broker**: a real Apache Kafka of the test's own, which can be stopped, killed and started again.
//! - **cluster**: two or three of them, of which one is killed while the others take over.
//! - **company**: a broker as companies have them: ACLs, passwords, tokens, TLS; `certificates` makes what TLS needs,
//!   `rights` grants and denies.
//! - **eye**: the second opinion on topics, messages and offsets, through Kafka's own client. What wasmill says of its
//!   own commits proves nothing.
//! - **case**: topics and a pipeline for one test.
//! - **mill**: a wasmill process under test.
//! - **versions**: a handler under as many digests as a test wants.
//! - **cost**: what kills cost: messages lost and handled again, by kill.
//! - **scratch**: a folder that is kept when the test fails.
//! - **walk**, **reader**, **terminal**: a README that is walked through, command by command.
//! - **registry**: a registry of the test's own.
//! - **tool**: Kafka's own command for groups.
//! - **ledger**: numbered messages through kills and outages, and what must hold of the topics afterwards.
//! - **versions**: one handler under many digests.
//! - **swaps**: a thousand swaps under load, and what they cost as the broker sees it.
//! - **bench**: wasmill beside a native loop, and what is fair about it.
//!
//! Whatever is started here ends with the process that started it, however that one ends.

#![deny(unsafe_code)]

pub mod bench;
pub mod broker;
pub mod case;
pub mod certificates;
pub mod cluster;
pub mod company;
pub mod cost;
pub mod eye;
pub mod ledger;
pub mod message;
pub mod mill;
pub mod ports;
pub mod reader;
pub mod registry;
pub mod rights;
pub mod scratch;
pub mod shared;
pub mod signal;
pub mod swaps;
pub mod terminal;
pub mod tool;
pub mod versions;
pub mod walk;
