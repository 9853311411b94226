//! The pipelines that could not start and are tried again: why not, and when the next time is.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wasmill_config as config;

/// The first pause; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Nothing waits longer, so that what was mended is seen.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A pipeline that could not start.
#[derive(Clone)]
pub struct Unstarted {
    pub settings: config::Pipeline,
    /// Why not, the last time.
    pub reason: String,
    pause: Duration,
    due: Instant,
}

impl Unstarted {
    fn new(settings: &config::Pipeline, reason: String) -> Self {
        Self { settings: settings.clone(), reason, pause: FIRST_PAUSE, due: Instant::now() + FIRST_PAUSE }
    }

    /// Time until it is tried again.
    pub fn next_in(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }
}

/// All of them.
#[derive(Default)]
pub struct Waiting {
    of: Mutex<(Vec<Unstarted>, bool)>,
    changed: Condvar,
}

impl Waiting {
    pub fn is_empty(&self) -> bool {
        self.of.lock().0.is_empty()
    }

    pub fn all(&self) -> Vec<Unstarted> {
        self.of.lock().0.clone()
    }

    /// None is tried any more.
    pub fn close(&self) {
        let mut of = self.of.lock();
        of.0.clear();
        of.1 = true;
        self.changed.notify_all();
    }

    /// It is not waited for any more: it runs, or the file has it no longer.
    pub fn forget(&self, name: &str) {
        self.of.lock().0.retain(|one| one.settings.name != name);
    }

    /// It could not start, with these settings, and is tried again.
    pub fn add(&self, settings: &config::Pipeline, reason: &str) {
        let mut of = self.of.lock();
        if of.1 {
            return;
        }
        of.0.retain(|one| one.settings.name != settings.name);
        of.0.push(Unstarted::new(settings, reason.to_owned()));
        self.changed.notify_all();
    }

    /// Waits until one is due. `None`: the process ends.
    pub fn due(&self) -> Option<Unstarted> {
        let mut of = self.of.lock();
        loop {
            if of.1 {
                return None;
            }
            let next = of.0.iter().min_by_key(|one| one.due).cloned();
            match next {
                Some(next) if next.next_in().is_zero() => return Some(next),
                Some(next) => drop(self.changed.wait_for(&mut of, next.next_in())),
                None => self.changed.wait(&mut of),
            }
        }
    }

    /// It could not start once more. True: for another reason than before.
    pub fn failed(&self, name: &str, reason: &str) -> bool {
        let mut of = self.of.lock();
        let Some(one) = of.0.iter_mut().find(|one| one.settings.name == name) else { return false };
        one.pause = (one.pause * 2).min(LONGEST_PAUSE);
        one.due = Instant::now() + one.pause;
        let other = one.reason != reason;
        reason.clone_into(&mut one.reason);
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_its_bound_and_a_reason_is_told_once() {
        let text = "[kafka]\nbootstrap = \"b:1\"\n[pipelines.a]\ntopics = [\"a\"]\ngroup = \"a\"\n\
                    handler = \"a.wasm\"\non_exhausted = \"stop\"\n";
        let settings = config::parse("wasmill.toml", text).expect("a good file").config.pipelines.remove(0);
        let waiting = Waiting::default();
        waiting.add(&settings, "no topic");
        assert!(
            !waiting.failed("a", "no topic") && waiting.failed("a", "no handler") && !waiting.failed("a", "no handler")
        );
        for _ in 0..10 {
            waiting.failed("a", "no handler");
        }
        let [one] = &waiting.all()[..] else { panic!("one waits") };
        assert!(one.pause == LONGEST_PAUSE && one.next_in() <= LONGEST_PAUSE);
        waiting.forget("a");
        assert!(waiting.is_empty());
        waiting.close();
        waiting.add(&settings, "no topic");
        assert!(waiting.is_empty() && waiting.due().is_none());
    }
}
