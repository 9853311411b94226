//! A handler's project: a folder with its sources. Which language it is written in, and how `build/handler.wasm` comes of it.

mod build;
mod folder;
mod language;
mod step;
pub mod template;
mod toolchain;

pub use build::{Built, ask_of, write};
pub use folder::Project;
pub use language::Language;
pub use step::{Kept, Reporter, Terminal};
pub use toolchain::tools::Missing;
