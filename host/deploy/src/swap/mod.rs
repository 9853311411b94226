//! Hot swap: a new version takes over while messages flow.
//!
//! Four steps, each in a file or a function of its own. The **gate** ([`gate`]) asks everything that can be asked before
//! anything is touched. Then instances are made for all lanes, beside those that run. One value is replaced
//! ([`Lanes::deploy`](wasmill_pipeline::lanes::Lanes::deploy)), which every lane notices between two batches. What the lanes
//! say of it is the **answer** ([`answer`]) and a line of the **history** ([`history`]). A version may be on **trial**
//! ([`trial`], `rollout`) before it serves all messages, or for a while after.

pub mod answer;
pub mod drift;
pub mod gate;
pub mod history;
mod rollout;
pub mod swapper;
pub mod trial;
pub mod watch;
