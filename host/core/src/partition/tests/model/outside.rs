//! Everybody else: the broker, the coordinator, the group, the slice's thread and operators.

use super::*;

impl World {
    /// Some outputs are answered for.
    pub(super) fn answer_ticket(&mut self) {
        if self.quiet {
            while !self.tickets.is_empty() {
                self.confirm_ticket(0);
            }
            return;
        }
        if self.tickets.is_empty() {
            return;
        }
        let index = self.dice.below(self.tickets.len() as u64) as usize;
        match self.dice.below(8) {
            0 => self.refuse_ticket(index),
            _ => self.confirm_ticket(index),
        }
    }

    fn confirm_ticket(&mut self, index: usize) {
        let Ticket { mask, dead, .. } = self.tickets[index];
        if mask & !dead & self.poison != 0 && !self.is_transaction() {
            return self.refuse_ticket(index);
        }
        let Ticket { fence, run, mask, .. } = self.tickets.remove(index);
        let is_stale = fence != self.partition.fence();
        if !is_stale {
            self.complete |= mask;
        }
        let effects = self.apply(Event::Settled { fence, run, ticket: true });
        assert_eq!(effects.stale, is_stale);
    }

    fn refuse_ticket(&mut self, index: usize) {
        let Ticket { fence, messages, mask, .. } = self.tickets.remove(index);
        let is_stale = fence != self.partition.fence();
        let (mut refused, mut incomplete) = (Vec::new(), 0);
        let topic_wide = !self.quiet && self.dice.one_in(5);
        while incomplete == 0 {
            for offset in (0..64).filter(|offset| mask & bit(*offset) != 0) {
                let is_refused = if self.quiet { self.poison & bit(offset) != 0 } else { self.dice.one_in(2) };
                if is_refused {
                    incomplete |= bit(offset);
                    refused.push(Refused { offset, topic_wide, again: false, reason: "too large".to_owned() });
                }
            }
        }
        if !is_stale {
            self.complete |= mask & !incomplete;
            self.doomed = true;
        }
        let effects = self.apply(Event::Refused { fence, messages: &messages, refused });
        assert!(if is_stale { effects.stale } else { effects.wake });
    }

    fn purge_ticket(&mut self, index: usize) {
        let Ticket { fence, .. } = self.tickets.remove(index);
        self.doomed |= fence == self.partition.fence();
        self.apply(Event::Abandoned { fence });
    }

    /// The producer failed: what is in flight is purged now or answered for much later, and the lane goes back.
    pub(super) fn fail_producer(&mut self) {
        if self.is_transaction() {
            return self.abort_slice();
        }
        for index in (0..self.tickets.len()).rev() {
            if self.dice.one_in(2) {
                self.purge_ticket(index);
            }
        }
        self.rewind = true;
        self.awake = true;
    }

    /// The coordinator is told, or answers.
    pub(super) fn persist(&mut self) {
        if self.is_transaction() {
            return self.end_slice();
        }
        if self.commit.is_none() {
            self.commit = self.due(false);
            if !self.quiet {
                return;
            }
        }
        let Some(mark) = self.commit.take() else { return };
        match if self.quiet { 9 } else { self.dice.below(10) } {
            0 => drop(self.apply(Event::PersistRefused)),
            1 => {
                self.coordinator_has(&mark);
                self.apply(Event::PersistRefused);
            }
            _ => self.confirm(&mark),
        }
    }

    fn due(&mut self, closing: bool) -> Option<Mark> {
        let mark = self.partition.due(closing)?;
        self.say(|| format!("due {mark:?}"));
        self.check_mark(&mark, closing);
        Some(mark)
    }

    fn coordinator_has(&mut self, mark: &Mark) {
        let version = mark.note.version.map_or(0, |version| version.epoch);
        if version > self.disowned {
            self.disowned = 0;
        }
        self.coordinator = Coordinator { next: Some(mark.next.get()), note: mark.note.clone() };
    }

