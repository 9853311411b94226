//! The lane: asks, does what it is told, calls the handler and settles what it said.

use super::*;
use crate::backlog::{CallBound, Pick, Side};
use crate::batch::MessageRef;
use crate::emitted::{Failure, FailureKind};
use crate::verdict::{AfterCrash, ErrorClass, GivenUp, Rest, after_crash, judge};

fn side_of(offset: i64) -> Side {
    if offset / 3 % 2 == 0 { Side::Serving } else { Side::Candidate }
}

impl World {
    pub(super) fn side_of(&self, offset: i64) -> Side {
        side_of(offset)
    }

    /// One turn.
    pub(super) fn lane(&mut self) {
        if self.busy.is_some() || !self.awake {
            return;
        }
        if std::mem::take(&mut self.rewind) {
            let rewound = self.partition.rewind(self.now);
            self.went_back(rewound);
            return;
        }
        if self.is_transaction() && self.seeking.is_some() {
            // The slice ends before the partition is moved: else an abort would undo what lies behind the move.
            self.commit_slice();
        }
        let ask = Ask {
            leftover: self.backlog.leftover(),
            backlog: self.backlog.has_fresh(),
            running: self.running,
            held_above: self.held_above,
        };
        self.asked_at = self.partition.tracker().watermark().get();
        let in_flight = self.in_flight();
        let next = self.partition.next(&ask, self.now);
        self.say(|| format!("{next:?}"));
        self.wake_at = None;
        match next {
            Next::Deliver => self.gather(),
            Next::Wait => self.awake = false,
            Next::WaitUntil(when) => {
                assert!(when > self.now, "a time that has come");
                self.awake = false;
                self.wake_at = Some(when);
            }
            Next::PersistNote => assert_eq!(in_flight, 0, "a version begins while something is in flight"),
            Next::Reposition(to) => self.reposition(to),
            Next::Rewound(rewound) => {
                assert_eq!(in_flight, 0, "goes back while something is in flight");
                self.went_back(rewound);
            }
            Next::Moved(sought) => {
                assert!(in_flight == 0 || self.now >= self.seek_until, "moved while something is in flight");
                self.moved(sought);
            }
        }
    }

    /// Calls of this epoch whose outputs are not answered for.
    pub(super) fn in_flight(&self) -> usize {
        let now = self.partition.fence();
        self.tickets.iter().filter(|ticket| ticket.fence == now).count()
    }

    fn reposition(&mut self, to: NextOffset) {
        self.alone = 0;
        self.backlog.forget();
        if !self.quiet && self.dice.one_in(6) {
            self.apply(Event::RepositionFailed(self.now + Duration::from_millis(3)));
            return;
        }
        self.cursor = to.get();
        self.interfere();
        self.apply(Event::Repositioned);
    }

    fn went_back(&mut self, rewound: Rewound) {
        self.alone = 0;
        self.backlog.forget();
        self.backoff = None;
        self.front = rewound.to.get();
        if let Some((offset, _)) = rewound.stopped {
            self.stopped = Some(offset);
        }
        self.look_at_stop();
        self.say(|| "rewound".to_owned());
    }

    fn moved(&mut self, sought: Sought) {
        self.alone = 0;
        self.backlog.forget();
        assert_eq!((sought.from, Some(sought.to)), (self.asked_at, self.seeking.take()));
        self.complete = below(sought.to);
        self.front = sought.to;
        self.opening = true;
        (self.stopped, self.backoff, self.counted, self.counted_before) = (None, None, None, None);
    }

