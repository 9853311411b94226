//! What guests can do to the host: handmade ones, each of which lies, spins, grows or floods in its own way.

mod componentize;
mod contract;
mod frozen;
mod guest;
mod hostile;
mod inspect;
mod plain;
mod refused;
mod wasi;
mod words;