    fn confirm(&mut self, mark: &Mark) {
        self.coordinator_has(mark);
        if mark.fence == self.partition.fence() {
            self.opening = false;
        }
        self.counted_before = mark.note.retry.map(|retry| (retry.offset, retry.attempts + 1));
        let effects = self.apply(Event::Persisted(mark));
        if let Some(sought) = effects.moved {
            assert_eq!(self.coordinator.next, Some(sought.to), "the operator hears of a move that is not persisted");
        }
        assert_eq!(self.partition.committed().map(NextOffset::get), self.coordinator.next);
    }

    /// A slice ends: what is in flight is answered for first.
    pub(super) fn end_slice(&mut self) {
        if !self.is_transaction() {
            return;
        }
        if self.unknown {
            return assert_eq!(self.partition.due(false), None, "persisted while an outcome is not known");
        }
        match if self.quiet { 9 } else { self.dice.below(10) } {
            0 => self.abort_slice(),
            1 => self.lose_outcome(),
            _ => self.commit_slice(),
        }
    }

    pub(super) fn commit_slice(&mut self) {
        if self.unknown {
            return;
        }
        while !self.tickets.is_empty() {
            let faulty = !self.quiet && self.dice.one_in(10);
            if faulty { self.refuse_ticket(0) } else { self.confirm_ticket(0) }
        }
        if std::mem::take(&mut self.doomed) && !self.opening {
            return self.abort_slice();
        }
        if let Some(mark) = self.due(false) {
            self.confirm(&mark);
        }
        if !self.opening {
            let unpersisted = self.complete & self.exists & !self.persisted();
            assert_eq!(unpersisted, 0, "outputs are committed and their messages are not");
        }
    }

    pub(super) fn abort_slice(&mut self) {
        if self.unknown {
            return;
        }
        self.doomed = false;
        let watermark = self.partition.tracker().watermark();
        self.apply(Event::Restored);
        self.restored();
        assert!(self.partition.tracker().watermark() <= watermark || self.opening);
    }

    /// Everything beyond what the coordinator has comes again.
    fn restored(&mut self) {
        if self.opening {
            return;
        }
        self.complete = self.persisted();
        self.backoff = None;
        self.counted = self.counted.or(self.counted_before);
        let tracker = self.partition.tracker();
        self.front = tracker.watermark().get();
        let left = self.exists & !known(self.front, tracker.done());
        assert_eq!(left, self.exists & !self.complete);
        assert_eq!((tracker.outstanding(), self.partition.tickets()), (0, 0));
    }

    pub(super) fn outcome_unknown(&mut self) {
        if !self.is_transaction() {
            return;
        }
        if self.unknown { self.reread() } else { self.lose_outcome() }
    }

    fn lose_outcome(&mut self) {
        if self.opening && self.dice.one_in(2) {
            return;
        }
        for index in (0..self.tickets.len()).rev() {
            if self.dice.one_in(2) {
                self.confirm_ticket(index);
            }
        }
        let is_whole = self.tickets.is_empty() && !std::mem::take(&mut self.doomed);
        if let Some(mark) = self.due(false)
            && is_whole
            && self.dice.one_in(2)
        {
            self.coordinator_has(&mark);
        }
        self.unknown = true;
        self.backoff = None;
        let effects = self.apply(Event::OutcomeUnknown);
        if !self.opening {
            self.front = self.partition.tracker().watermark().get();
            // What the broker said of a topic counts, whatever became of the slice.
            self.stopped = self.partition.holds().stop().and_then(|(_, hold)| hold.offset());
            self.look_at_stop();
        }
        assert_eq!(effects.persist, None);
    }

    pub(super) fn reread(&mut self) {
        self.unknown = false;
        let note = if self.is_noted_topic() { self.coordinator.note.clone() } else { CommitNote::default() };
        let next = NextOffset::at(self.coordinator.next.unwrap_or(0));
        if self.coordinator.next.is_none() {
            // The first position is not persisted; there is nothing to read.
            self.apply(Event::Restored);
            return self.restored();
        }
        self.apply(Event::Reread { next, note: &note });
        let noted = note.retry.map(|retry| (retry.offset, retry.attempts + 1));
        if !self.opening {
            self.counted = match (self.counted, noted) {
                (Some((offset, attempt)), Some((same, other))) if same == offset => Some((offset, attempt.max(other))),
                (counted, noted) => counted.or(noted),
            };
            self.counted_before = noted;
        }
        self.restored();
    }