    fn gather(&mut self) {
        // It sleeps if there is nothing, unless it is woken from here on.
        self.awake = false;
        self.interfere();
        let bound = CallBound { messages: 1 + self.dice.below(CALL) as usize, bytes: CALL_BYTES };
        let by_side = |message: &MessageRef<'_>| side_of(message.offset);
        let route: crate::backlog::Route<'_> = if self.canary { Some(&by_side) } else { None };
        let pick = if self.backlog.is_empty() {
            let reported = self.take();
            if self.batch.is_empty() {
                // It looks again behind an error.
                self.awake |= reported;
                self.apply(Event::Idle(NextOffset::at(self.cursor)));
                return;
            }
            self.backlog.take_up(&mut self.partition, bound, route, &mut self.batch)
        } else {
            self.backlog.pick(&mut self.partition, bound, route, &mut self.batch)
        };
        self.awake = true;
        self.say(|| format!("{pick:?}"));
        match pick {
            Pick::Nothing => {}
            Pick::Call(call) => {
                self.check_call(&call);
                self.busy = Some(call);
            }
            Pick::Refused(call, failed, stage) => {
                self.check_call(&call);
                self.settle(&call, 1, vec![failed], stage, None);
            }
            Pick::Stuck { offset, reason } => self.stop(offset, StopClass::DeadLetter, reason),
        }
    }

    /// Takes what the source has, up to a call's worth. After an error its position is behind more than it gave.
    fn take(&mut self) -> bool {
        self.batch.clear();
        let mut reported = false;
        let (mut left, mut bytes) = (1 + self.dice.below(CALL), 0);
        while left > 0 && self.cursor < self.available {
            let size = self.cursor as usize % 15;
            if bytes > 0 && bytes + size > CALL_BYTES {
                break;
            }
            if self.exists & bit(self.cursor) != 0 {
                if !self.quiet && self.dice.one_in(40) {
                    self.cursor += 1;
                    self.apply(Event::Distrusted);
                    reported = true;
                    break;
                }
                let value = [b'v'; 15];
                self.batch.push(None, Some(&value[..size]), self.cursor, None, 1).expect("a few bytes");
                bytes += size;
                left -= 1;
            }
            self.cursor += 1;
        }
        self.batch.seal();
        reported
    }

    /// The handler answers.
    pub(super) fn answer(&mut self) {
        let Some(call) = self.busy.take() else { return };
        self.awake = true;
        if self.partition.fence() != call.fence || self.partition.is_abandoned() {
            // It went back meanwhile: what the call said counts for nothing.
            if self.dice.one_in(2) {
                self.backlog.put_back(&call, &mut self.batch, call.attempt, 0);
            }
            return;
        }
        let count = self.batch.len();
        if !self.quiet && self.dice.one_in(8) {
            return self.crash(&call, count);
        }
        let (mut reached, mut failures) = (count as u32, Vec::new());
        if !self.quiet {
            if self.dice.one_in(5) {
                reached = self.dice.below(count as u64 + 1) as u32;
            }
            for message in 0..count as u32 {
                if self.dice.one_in(7) {
                    let kind = if self.dice.one_in(3) { FailureKind::Reject } else { FailureKind::Retry };
                    failures.push(Failure { message, retry_after: None, kind, reason: String::new() });
                }
            }
        }
        let judgement = judge(count, reached, &failures, call.attempt, &POLICY);
        self.settle(&call, judgement.settled, judgement.given_up, DeadLetterStage::Whole, judgement.rest);
    }

    fn crash(&mut self, call: &Call, count: usize) {
        if self.dice.one_in(4) {
            // Cancelled, which says nothing about the message.
            return self.backlog.put_back(call, &mut self.batch, call.attempt, 0);
        }
        let alone = count == 1 && self.dice.one_in(2);
        match after_crash(count, alone, call.attempt, &POLICY) {
            AfterCrash::ReplayAlone => {
                self.alone = below(call.messages.last() + 1) & !below(call.messages.first());
                self.backlog.put_back(call, &mut self.batch, call.attempt, count);
            }
            AfterCrash::Again { delay, next_attempt } => {
                self.backlog.put_back(call, &mut self.batch, next_attempt, 1);
                self.retry(delay, next_attempt);
            }
            AfterCrash::GiveUp { attempts } => {
                let failed = GivenUp { message: 0, attempts, class: ErrorClass::Trap, reason: String::new() };
                self.settle(call, 1, vec![failed], DeadLetterStage::Whole, None);
            }
        }
    }

