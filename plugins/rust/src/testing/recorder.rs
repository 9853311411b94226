//! The harness's stand-in for the host's imports: it writes down what a handler says.

use std::cell::RefCell;

use crate::log::Level;

/// One call of `emit`, as it was made.
pub(super) struct Emission {
    pub(super) data: Vec<u8>,
    pub(super) table: Vec<u32>,
    pub(super) stride: usize,
    pub(super) count: usize,
}

/// One call of `fail`, as it was made.
pub(super) struct Said {
    pub(super) message: u32,
    pub(super) retry_after_ms: Option<u32>,
    pub(super) reason: String,
}

/// What the pipeline would grant, and what was said since the last look.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) granted: Vec<String>,
    pub(super) source: String,
    pub(super) emissions: Vec<Emission>,
    pub(super) said: Vec<Said>,
    pub(super) log: Vec<(Level, String)>,
}

thread_local! {
    pub(super) static RECORDER: RefCell<Recorder> = RefCell::default();
}

pub(crate) fn emit(data: &[u8], table: &[u32], stride: u32, count: u32) {
    let emission =
        Emission { data: data.to_vec(), table: table.to_vec(), stride: stride as usize, count: count as usize };
    RECORDER.with_borrow_mut(|recorder| recorder.emissions.push(emission));
}

pub(crate) fn fail(message: u32, retry_after_ms: Option<u32>, reason: &str) {
    let said = Said { message, retry_after_ms, reason: reason.to_owned() };
    RECORDER.with_borrow_mut(|recorder| recorder.said.push(said));
}

pub(crate) fn log(level: Level, text: &str) {
    RECORDER.with_borrow_mut(|recorder| recorder.log.push((level, text.to_owned())));
}

pub(crate) fn topic_number(name: &str) -> Result<u32, String> {
    RECORDER.with_borrow(|recorder| match recorder.granted.iter().position(|granted| granted == name) {
        Some(index) => Ok(u32::try_from(index + 1).expect("a test grants few topics")),
        None => Err(format!("topic `{name}` is not granted; hint: `Harness::grant` names those that are")),
    })
}

pub(crate) fn source_name(_source: u32) -> String {
    RECORDER.with_borrow(|recorder| recorder.source.clone())
}
