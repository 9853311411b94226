//! The broker that the tests of one binary share.
//!
//! A test brings its own topics and groups, so that tests run side by side: two at most, since more make a small
//! machine so slow that timeouts decide. A test of an outage starts a broker of its own, and holds a place as well.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use parking_lot::{Condvar, Mutex};

use crate::broker::{Broker, Options};
use crate::eye::Eye;

const PLACES: u32 = 2;

static TAKEN: Mutex<u32> = Mutex::new(0);
static LEFT: Condvar = Condvar::new();

/// The right to run now. Given back when dropped.
#[derive(Debug)]
pub struct Place(u32);

impl Place {
    /// Waits for a place.
    pub fn take() -> Self {
        Self::wait(1)
    }

    /// Waits until no other test runs, and keeps them waiting.
    pub fn take_all() -> Self {
        Self::wait(PLACES)
    }

    fn wait(places: u32) -> Self {
        let mut taken = TAKEN.lock();
        while *taken + places > PLACES {
            LEFT.wait(&mut taken);
        }
        *taken += places;
        Self(places)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *TAKEN.lock() -= self.0;
        LEFT.notify_all();
    }
}

/// The shared broker, for one test.
#[derive(Debug)]
pub struct Shared {
    /// The broker. It must not be stopped.
    pub broker: &'static Broker,
    /// The second opinion on it.
    pub eye: Eye,
    _place: Place,
}

/// Waits for a place and starts the broker if this is the first test.
///
/// # Errors
/// Kafka cannot be started.
pub fn shared() -> Result<Shared> {
    static BROKER: OnceLock<Result<Broker, String>> = OnceLock::new();
    let place = Place::take();
    let broker = BROKER.get_or_init(|| Broker::start(&Options::default()).map_err(|error| format!("{error:#}")));
    let broker = broker.as_ref().map_err(|error| anyhow::anyhow!("no broker: {error}"))?;
    Ok(Shared { broker, eye: broker.eye()?, _place: place })
}

/// A name that no other test uses: for topics and groups.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
