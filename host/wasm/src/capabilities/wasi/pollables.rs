//! What a guest can wait for: timers.

use std::time::Instant;

use wasmtime::component::Resource;

use crate::error::Stop;

/// Timers of one instance at a time.
const TIMERS: usize = 4096;
/// The number of a pollable that is always ready.
pub(super) const READY: u32 = 0;

/// `pollable`: 0 is always ready, others are timers.
pub(super) enum Pollable {}

/// The timers of an instance, by number from 1 on.
#[derive(Default)]
pub(crate) struct Pollables {
    /// `Some(None)`: a time beyond the clock.
    timers: Vec<Option<Option<Instant>>>,
    free: Vec<u32>,
}

impl Pollables {
    /// A pollable that is ready from `at` on (`None`: never).
    pub(super) fn timer(&mut self, at: Option<Instant>) -> Result<Resource<Pollable>, Stop> {
        if let Some(number) = self.free.pop() {
            self.timers[number as usize - 1] = Some(at);
            return Ok(Resource::new_own(number));
        }
        if self.timers.len() >= TIMERS {
            return Err(Stop::protocol(format!("more than {TIMERS} timers at a time")));
        }
        self.timers.push(Some(at));
        Ok(Resource::new_own(self.timers.len() as u32))
    }

    /// When the pollable becomes ready; `None`: it always is.
    pub(super) fn when(&self, pollable: &Resource<Pollable>) -> Option<Option<Instant>> {
        let index = pollable.rep().checked_sub(1)?;
        self.timers.get(index as usize).copied().flatten()
    }

    /// Whether the pollable is ready.
    pub(super) fn is_ready(&self, pollable: &Resource<Pollable>, now: Instant) -> bool {
        self.when(pollable).is_none_or(|at| at.is_some_and(|at| at <= now))
    }

    /// Gives a timer's number back.
    pub(super) fn drop(&mut self, number: u32) {
        let Some(index) = number.checked_sub(1) else { return };
        if self.timers.get_mut(index as usize).and_then(Option::take).is_some() {
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_numbered_again_and_bounded() {
        let mut pollables = Pollables::default();
        let first = pollables.timer(None).unwrap();
        pollables.drop(first.rep());
        pollables.drop(first.rep());
        for _ in 0..TIMERS {
            pollables.timer(Some(Instant::now())).unwrap();
        }
        assert!(pollables.timer(None).is_err());
        assert_eq!(pollables.timers.len(), TIMERS);
    }
}
