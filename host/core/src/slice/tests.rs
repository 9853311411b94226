//! The slice by example, and against a model under every order of events.

use super::*;
use crate::fence::Generation;

mod at_least_once;
mod model;
mod outcomes;

/// One member with the partitions `a` and `b`, and a clock that is moved by hand.
struct Bench {
    slice: Slice<char, u64>,
    start: Instant,
    now: Instant,
}

type Done = Vec<Action<char, u64>>;

const FIRST: Generation = Generation(1);

impl Bench {
    fn new(promise: Promise) -> Self {
        let now = Instant::now();
        let mut bench = Self { slice: Slice::new(promise, now), start: now, now };
        bench.event(Event::Assigned { partitions: vec!['a', 'b'], generation: FIRST });
        bench
    }

    fn event(&mut self, event: Event<char, u64>) -> Done {
        let mut actions = Vec::new();
        let text = format!("{event:?}");
        let result = self.slice.apply(event, self.now, &mut actions);
        assert_eq!(result, Ok(()), "{text}");
        actions
    }

    fn answer(&mut self, answer: Answer<char, u64>) -> Done {
        self.event(Event::Answered(answer))
    }

    fn fail(&mut self, call: Call, error: CallError) -> Done {
        self.answer(Answer::Failed(call, error))
    }

    fn tick(&mut self) -> Done {
        self.event(Event::Tick)
    }

    /// Goes to so many milliseconds after the start.
    fn at(&mut self, millis: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(millis);
        self
    }

    fn in_millis(&self, millis: u64) -> Instant {
        self.now + Duration::from_millis(millis)
    }

    /// When something is due, in milliseconds after the start.
    fn due(&self) -> Option<u64> {
        match self.slice.due(self.now) {
            When::Now => Some((self.now - self.start).as_millis() as u64),
            When::At(at) => Some((at - self.start).as_millis() as u64),
            When::Never => None,
        }
    }

    fn permit(&mut self, partition: char) -> Option<PermitId> {
        match &self.event(Event::PermitAsked { partition })[..] {
            [Action::Granted { permit, .. }] => Some(*permit),
            [Action::Wait { .. } | Action::Gone { .. }] => None,
            other => panic!("{other:?}"),
        }
    }

    fn give_back(&mut self, permit: PermitId, work: Work) {
        assert_eq!(self.event(Event::PermitReturned { permit, work }), []);
    }
}

fn listed(partition: char, closing: bool) -> Listed<char> {
    Listed { partition, generation: FIRST, closing }
}

fn told(partition: char, outcome: Outcome<u64>) -> Action<char, u64> {
    Action::Tell { partition, generation: FIRST, outcome }
}
