//! Members, queues and commits on a real Apache Kafka.
#![allow(missing_docs)]

mod cases;
mod group;
mod stress;
mod support;
