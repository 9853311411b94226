//! Messages as text.

pub mod jsonl;
