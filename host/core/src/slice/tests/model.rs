//! Random histories of a member against a plain model of its partitions, its lanes, the coordinator and the other members.
//!
//! Messages of a partition are numbered from 0, each has one output. The model holds that of every partition exactly the
//! outputs below its committed offset are visible, each once, after every step of every history.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::fence::Generation;

type Key = u8;
const KEYS: Key = 3;

macro_rules! check {
    ($holds:expr, $($claim:tt)+) => {
        if !$holds {
            return Err(format!($($claim)+));
        }
    };
}

/// Numbers that depend on the seed alone (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A partition as its member has it.
#[derive(Debug)]
struct Part {
    generation: Generation,
    leaving: bool,
    /// Complete below this.
    done: u64,
    /// Delivered below this; only at least once knows the difference.
    position: u64,
    /// What it was told is persisted.
    committed: u64,
    /// Everything from before a restart is stale.
    epoch: u32,
    /// Delivers nothing before its committed offset was read again.
    unread: bool,
    /// Something other than the offset has to be persisted.
    note: bool,
    /// It may be persisted with a lower offset than before.
    may_fall: bool,
}

#[derive(Debug)]
struct Lane {
    key: Key,
    generation: Generation,
    epoch: u32,
    permit: PermitId,
    /// What became of its work was told while it was out.
    told: bool,
}

#[derive(Debug, Default)]
struct Transaction {
    outputs: Vec<(Key, Generation, u64)>,
    offsets: BTreeMap<Key, (Generation, u64)>,
    /// A call that ends it was made: no permit may be granted.
    ending: bool,
    /// The client takes no more outputs.
    sealed: bool,
    commit_asked: bool,
    /// One of its outputs was refused.
    refused: bool,
}

struct World {
    slice: Slice<Key, u64>,
    promise: Promise,
    chance: Chance,
    now: Instant,
    generations: u64,
    valid: bool,
    parts: BTreeMap<Key, Part>,
    waiting: BTreeSet<Key>,
    lanes: Vec<Lane>,
    revokes: Vec<(Vec<Key>, Instant)>,
    /// The call that the thread is in.
    call: Option<Call>,
    sent: BTreeMap<Key, (Generation, u64)>,
    /// Of these what was sent is the first since a seek.
    falling: BTreeSet<Key>,
    transaction: Option<Transaction>,
    /// The client may begin a transaction.
    clean: bool,
    /// Settled work that nobody has been told of, by holding.
    untold: BTreeMap<(Key, Generation), u32>,
    asked_for_marks: BTreeSet<(Key, Generation)>,
    committed: [u64; KEYS as usize],
    visible: [Vec<u8>; KEYS as usize],
    abandoned: bool,
    stopped: bool,
    shutting_down: bool,
    /// At least once: when a regular commit went out last, and whether one may go out sooner.
    persisted_at: Option<Instant>,
    hurry: bool,
    /// Which phases came up.
    seen: [bool; 12],
    trace: Option<Vec<String>>,
}

type Checked = Result<(), String>;

impl World {
    fn new(promise: Promise, seed: u64, trace: bool) -> Self {
        let now = Instant::now();
        Self {
            slice: Slice::new(promise, now),
            promise,
            chance: Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            now,
            generations: 0,
            valid: true,
            parts: BTreeMap::new(),
            waiting: BTreeSet::new(),
            lanes: Vec::new(),
            revokes: Vec::new(),
            call: None,
            sent: BTreeMap::new(),
            falling: BTreeSet::new(),
            transaction: None,
            clean: false,
            untold: BTreeMap::new(),
            asked_for_marks: BTreeSet::new(),
            committed: [0; KEYS as usize],
            visible: Default::default(),
            abandoned: false,
            stopped: false,
            shutting_down: false,
            persisted_at: None,
            hurry: false,
            seen: [false; 12],
            trace: trace.then(Vec::new),
        }
    }

    fn is_transaction(&self) -> bool {
        matches!(self.promise, Promise::Transaction { .. })
    }