    fn retry(&mut self, delay: Duration, attempt: u32) {
        let offset = self.backlog.head().expect("just put back");
        let until = self.now + delay;
        self.counted = Some((offset, attempt));
        self.backoff = Some(until);
        self.apply(Event::Retry { offset, attempt, until, now_ms: 0, reason: String::new() });
    }

    /// A stop that is tried again ends by itself.
    pub(super) fn look_at_stop(&mut self) {
        self.stopped_until = self.partition.holds().stop().and_then(|(_, hold)| hold.next_try);
    }

    fn stop(&mut self, offset: i64, class: StopClass, reason: String) {
        self.stopped = Some(offset);
        self.backoff = None;
        self.apply(Event::Stop { offset, class, reason });
        self.look_at_stop();
    }

    /// Publishes what the first `settled` messages came to, and keeps the others.
    fn settle(
        &mut self,
        call: &Call,
        mut settled: usize,
        mut failed: Vec<GivenUp>,
        stage: DeadLetterStage,
        rest: Option<Rest>,
    ) {
        let mut stop = None;
        if self.stops
            && let Some(first) = failed.first()
        {
            settled = first.message;
            stop = Some(self.batch.message(settled).offset);
            failed.clear();
        }
        let has_outputs = !self.dice.one_in(4) || (self.dead_letters && !failed.is_empty());
        if has_outputs {
            self.apply(Event::Sending);
        }
        let mut dead = 0;
        if self.dead_letters {
            for one in &failed {
                let offset = self.batch.message(one.message).offset;
                dead |= bit(offset);
                self.apply(Event::DeadLettered { offset, stage });
            }
        }
        let (run, last) = self.backlog.part(&mut self.partition, call, &self.batch, settled);
        if settled > 0 {
            let mask = (0..settled).fold(0, |mask, at| mask | bit(self.batch.message(at).offset));
            if has_outputs {
                let messages = call.messages.up_to(last);
                self.tickets.push(Ticket { fence: call.fence, run: call.run, messages, mask, dead });
            } else {
                self.complete |= mask;
                self.apply(Event::Settled { fence: call.fence, run: call.run, ticket: false });
            }
            self.front = last + 1;
            self.counted = self.counted.filter(|(offset, _)| *offset > last);
            self.apply(Event::SettledUpTo(last));
        } else if has_outputs {
            self.apply(Event::Abandoned { fence: call.fence });
            self.doomed = true;
        }
        let (attempt, delay) = match rest {
            Some(Rest::Retry { delay, next_attempt, .. }) if stop.is_none() => (next_attempt, Some(delay)),
            _ if settled == 0 => (call.attempt, None),
            _ => (1, None),
        };
        self.backlog.keep(call, &mut self.batch, settled, run, attempt);
        if let Some(delay) = delay {
            self.retry(delay, attempt);
        }
        if let Some(offset) = stop {
            self.stop(offset, StopClass::Failed, "failed".to_owned());
        }
    }

    /// An operator says to go on, perhaps behind the message.
    pub(super) fn resume(&mut self, skip: bool) {
        if skip {
            let offset = self.partition.stands_at(self.backlog.head());
            self.say(|| format!("skip {offset}"));
            if offset >= 64 {
                return;
            }
            self.complete |= bit(offset);
            match self.backlog.pass_head(&mut self.partition) {
                Some((fence, run)) => {
                    self.apply(Event::Settled { fence, run, ticket: false });
                }
                None => self.partition.pass_unread(offset),
            }
            self.front = self.front.max(offset + 1).min(self.partition.tracker().position().get());
        }
        (self.stopped, self.backoff, self.counted, self.counted_before) = (None, None, None, None);
        self.backlog.restart_attempts();
        self.apply(Event::Resumed);
        self.awake = true;
    }
}