    /// The slice's thread comes in between what the lane was told and what it does.
    pub(super) fn interfere(&mut self) {
        if self.is_transaction() && !self.quiet && self.dice.one_in(12) {
            self.say(|| "meanwhile".to_owned());
            if self.dice.one_in(2) { self.abort_slice() } else { self.outcome_unknown() }
        }
    }

    pub(super) fn time(&mut self) {
        // Sometimes long enough for a wait that ends by itself.
        let most = if self.dice.one_in(30) { 4000 } else { 5 };
        self.now += Duration::from_millis(1 + self.dice.below(most));
        if self.stopped_until.is_some_and(|until| until <= self.now) {
            (self.stopped, self.stopped_until) = (None, None);
            self.awake = true;
        }
        if self.wake_at.is_some_and(|when| when <= self.now) {
            self.awake = true;
        }
    }

    pub(super) fn arrive(&mut self) {
        let more = 1 + self.dice.below(6) as i64;
        self.make_available((self.available + more).min(self.end));
    }

    fn make_available(&mut self, to: i64) {
        // A source that was empty wakes its lane.
        self.awake |= self.cursor >= self.available && to > self.available;
        self.available = to;
    }

    /// Pause, resume, skip.
    pub(super) fn operate(&mut self) {
        if self.leaving {
            return;
        }
        if self.dice.one_in(3) {
            self.paused = !self.paused;
            let effects = self.apply(Event::Paused(self.paused));
            assert!(effects.wake);
        } else if self.busy.is_none() && !self.unknown && self.stopped.is_some() {
            let skip = self.dice.one_in(3);
            self.resume(skip);
        }
    }

    pub(super) fn seek(&mut self) {
        if self.dice.one_in(2) {
            return;
        }
        let to = self.dice.below(self.end as u64 + 1) as i64;
        let until = self.now + Duration::from_millis(self.dice.below(20));
        let answer = self.partition.seek(NextOffset::at(to), until);
        assert_eq!(answer.is_err(), self.leaving || self.seeking.is_some());
        if answer.is_ok() {
            self.say(|| format!("seek {to}"));
            self.seeking = Some(to);
            self.seek_until = until;
            self.awake = true;
        }
    }

    pub(super) fn hold_above(&mut self) {
        self.held_above = !self.held_above;
        self.awake = true;
    }

    /// Another version is in force, or the note's control topic is no more.
    pub(super) fn swap(&mut self) {
        if !self.grouped {
            return;
        }
        let behind = self.partition.succession().and_then(Succession::behind);
        match behind {
            Some(epoch) if self.dice.one_in(3) => {
                self.disowned = epoch;
                self.apply(Event::Disowned(epoch));
            }
            _ => self.running += 1 + self.dice.below(3),
        }
        self.awake = true;
    }

    /// A revoke begins, or ends in good order.
    pub(super) fn leave(&mut self) {
        if !self.leaving {
            self.leaving = true;
            let at_once = self.dice.one_in(4);
            self.apply(if at_once { Event::LeaveAtOnce } else { Event::Leave });
            return;
        }
        self.answer();
        while !self.tickets.is_empty() {
            self.answer_ticket();
        }
        if self.is_transaction() {
            if !self.unknown {
                self.end_slice();
            }
        } else if let Some(mark) = self.commit.take().or_else(|| self.due(true))
            && !self.dice.one_in(4)
        {
            self.confirm(&mark);
        }
        self.close(Closed::Revoked);
        self.take_over();
    }

    pub(super) fn lose(&mut self) {
        self.close(Closed::Lost);
        assert!(self.partition.is_abandoned());
        self.take_over();
    }

