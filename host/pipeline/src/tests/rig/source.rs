//! A partition's messages, from a script.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use wasmill_core::{Batch, NextOffset};
use wasmill_kafka::{QueueProblem, Taken};

use crate::io::Source;

/// What stands at an offset.
enum Entry {
    /// A message with this value. Its key is `k` and the offset.
    Message(String),
    /// A transaction marker: it comes alone and is no message.
    Marker,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<i64, Entry>,
    position: i64,
    problem: Option<(i64, QueueProblem)>,
    /// A problem was told: nothing comes before a seek.
    stopped: bool,
    seeks: Vec<i64>,
    failing_seeks: u32,
}

/// The log of a partition; the test writes to it, and a lane reads it through [`Log::source`].
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<State>>);

impl Log {
    /// Messages with these values at consecutive offsets.
    pub fn write(&self, first: i64, values: impl IntoIterator<Item = impl Into<String>>) {
        let entries = (first..).zip(values).map(|(offset, value)| (offset, Entry::Message(value.into())));
        self.0.lock().entries.extend(entries);
    }

    /// A transaction marker.
    pub fn mark(&self, offset: i64) {
        self.0.lock().entries.insert(offset, Entry::Marker);
    }

    /// Once everything below `offset` is taken, this is told, and nothing more comes before a seek.
    pub fn fails_at(&self, offset: i64, problem: QueueProblem) {
        self.0.lock().problem = Some((offset, problem));
    }

    /// The next seeks fail.
    pub fn refuses_seeks(&self, count: u32) {
        self.0.lock().failing_seeks = count;
    }

    /// Where it was put, one after the other.
    pub fn seeks(&self) -> Vec<i64> {
        self.0.lock().seeks.clone()
    }

    /// Where it is read next.
    pub fn position(&self) -> i64 {
        self.0.lock().position
    }

    /// A reader that begins at `at`.
    pub fn source(&self, at: i64) -> Box<dyn Source> {
        let mut state = self.0.lock();
        state.position = at;
        state.stopped = false;
        drop(state);
        Box::new(FakeSource(self.0.clone()))
    }
}

struct FakeSource(Arc<Mutex<State>>);

impl Source for FakeSource {
    fn take(&mut self, max_messages: usize, max_bytes: usize, into: &mut Batch) -> Taken {
        let state = &mut *self.0.lock();
        let mut taken = Taken::default();
        if state.stopped {
            return taken;
        }
        while taken.messages < max_messages {
            let next = state.entries.range(state.position..).next();
            if let Some((at, problem)) = &state.problem
                && next.is_none_or(|(offset, _)| offset >= at)
            {
                taken.problem = Some(problem.clone());
                (state.problem, state.stopped) = (None, true);
                return taken;
            }
            let Some((&offset, entry)) = next else { return taken };
            let Entry::Message(value) = entry else {
                state.position = offset + 1;
                taken.more = true;
                return taken;
            };
            let key = format!("k{offset}");
            let bytes = key.len() + value.len();
            if !into.is_empty() && into.bytes() + bytes > max_bytes {
                break;
            }
            into.push(Some(key.as_bytes()), Some(value.as_bytes()), offset, Some(1000 + offset), 1).expect("small");
            into.push_header(b"traceparent", Some(b"00-1")).expect("small");
            taken.messages += 1;
            state.position = offset + 1;
        }
        taken.more = state.entries.range(state.position..).next().is_some();
        taken
    }

    fn seek(&mut self, to: NextOffset) -> Result<(), String> {
        let mut state = self.0.lock();
        if state.failing_seeks > 0 {
            state.failing_seeks -= 1;
            return Err("the leader is away".to_owned());
        }
        state.seeks.push(to.get());
        assert!(state.seeks.len() < 1000, "it is put somewhere again and again");
        state.position = to.get();
        state.stopped = false;
        Ok(())
    }

    fn idle_position(&mut self) -> Option<NextOffset> {
        let state = self.0.lock();
        (!state.stopped).then(|| NextOffset::at(state.position))
    }
}
