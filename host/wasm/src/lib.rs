//! Handlers in WebAssembly: an engine compiles plugins, a plugin starts instances, an instance handles batches.
//!
//! The only crate that names wasmtime. Everything a guest says is checked here: the numbers, the text and the time it
//! takes. What leaves this crate (`Emitted`, `Failure`, log lines, errors) can be used as it is.
#![deny(unsafe_code)]

mod batches;
mod binary;
mod cache;
mod capabilities;
mod componentize;
mod deadline;
mod engine;
mod error;
mod footprint;
mod grants;
mod init;
mod inspect;
mod instance;
mod limiter;
mod linkers;
mod messages;
mod plugin;
mod spec;
mod state;
mod text;
mod world;

pub use binary::digest;
pub use cache::private_directory;
pub use capabilities::{Access, contract};
pub use componentize::{asks, componentize, note_language};
pub use deadline::Canceller;
pub use engine::{Engine, EngineOptions};
pub use error::{CallError, EngineError, LoadError, LoadKind, StartError};
pub use footprint::Footprint;
pub use grants::NotGranted;
pub use inspect::{Form, Import, Inspection, Listed, Producer, inspect};
pub use instance::Instance;
pub use plugin::Plugin;
pub use spec::{InstanceSpec, Limits, LogLevel, LogSink, OutputNames};
pub use world::World;
