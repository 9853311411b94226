//! What holds after every step, of every delivery and of everything that is persisted.

use super::*;

impl World {
    /// After every step.
    pub(super) fn check(&self) {
        let partition = &self.partition;
        let tracker = partition.tracker();
        let done = known(tracker.watermark().get(), tracker.done());
        assert_eq!(done & self.exists & !self.complete, 0, "something incomplete counts as complete");
        let paused = partition.holds().get(Reason::Paused).is_some();
        assert_eq!(paused, self.paused, "a pause ends with the pause only");
        assert_eq!(partition.tickets() as usize, self.in_flight(), "outputs in flight");
        let SpanSize { messages, .. } = tracker.span();
        assert!(messages <= WINDOW, "{messages} messages beyond the watermark");
        assert_eq!(partition.is_leaving(), self.leaving);
        let state = partition.view().state;
        if !self.leaving && self.stopped.is_some() && state != State::Behind {
            assert_eq!(state, if self.stopped_until.is_some() { State::Waiting } else { State::Stopped });
        }
    }

    /// A call is about to reach the handler, or a message to be settled without one.
    pub(super) fn check_call(&mut self, call: &Call) -> u64 {
        let messages: Vec<i64> = self.batch.messages().map(|message| message.offset).collect();
        let mask = messages.iter().fold(0, |mask, offset| mask | bit(*offset));
        let (first, last) = (messages[0], messages[messages.len() - 1]);
        assert_eq!((call.messages.first(), call.messages.last()), (first, last));
        let fence = self.partition.fence();
        assert_eq!(call.fence, fence, "a call of an earlier epoch is delivered");
        assert!(messages.len() as u64 <= CALL, "{} messages in a call", messages.len());
        assert!(messages.len() == 1 || mask & self.alone == 0, "a batch that crashed goes again together");
        let bytes = self.batch.bytes();
        assert!(bytes <= CALL_BYTES || messages.len() == 1, "{bytes} bytes in a call");

        assert!(!self.opening, "delivered before the first position is persisted");
        assert!(!self.leaving && !self.unknown && !self.input_lost && !self.held_above && !self.paused);
        assert_eq!((self.stopped, self.seeking), (None, None));
        assert!(self.backoff.is_none_or(|until| until <= self.now), "delivered before its time");
        assert!(matches!(self.partition.motion(), Motion::Steady), "{:?}", self.partition.motion());

        assert_eq!(mask & self.complete, 0, "a complete message is delivered again");
        let between = below(first) & !below(self.front);
        assert_eq!(self.exists & between & !self.complete, 0, "passed over between {} and {first}", self.front);
        assert!(first >= self.front, "{first} comes after {}", self.front);
        assert_eq!(mask, self.exists & below(last + 1) & !below(first), "a call has everything in between");
        let in_flight = |ticket: &&Ticket| ticket.fence == fence && ticket.mask & mask != 0;
        assert!(!self.tickets.iter().any(|ticket| in_flight(&ticket)), "two calls of one message are open");

        if self.grouped && self.disowned < self.noted() {
            assert_eq!(self.noted(), self.running, "a version gets messages before its note is persisted");
        }
        if self.kind == Kind::Sync {
            assert!(!self.tickets.iter().any(|ticket| ticket.fence == fence));
            assert!(self.coordinator.next >= Some(self.asked_at), "delivered before the last batch is persisted");
        }
        self.check_attempts(call, first, mask);
        if self.canary {
            let side = self.side_of(first);
            assert!(messages.iter().all(|offset| self.side_of(*offset) == side) && call.side == side);
        }
        mask
    }

    fn check_attempts(&self, call: &Call, first: i64, mask: u64) {
        let told: Vec<u32> = self.batch.messages().map(|message| message.attempt).collect();
        assert_eq!(told[0], call.attempt);
        assert!(told[1..].iter().all(|attempt| *attempt == 1), "{told:?}");
        match self.counted {
            Some((offset, attempt)) if mask & bit(offset) != 0 => {
                assert_eq!((first, call.attempt), (offset, attempt), "its attempts are counted on");
            }
            _ => assert_eq!(call.attempt, 1),
        }
    }

    /// Something is about to be persisted.
    pub(super) fn check_mark(&self, mark: &Mark, closing: bool) {
        assert!(!self.unknown, "persisted while an outcome is not known");
        assert_eq!(mark.fence, self.partition.fence());
        let next = mark.next.get();
        let incomplete = self.exists & !self.complete;
        if self.kind != Kind::Auto || closing {
            assert_eq!(below(next) & incomplete, 0, "{next} is persisted past something incomplete");
        }
        assert_eq!(known(0, &mark.note.done) & incomplete, 0, "the note calls something complete that is not");
        assert_eq!(mark.note.topic_id, Some(format!("id-{}", self.topic)));
        if let Some(retry) = mark.note.retry {
            assert!(retry.offset >= next);
            assert_eq!(Some((retry.offset, retry.attempts + 1)), self.counted);
        }
        if self.grouped {
            let epoch = mark.note.version.map_or(0, |version| version.epoch);
            assert!(epoch >= self.noted() || self.disowned >= self.noted(), "the note goes back to an earlier version");
        }
    }

    /// The newest version that the coordinator has a note of; of another topic's note, none.
    pub(super) fn noted(&self) -> u64 {
        let note = &self.coordinator.note;
        if self.is_noted_topic() { note.version.map_or(0, |version| version.epoch) } else { 0 }
    }

    pub(super) fn is_noted_topic(&self) -> bool {
        self.coordinator.note.topic_id.as_ref().is_none_or(|noted| *noted == format!("id-{}", self.topic))
    }

    /// What the coordinator calls complete.
    pub(super) fn persisted(&self) -> u64 {
        let Coordinator { next, note } = &self.coordinator;
        if self.is_noted_topic() { known(next.unwrap_or(0), &note.done) } else { 0 }
    }
}