    fn mode(&self) -> Option<CommitMode> {
        match self.promise {
            Promise::AtLeastOnce(mode) => Some(mode),
            Promise::Transaction { .. } => None,
        }
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(text());
        }
    }

    fn apply(&mut self, event: Event<Key, u64>) -> Checked {
        self.note(|| format!("  event  {event:?}"));
        let mut actions = Vec::new();
        self.slice.apply(event, self.now, &mut actions).map_err(|error| error.to_string())?;
        self.seen[self.slice.phase() as usize] = true;
        actions.into_iter().try_for_each(|action| self.act(action))
    }

    /// What all threads do that are not in a call: nothing is left that is due.
    fn settle(&mut self) -> Checked {
        for _ in 0..30 {
            if self.slice.due(self.now) != When::Now {
                let late = self.revokes.iter().any(|(_, deadline)| *deadline <= self.now);
                check!(!late, "a revoke outlives its deadline");
                return Ok(());
            }
            let event = if self.call.is_some() { Event::TimedOut } else { Event::Tick };
            self.apply(event)?;
        }
        Err("something is due for ever".to_owned())
    }

    fn pass(&mut self, millis: u64) {
        self.note(|| format!("  {millis} ms pass"));
        self.now += Duration::from_millis(millis);
    }

    // What the host does with the actions.

    fn act(&mut self, action: Action<Key, u64>) -> Checked {
        self.note(|| format!("    action {action:?}"));
        match action {
            Action::Persist(list) => self.persist(list),
            Action::Begin => {
                check!(self.clean, "begins with a client that has to be discarded");
                check!(self.transaction.is_none(), "begins in a transaction");
                check!(self.lanes.is_empty(), "begins while a lane may still publish for the slice before");
                self.called(Call::Begin)
            }
            Action::Flush { .. } => {
                self.in_transaction()?.ending = true;
                self.called(Call::Flush)
            }
            Action::SendOffsets { list, .. } => {
                self.in_transaction()?.ending = true;
                check!(self.valid, "sends offsets without a generation");
                check!(self.lanes.is_empty(), "sends offsets while a call settles");
                self.collect(&list)?;
                self.called(Call::SendOffsets)
            }
            Action::Commit { .. } => {
                let transaction = self.in_transaction()?;
                transaction.commit_asked = true;
                transaction.sealed = true;
                self.check_commit()?;
                self.called(Call::Commit)
            }
            Action::Abort { .. } => {
                let transaction = self.in_transaction()?;
                check!(!transaction.commit_asked, "aborts what it committed");
                transaction.ending = true;
                transaction.sealed = true;
                self.clean &= self.lanes.is_empty();
                self.called(Call::Abort)
            }
            Action::Again(call) => {
                if call == Call::SendOffsets {
                    check!(
                        self.sent.iter().all(|(key, (generation, _))| self.holds(*key, *generation)),
                        "sends again what left"
                    );
                    check!(self.valid, "sends offsets again without a generation");
                }
                self.called(call)
            }
            Action::Discard => {
                self.clean = false;
                Ok(())
            }
            Action::Init { .. } => self.called(Call::Init),
            Action::Fetch(keys) => {
                check!(keys.iter().all(|key| self.parts.contains_key(key)), "fetches for a partition that is not held");
                self.called(Call::Fetch)
            }
            other => self.hear(other),
        }
    }

    /// What is no call.
    fn hear(&mut self, action: Action<Key, u64>) -> Checked {
        match action {
            Action::Granted { partition, permit } => self.granted(partition, permit),
            Action::Wait { partition } => {
                check!(self.is_transaction(), "at least once, nobody waits");
                self.waiting.insert(partition);
                Ok(())
            }
            Action::Gone { partition } => {
                let there = self.parts.get(&partition).is_some_and(|part| !part.leaving);
                check!(!there || self.stopped, "partition {partition} is there");
                Ok(())
            }
            Action::AskAgain => {
                for key in std::mem::take(&mut self.waiting) {
                    self.deliver(key)?;
                }
                Ok(())
            }
            Action::Tell { partition, generation, outcome } => self.tell(partition, generation, outcome),
            Action::Left { partitions, settled } => self.left(&partitions, settled),
            Action::Abandon(held) => {
                check!(held.len() == self.parts.len(), "abandons {held:?} only");
                self.parts.clear();
                self.waiting.clear();
                self.abandoned = true;
                Ok(())
            }
            Action::Stopped => {
                check!(self.shutting_down && self.parts.is_empty(), "stops too soon");
                self.stopped = true;
                Ok(())
            }
            call => Err(format!("{call:?} is a call")),
        }
    }

    fn called(&mut self, call: Call) -> Checked {
        check!(self.call.is_none(), "{call:?} while {:?} is on its way", self.call);
        self.call = Some(call);
        Ok(())
    }

    fn in_transaction(&mut self) -> Result<&mut Transaction, String> {
        self.transaction.as_mut().ok_or_else(|| "no transaction is open".to_owned())
    }

    fn holds(&self, key: Key, generation: Generation) -> bool {
        self.parts.get(&key).is_some_and(|part| part.generation == generation)
    }

    fn check_commit(&self) -> Checked {
        let Some(transaction) = &self.transaction else { return Ok(()) };
        check!(!transaction.refused, "commits although an output was refused");
        for (key, generation, _) in &transaction.outputs {
            check!(self.holds(*key, *generation), "commits outputs of partition {key}, which is not held");
        }
        for (key, (generation, _)) in &self.sent {
            check!(self.holds(*key, *generation), "commits an offset of partition {key}, which is not held");
        }
        check!(self.valid, "commits without a generation");
        Ok(())
    }

    /// Asks partitions for their marks.
    fn collect(&mut self, list: &[Listed<Key>]) -> Checked {
        self.sent.clear();
        self.falling.clear();
        let auto = matches!(self.mode(), Some(CommitMode::Auto(_)));
        for Listed { partition, generation, closing } in list {
            check!(self.holds(*partition, *generation), "asks partition {partition}, which is not held");
            let Some(part) = self.parts.get_mut(partition) else { continue };
            check!(part.leaving == *closing, "closing is {closing} and partition {partition} is {part:?}");
            check!(!part.unread, "asks partition {partition}, which does not know where it is");
            let next = if auto && !closing { part.position } else { part.done };
            if next != part.committed || part.note {
                part.note = false;
                if std::mem::take(&mut part.may_fall) {
                    self.falling.insert(*partition);
                }
                self.sent.insert(*partition, (*generation, next));
            }
            self.asked_for_marks.insert((*partition, *generation));
        }
        Ok(())
    }

    fn persist(&mut self, list: Vec<Listed<Key>>) -> Checked {
        let closing = list.iter().any(|listed| listed.closing);
        if !closing && !self.revokes.is_empty() {
            check!(list.is_empty(), "those that stay go before those that leave");
        }
        if !closing {
            check!(self.valid, "persists without a generation");
            let spacing = self.mode().map_or(Duration::ZERO, |mode| match mode {
                CommitMode::Manual { min_interval } => min_interval,
                CommitMode::Sync => Duration::ZERO,
                CommitMode::Interval(interval) | CommitMode::Auto(interval) => interval,
            });
            let soon = self.persisted_at.is_some_and(|at| self.now < at + spacing);
            check!(!soon || self.hurry, "persists again after less than {spacing:?}");
            self.persisted_at = Some(self.now);
            self.hurry = false;
        }
        self.collect(&list)?;
        self.called(Call::Persist)
    }

    fn granted(&mut self, key: Key, permit: PermitId) -> Checked {
        if self.is_transaction() {
            let open = self.transaction.as_ref().is_some_and(|transaction| !transaction.ending);
            check!(open, "grants a permit while no slice is open");
            check!(self.call.is_none(), "grants a permit during a call");
            check!(self.slice.phase() == Phase::Open, "grants a permit while {:?}", self.slice.phase());
        }
        let Some(part) = self.parts.get(&key).filter(|part| !part.leaving) else {
            return Err(format!("grants a permit for partition {key}, which leaves"));
        };
        self.lanes.push(Lane { key, generation: part.generation, epoch: part.epoch, permit, told: false });
        Ok(())
    }

    fn tell(&mut self, key: Key, generation: Generation, outcome: Outcome<u64>) -> Checked {
        let mut had_work = self.untold.remove(&(key, generation)).is_some();
        let asked = self.asked_for_marks.contains(&(key, generation));
        if self.is_transaction() && !matches!(outcome, Outcome::Refused(_)) {
            for lane in self.lanes.iter_mut().filter(|lane| (lane.key, lane.generation) == (key, generation)) {
                check!(!lane.told, "tells partition {key} twice");
                check!(!matches!(outcome, Outcome::Persisted(_)), "persists while a call settles");
                (lane.told, had_work) = (true, true);
            }
            check!(had_work || asked, "tells partition {key}, which has nothing in the slice, {outcome:?}");
        }
        check!(!had_work || !matches!(outcome, Outcome::Refused(_)) || !self.is_transaction(), "refuses work");
        let now_committed = self.committed[usize::from(key)];
        let holds = self.holds(key, generation);
        let had_mark = !self.is_transaction() || self.sent.contains_key(&key);
        let Some(part) = self.parts.get_mut(&key).filter(|_| holds) else { return Ok(()) };
        match outcome {
            Outcome::Persisted(mark) => {
                part.committed = mark.unwrap_or(part.committed);
                check!(part.committed == now_committed, "partition {key} believes in {part:?}, not {now_committed}");
            }
            Outcome::Refused(_) => part.note |= had_mark,
            Outcome::Restored => {
                check!(part.committed == now_committed, "restores {part:?}, but {now_committed} is committed");
                part.done = part.committed;
                part.epoch += 1;
            }
            Outcome::Unknown => {
                part.unread = true;
                part.epoch += 1;
            }
        }
        Ok(())
    }

    fn left(&mut self, keys: &[Key], settled: bool) -> Checked {
        let at = self.revokes.iter().position(|(revoked, _)| revoked == keys);
        check!(at.is_some(), "{keys:?} left without a revoke");
        at.map(|at| self.revokes.remove(at));
        for key in keys {
            let Some(part) = self.parts.get(key).filter(|part| part.leaving) else {
                check!(!settled, "settled, but partition {key} was lost");
                continue;
            };
            let persisted = part.done == part.committed && !part.note && !part.unread;
            check!(!settled || persisted, "settled, but partition {key} is {part:?}");
            self.parts.remove(key);
            self.waiting.remove(key);
        }
        Ok(())
    }

    // What lanes and partitions do.

    fn deliver(&mut self, key: Key) -> Checked {
        let out = self.waiting.contains(&key) || self.lanes.iter().any(|lane| lane.key == key);
        if out || self.parts.get(&key).is_none_or(|part| part.unread) {
            return Ok(());
        }
        self.apply(Event::PermitAsked { partition: key })
    }

    /// The lane publishes what its call gave back, settles, and gives the permit back.
    fn publish(&mut self, lane: usize, work: Work) -> Checked {
        let (lane, together) = (self.lanes.remove(lane), self.is_transaction());
        let holding = (lane.key, lane.generation);
        let current = self.parts.get_mut(&lane.key);
        let current = current.filter(|part| part.generation == lane.generation && part.epoch == lane.epoch);
        let message = current.as_ref().map_or(u64::MAX, |part| part.done);
        let mut work = work;
        if !together && current.as_ref().is_some_and(|part| part.leaving) {
            // At least once, a lane has given back what leaves and its outputs are confirmed before the revoke is told.
            work = Work::Nothing;
        }
        if together {
            match self.transaction.as_mut().filter(|transaction| !transaction.sealed) {
                // The client refuses what comes between two transactions.
                None => work = Work::Nothing,
                Some(_) if work == Work::Nothing => {}
                Some(transaction) => transaction.outputs.push((lane.key, lane.generation, message)),
            }
        }
        if let Some(part) = current.filter(|_| work == Work::Whole) {
            part.done += 1;
            part.position = part.position.max(part.done + 1);
        }
        if work != Work::Nothing && !lane.told && together {
            *self.untold.entry(holding).or_default() += 1;
        }
        self.apply(Event::PermitReturned { permit: lane.permit, work })?;
        if !together && work == Work::Whole && self.parts.contains_key(&lane.key) {
            self.apply(Event::Marked { urgent: false })?;
        }
        Ok(())
    }

    fn assign(&mut self, key: Key) -> Checked {
        // A stable fetch waits for the end of a transaction that holds an offset of the partition.
        let pending = self.transaction.as_ref().is_some_and(|transaction| transaction.offsets.contains_key(&key));
        let revoked = self.revokes.iter().any(|(keys, _)| keys.contains(&key));
        if pending || revoked || self.parts.contains_key(&key) || self.shutting_down || self.abandoned {
            return Ok(());
        }
        self.generations += 1;
        self.valid = true;
        let generation = Generation(self.generations);
        let at = self.committed[usize::from(key)];
        let part = Part {
            generation,
            leaving: false,
            done: at,
            position: at,
            committed: at,
            epoch: 0,
            unread: false,
            note: false,
            may_fall: false,
        };
        self.parts.insert(key, part);
        self.apply(Event::Assigned { partitions: vec![key], generation })
    }

    fn revoke(&mut self, keys: Vec<Key>) -> Checked {
        let deadline = self.now + Duration::from_millis(5 + self.chance.below(400));
        for key in &keys {
            if let Some(part) = self.parts.get_mut(key) {
                part.leaving = true;
            }
        }
        self.revokes.push((keys.clone(), deadline));
        self.apply(Event::Revoke { partitions: keys, deadline })
    }

    fn shut_down(&mut self) -> Checked {
        self.shutting_down = true;
        let deadline = self.now + Duration::from_millis(300);
        let keys: Vec<Key> = self.parts.iter().filter(|(_, part)| !part.leaving).map(|(key, _)| *key).collect();
        self.parts.values_mut().for_each(|part| part.leaving = true);
        if !keys.is_empty() {
            self.revokes.push((keys, deadline));
        }
        self.apply(Event::Shutdown { deadline })
    }

    fn lose(&mut self, keys: Vec<Key>) -> Checked {
        keys.iter().for_each(|key| {
            self.parts.remove(key);
            self.waiting.remove(key);
        });
        self.apply(Event::Lost { partitions: keys })
    }

    /// Another member handles a message of a partition that this one does not hold.
    fn others_go_on(&mut self, key: Key) {
        let pending = self.transaction.as_ref().is_some_and(|transaction| transaction.offsets.contains_key(&key));
        if !pending && !self.parts.contains_key(&key) {
            let message = self.committed[usize::from(key)];
            self.committed[usize::from(key)] += 1;
            self.show(key, message);
        }
    }

    fn show(&mut self, key: Key, message: u64) {
        let visible = &mut self.visible[usize::from(key)];
        // What was published for nobody's present position has no number; it must never be seen.
        let place = usize::try_from(message).unwrap_or(usize::MAX).min(1000);
        visible.resize(visible.len().max(place + 1), 0);
        visible[place] += 1;
    }

    /// An operator moves a partition (at least once).
    fn seek(&mut self, key: Key) -> Checked {
        let to = self.chance.below(6);
        let Some(part) = self.parts.get_mut(&key).filter(|part| !part.leaving) else { return Ok(()) };
        (part.done, part.position, part.may_fall) = (to, to, true);
        part.epoch += 1;
        self.hurry = true;
        self.apply(Event::Marked { urgent: true })
    }

    fn mark(&mut self, key: Key, urgent: bool) -> Checked {
        let together = self.is_transaction();
        let ready = |part: &&mut Part| !part.unread && (together || !part.leaving);
        let Some(part) = self.parts.get_mut(&key).filter(ready) else { return Ok(()) };
        part.note = true;
        self.hurry |= urgent;
        self.apply(Event::Marked { urgent })
    }

    // What clients and the coordinator answer.

    fn answer(&mut self, well: bool) -> Checked {
        let Some(call) = self.call.take() else { return Ok(()) };
        if call == Call::Persist {
            return self.answer_persist(well);
        }
        let error = [CallError::Retriable, CallError::Abortable, CallError::Fatal, CallError::TimedOut];
        let error = error[self.chance.below(4) as usize];
        if !well {
            self.fail(call, error);
            return self.apply(Event::Answered(Answer::Failed(call, error)));
        }
        let answer = match call {
            Call::Begin => {
                self.transaction = Some(Transaction::default());
                Answer::Begun
            }
            Call::Flush => Answer::Flushed,
            Call::SendOffsets => {
                self.put_offsets();
                Answer::OffsetsSent { marks: self.sent.iter().map(|(key, (_, mark))| (*key, *mark)).collect() }
            }
            Call::Commit => {
                self.commit();
                Answer::Committed
            }
            Call::Abort => {
                self.transaction = None;
                Answer::Aborted
            }
            Call::Init => {
                self.transaction = None;
                self.clean = true;
                Answer::Renewed
            }
            Call::Fetch => {
                let unread = self.parts.iter().filter(|(_, part)| part.unread).map(|(key, _)| *key);
                let mut keys: Vec<Key> = unread.collect();
                if self.chance.percent(20) {
                    keys.pop();
                }
                keys.iter().for_each(|key| self.reread(*key));
                Answer::Fetched { partitions: keys }
            }
            Call::Persist => unreachable!("answered above"),
        };
        self.apply(Event::Answered(answer))
    }

    fn put_offsets(&mut self) {
        let sent = self.sent.clone();
        if let Some(transaction) = &mut self.transaction {
            transaction.offsets = sent;
        }
    }

    fn commit(&mut self) {
        for (key, _, message) in
            self.transaction.iter().flat_map(|transaction| transaction.outputs.clone()).collect::<Vec<_>>()
        {
            self.show(key, message);
        }
        for (key, (_, mark)) in self.transaction.take().into_iter().flat_map(|transaction| transaction.offsets) {
            self.committed[usize::from(key)] = mark;
        }
    }

    /// A call that failed may have been carried out all the same.
    fn fail(&mut self, call: Call, error: CallError) {
        let done = self.chance.percent(50);
        let again = error == CallError::Retriable && matches!(call, Call::SendOffsets | Call::Commit | Call::Abort);
        // The coordinator is asked with another client.
        self.clean &= again || call == Call::Fetch;
        match call {
            Call::SendOffsets if done => self.put_offsets(),
            Call::Commit if done && !again => self.commit(),
            Call::Abort if done && !again => self.transaction = None,
            _ => {}
        }
    }

    fn reread(&mut self, key: Key) {
        let committed = self.committed[usize::from(key)];
        if let Some(part) = self.parts.get_mut(&key) {
            (part.done, part.committed, part.unread, part.note) = (committed, committed, false, false);
            part.epoch += 1;
        }
    }

    fn answer_persist(&mut self, well: bool) -> Checked {
        let refusals = [Refusal::Again, Refusal::Closed, Refusal::Other];
        let whole = self.chance.percent(50);
        let mut results = Vec::new();
        for (key, (generation, mark)) in std::mem::take(&mut self.sent) {
            // Its generation is over: the coordinator refuses it.
            if !self.holds(key, generation) {
                results.push((key, Err(Refusal::Closed)));
            } else if !well && (whole || self.chance.percent(50)) {
                results.push((key, Err(refusals[self.chance.below(3) as usize])));
                if let Some(part) = self.parts.get_mut(&key) {
                    part.may_fall |= self.falling.contains(&key);
                }
            } else {
                let auto = matches!(self.mode(), Some(CommitMode::Auto(_)));
                let before = std::mem::replace(&mut self.committed[usize::from(key)], mark);
                let falls = self.falling.contains(&key);
                check!(mark >= before || falls || auto, "partition {key} falls from {before} to {mark}");
                results.push((key, Ok(mark)));
            }
        }
        let waiting = self.chance.percent(30);
        self.hurry |= waiting;
        self.apply(Event::Answered(Answer::Persisted { results, waiting }))
    }

    // Histories.

    fn step(&mut self) -> Checked {
        let key = self.chance.below(u64::from(KEYS)) as Key;
        match self.chance.below(100) {
            0..25 => self.deliver(key)?,
            25..43 if !self.lanes.is_empty() => {
                let lane = self.chance.below(self.lanes.len() as u64) as usize;
                let work = match self.chance.below(20) {
                    0 => Work::Torn,
                    1 | 2 => Work::Nothing,
                    _ => Work::Whole,
                };
                self.publish(lane, work)?;
            }
            25..63 => {
                let well = self.chance.percent(75);
                self.answer(well)?;
            }
            63..68 => self.assign(key)?,
            68..72 => {
                let urgent = self.chance.percent(40);
                self.mark(key, urgent)?;
            }
            72..75 => {
                let keys: Vec<Key> = self.parts.iter().filter(|(_, part)| !part.leaving).map(|(key, _)| *key).collect();
                let from = keys.len().min(self.chance.below(3) as usize);
                self.revoke(keys[from..].to_vec())?;
            }
            75..77 => self.lose(vec![key])?,
            77..79 => {
                self.valid = self.chance.percent(60);
                self.apply(Event::GenerationChanged { valid: self.valid })?;
            }
            79..81 if self.is_transaction() => self.report_fails()?,
            81..82 if self.is_transaction() => {
                self.clean = false;
                self.apply(Event::Doubtful)?;
            }
            79..82 => self.seek(key)?,
            82..84 => self.apply(Event::EndAsked(Why::Window))?,
            84..88 => self.others_go_on(key),
            88..97 => {
                let millis = self.chance.below(60);
                self.pass(millis);
            }
            97..99 => self.pass(700),
            99 if self.chance.percent(15) && !self.shutting_down => self.shut_down()?,
            _ => self.pass(2_500),
        }
        Ok(())
    }

    fn report_fails(&mut self) -> Checked {
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        if transaction.sealed {
            // The abort purges what is left, and a commit refuses by itself.
            return self.apply(Event::ReportFailed);
        }
        if transaction.outputs.pop().is_none() {
            return Ok(());
        }
        transaction.refused = true;
        self.clean = false;
        self.apply(Event::ReportFailed)
    }

    fn check_visible(&self) -> Checked {
        for (key, visible) in self.visible.iter().enumerate().filter(|_| self.is_transaction()) {
            let committed = self.committed[key] as usize;
            let once = visible.len() == committed && visible.iter().all(|times| *times == 1);
            check!(once, "partition {key} is committed below {committed}, and {visible:?} is visible");
        }
        Ok(())
    }

    fn go(&mut self, steps: u64) -> Checked {
        for key in 0..KEYS {
            self.assign(key)?;
        }
        self.settle()?;
        if self.is_transaction() && self.chance.percent(95) {
            self.answer(true)?;
        }
        for _ in 0..steps {
            if self.stopped || self.abandoned {
                break;
            }
            self.step()?;
            self.settle()?;
            self.check_visible()?;
        }
        self.calm_down()
    }

    /// Faults cease: everything is persisted, within a bounded number of steps.
    fn calm_down(&mut self) -> Checked {
        self.note(|| "calm".to_owned());
        if self.abandoned {
            return self.late_answer();
        }
        self.valid = true;
        self.apply(Event::GenerationChanged { valid: true })?;
        for round in 0..60 {
            while !self.lanes.is_empty() {
                self.publish(0, Work::Whole)?;
            }
            self.settle()?;
            if self.call.is_some() {
                self.answer(true)?;
            }
            self.settle()?;
            self.check_visible()?;
            if round == 30 && !self.shutting_down {
                // Without anything new, so that nothing new takes along what was forgotten.
                self.check_persisted()?;
                for key in 0..KEYS {
                    self.assign(key)?;
                    self.deliver(key)?;
                }
            }
            if let (None, When::At(at)) = (self.call, self.slice.due(self.now)) {
                let rest = (at - self.now).min(Duration::from_secs(1));
                self.now += rest;
                self.note(|| format!("  {rest:?} pass"));
            }
        }
        self.check_calm()
    }

    fn check_calm(&self) -> Checked {
        check!(self.revokes.is_empty(), "a revoke is never answered");
        check!(self.untold.is_empty(), "nobody hears what became of {:?}", self.untold);
        if self.shutting_down {
            check!(self.stopped && self.call.is_none(), "never stops");
            return Ok(());
        }
        check!(self.waiting.is_empty(), "lanes wait for ever: {:?}", self.waiting);
        check!(self.parts.len() == usize::from(KEYS), "{:?}", self.parts);
        self.check_persisted()
    }

    fn check_persisted(&self) -> Checked {
        for (key, part) in &self.parts {
            let next = match self.mode() {
                Some(CommitMode::Auto(_)) => part.position,
                _ => part.done,
            };
            let committed = self.committed[usize::from(*key)];
            check!(next == committed && part.committed == committed, "partition {key} is never persisted: {part:?}");
            check!(!part.note && !part.unread, "a note of partition {key} is never persisted: {part:?}");
        }
        Ok(())
    }

    /// The call that was given up on comes back, however it went.
    fn late_answer(&mut self) -> Checked {
        check!(self.revokes.is_empty(), "a revoke is not answered");
        check!(self.slice.phase() == Phase::Overdue, "abandoned, but {:?}", self.slice.phase());
        while !self.lanes.is_empty() {
            self.publish(0, Work::Whole)?;
        }
        self.deliver(0)?;
        self.settle()?;
        let well = self.chance.percent(50);
        self.answer(well)?;
        self.settle()?;
        check!(self.call.is_none() && self.slice.phase() == Phase::Dead, "a call is made for nobody");
        self.check_visible()
    }
}

