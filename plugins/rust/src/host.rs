//! The other side: the host's imports in wasm, the test harness's stand-in elsewhere. Both have the same functions, so
//! that nothing else in this crate asks where it runs.

use std::cell::RefCell;
use std::rc::Rc;

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::abi::{emit, fail, log};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::recorder::{emit, fail, log};

#[cfg(target_arch = "wasm32")]
use crate::abi as imports;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::recorder as imports;

thread_local! {
    /// Names asked for so far. A pipeline grants and reads a handful of topics, so a scan beats a map.
    static NUMBERS: RefCell<Vec<(Box<str>, u32)>> = const { RefCell::new(Vec::new()) };
    static SOURCES: RefCell<Vec<(u32, Rc<str>)>> = const { RefCell::new(Vec::new()) };
}

/// The number of an output topic, asked of the host once for each name.
pub(crate) fn topic_number(name: &str) -> Result<u32, String> {
    NUMBERS.with_borrow_mut(|known| {
        if let Some((_, number)) = known.iter().find(|(known, _)| **known == *name) {
            return Ok(*number);
        }
        let number = imports::topic_number(name)?;
        known.push((name.into(), number));
        Ok(number)
    })
}

/// The name of a source topic, asked of the host once for each number.
pub(crate) fn source_name(source: u32) -> Rc<str> {
    SOURCES.with_borrow_mut(|known| {
        if let Some((_, name)) = known.iter().find(|(known, _)| *known == source) {
            return Rc::clone(name);
        }
        let name: Rc<str> = imports::source_name(source).into();
        known.push((source, Rc::clone(&name)));
        name
    })
}

/// Forgets what the host said. Only a test meets a second host in one thread.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn forget() {
    NUMBERS.take();
    SOURCES.take();
}
