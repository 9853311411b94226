//! Members, queues and commits on a real Apache Kafka.
#![allow(missing_docs)]

mod cases;
mod group;
mod outage;
mod stress;
mod support;