/// Runs histories of 10 to 40 events and says which phases came up after any event.
fn run(promise: Promise, histories: u64) -> [bool; 12] {
    let mut seen = [false; 12];
    for seed in 1..=histories {
        let steps = 10 + seed % 31;
        let mut world = World::new(promise, seed, false);
        if world.go(steps).is_err() {
            let mut world = World::new(promise, seed, true);
            let error = world.go(steps).expect_err("a seed says everything");
            panic!("history {seed} of {promise:?}: {error}\n{}", world.trace.unwrap_or_default().join("\n"));
        }
        (0..12).for_each(|phase| seen[phase] |= world.seen[phase]);
    }
    seen
}

#[test]
fn in_every_history_outputs_and_offsets_are_visible_together_and_once() {
    let (interval, deadline) = (Duration::from_millis(100), Duration::from_millis(300));
    let seen = run(Promise::Transaction { interval, deadline }, 100_000);
    assert_eq!(seen, [true; 12], "a phase never came up");
}

#[test]
fn in_every_history_what_is_complete_is_committed_in_order_and_for_nobody_else() {
    run(Promise::AtLeastOnce(CommitMode::Manual { min_interval: Duration::from_millis(50) }), 15_000);
    run(Promise::AtLeastOnce(CommitMode::Sync), 10_000);
    run(Promise::AtLeastOnce(CommitMode::Interval(Duration::from_millis(300))), 15_000);
    run(Promise::AtLeastOnce(CommitMode::Auto(Duration::from_millis(300))), 10_000);
}
