//! The pipelines of the process. They come and go while it runs; each is started, replaced and stopped here and nowhere
//! else, and none of it touches another.
//!
//! All of this is control: lanes never look at it. Calls that prepare or stop something wait; they belong on threads that
//! may.

pub mod credentials;
pub mod launch;
mod live;
pub mod refused;
mod reload;
mod restart;
pub mod running;
mod shares;
mod starting;
mod status;
pub mod table;
pub mod unstarted;