    /// The process is killed. A commit that is on its way may arrive.
    pub(super) fn kill(&mut self) {
        if let Some(mark) = self.commit.take()
            && self.dice.one_in(2)
        {
            self.coordinator_has(&mark);
        }
        self.say(|| "killed".to_owned());
        self.take_over();
    }

    pub(super) fn make_topic_again(&mut self) {
        if self.dice.one_in(2) {
            return;
        }
        self.close(Closed::Orphaned("topic orders was deleted".to_owned()));
        assert_eq!(self.partition.is_over(), Some("topic orders was deleted"));
        assert_eq!(self.partition.view().state, State::Stopped);
        self.topic += 1;
        self.take_over();
    }

    pub(super) fn lose_input(&mut self) {
        if self.leaving || self.dice.one_in(2) {
            return;
        }
        self.input_lost = true;
        self.apply(Event::InputLost("out of range".to_owned()));
    }

    /// The assignment is over; what comes late changes nothing.
    fn close(&mut self, closed: Closed) {
        self.leaving = true;
        self.apply(Event::Close(closed));
        let (watermark, fence) = (self.partition.tracker().watermark(), self.partition.fence());
        for Ticket { fence, run, messages, .. } in std::mem::take(&mut self.tickets) {
            let refused =
                vec![Refused { offset: messages.first(), topic_wide: false, again: false, reason: String::new() }];
            let late = if self.dice.one_in(2) {
                Event::Settled { fence, run, ticket: true }
            } else {
                Event::Refused { fence, messages: &messages, refused }
            };
            assert!(self.partition.apply(late, self.now).stale);
        }
        for late in [Event::Restored, Event::Idle(NextOffset::at(self.end)), Event::OutcomeUnknown, Event::Resumed] {
            self.partition.apply(late, self.now);
        }
        self.partition.rewind(self.now);
        assert_eq!((self.partition.tracker().watermark(), self.partition.fence()), (watermark, fence));
        assert_eq!((self.partition.due(true), self.partition.due(false)), (None, None), "persisted after the end");
        let ask = Ask { running: self.running, ..Ask::default() };
        assert_eq!(self.partition.next(&ask, self.now), Next::Wait);
        assert!(self.partition.is_settled() && self.partition.seek(NextOffset::at(0), self.now).is_err());
    }

    /// A process begins with what the coordinator has.
    pub(super) fn take_over(&mut self) {
        self.generation += 1;
        let Coordinator { next, note } = &self.coordinator;
        let running = self.grouped.then_some(self.running);
        let start = start(self.kind, self.generation, *next, note, self.topic, running);
        self.opening = start.opening;
        let retry = note.retry.filter(|_| self.is_noted_topic());
        self.counted = retry.map(|retry| (retry.offset, retry.attempts + 1));
        self.counted_before = self.counted;
        self.cursor = start.at.get();
        self.complete = self.persisted();
        self.partition = Partition::new(start);
        self.front = self.partition.tracker().watermark().get();
        self.backlog = Backlog::new();
        self.alone = 0;
        (self.busy, self.commit, self.wake_at, self.backoff) = (None, None, None, None);
        (self.stopped, self.seeking) = (None, None);
        self.tickets.clear();
        (self.rewind, self.doomed, self.leaving, self.unknown) = (false, false, false, false);
        (self.input_lost, self.paused, self.awake) = (false, false, true);
        self.say(|| "taken over".to_owned());
    }

    /// What holds ends, each by its own event.
    pub(super) fn calm(&mut self) {
        if self.unknown {
            self.reread();
        }
        if self.leaving || self.input_lost {
            self.close(Closed::Lost);
            self.take_over();
        }
        if self.paused {
            self.paused = false;
            self.apply(Event::Paused(false));
        }
        if self.held_above {
            self.hold_above();
        }
        if self.grouped {
            let noted = self.coordinator.note.version.map_or(0, |version| version.epoch);
            self.running = self.running.max(noted) + self.dice.below(2);
            self.awake = true;
        }
        self.make_available(self.end);
        self.check();
    }
}
