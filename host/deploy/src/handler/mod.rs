//! A handler's bytes, and what a pipeline runs of them.

pub mod compiler;
pub mod digest;
pub mod file;
pub mod loader;
pub mod room;
pub mod size;
