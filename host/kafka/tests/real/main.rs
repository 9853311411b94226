//! Members, queues and commits on a real Apache Kafka.
#![allow(missing_docs)]

mod cases;
mod group;
mod leaving;
mod outage;
mod stress;
mod support;
