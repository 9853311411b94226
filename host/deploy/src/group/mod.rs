//! A swap of a whole group, with Kafka as the coordinator: the processes of a group tell each other through a compacted
//! topic of one partition what is asked for, who is ready and what was decided.
//!
//! [`record`] is what stands in the topic, [`accord`] what follows from it, [`shelf`] the components in it.
//! [`control::Control`] is a process's view of all that, kept up to date by a thread that reads. [`follow`] acts on what is
//! agreed on, [`lead`] is who asks for a swap and gives the answer.

pub mod accord;
pub mod control;
pub mod follow;
pub mod lead;
pub mod record;
pub mod runner;
pub mod shelf;
