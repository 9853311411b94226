//! Exactly once: what calls publish, what they complete and the offsets go into one transaction at a time.
//!
//! The errors of a call lead where librdkafka's error says: an abortable one to an abort, a retriable one to the same
//! call again, every other one to a new client. A slice whose commit was asked for is never aborted by a call: whether
//! that commit took place only the coordinator knows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::holdings::{Held, Holdings, Marks, Permit};
use super::{Action, Call, Phase, Why, Work};

mod calls;

/// Before a call is made again that may succeed then, and after a slice that was not committed.
const PAUSE: Duration = Duration::from_millis(50);
/// After a client that could not be made; doubled with each.
const PAUSE_INIT: Duration = Duration::from_millis(200);
const MOST_PAUSE_INIT: Duration = Duration::from_secs(10);
/// A note or an idle position waits so long for a slice with outputs: each transaction is a marker that readers see as a
/// gap, and a pipeline behind this one would make one of its own for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The interval grows up to this while ending takes more than a fifth of the time.
const MOST_INTERVAL: Duration = Duration::from_secs(1);
/// A call is given the time it may take. One that is not back so long after that does not come back.
const GRACE: Duration = Duration::from_secs(1);

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Let those go that leave: nothing of theirs is left to persist.
    LetGo,
    /// Lanes that were told to wait need not any more.
    AskAgain,
    Begin,
    End(Why),
    /// All permits are back, and the end has time until then.
    Settled(Instant),
    /// They are not, and it is time.
    GiveUp,
    Again,
    Init,
    Fetch,
    Stop,
}

/// A call that may have to be made again.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    deadline: Instant,
    /// When it is made again; `None` while it is on its way.
    again: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Idle,
    Beginning,
    /// `since` the first permit of this slice.
    Open {
        since: Option<Instant>,
        end: Option<Why>,
    },
    Ending {
        deadline: Instant,
        flushing: bool,
    },
    Offsetting(Attempt),
    Committing(Attempt),
    Aborting(Attempt),
    Unknown {
        until: Instant,
    },
    Renewing {
        deadline: Instant,
    },
    /// When the coordinator is asked again; `None` while an answer is awaited.
    Rereading {
        again: Option<Instant>,
    },
    Overdue,
    Dead,
}

#[derive(Debug)]
pub struct Transaction<K, M> {
    interval: Duration,
    deadline: Duration,
    state: State,
    /// What has outputs or completions in this slice.
    content: BTreeSet<Held<K>>,
    /// What was asked for its marks.
    listed: BTreeMap<K, Held<K>>,
    marks: BTreeMap<Held<K>, M>,
    /// What was marked and goes with this slice.
    taken: Marks,
    /// The slice must not be committed.
    doomed: bool,
    /// The client must not begin another one.
    unclean: bool,
    has_client: bool,
    /// The client that is to be replaced may have left a transaction open.
    left_open: bool,
    /// Whose committed offsets have to be read.
    unread: BTreeSet<Held<K>>,
    /// A lane was told to wait.
    wanted: bool,
    /// No slice begins before, but for one that others wait for.
    rested: Instant,
    ending_since: Instant,
    last_end: Duration,
    inits_failed: u32,
}

impl<K: Clone + Ord, M> Transaction<K, M> {
    pub fn new(interval: Duration, deadline: Duration, now: Instant) -> Self {
        Self {
            interval,
            deadline,
            state: State::Unknown { until: now },
            content: BTreeSet::new(),
            listed: BTreeMap::new(),
            marks: BTreeMap::new(),
            taken: Marks::default(),
            doomed: false,
            unclean: false,
            has_client: false,
            left_open: false,
            unread: BTreeSet::new(),
            wanted: false,
            rested: now,
            ending_since: now,
            last_end: Duration::ZERO,
            inits_failed: 0,
        }
    }

    pub fn phase(&self) -> Phase {
        match self.state {
            State::Idle => Phase::Idle,
            State::Beginning => Phase::Beginning,
            State::Open { .. } => Phase::Open,
            State::Ending { .. } => Phase::Ending,
            State::Offsetting(_) => Phase::Offsetting,
            State::Committing(_) => Phase::Committing,
            State::Aborting(_) => Phase::Aborting,
            State::Unknown { .. } => Phase::Unknown,
            State::Renewing { .. } => Phase::Renewing,
            State::Rereading { .. } => Phase::Rereading,
            State::Overdue => Phase::Overdue,
            State::Dead => Phase::Dead,
        }
    }

    /// To which call an answer has to come.
    pub fn awaited(&self) -> Option<Call> {
        match &self.state {
            State::Beginning => Some(Call::Begin),
            State::Ending { flushing: true, .. } => Some(Call::Flush),
            State::Offsetting(Attempt { again: None, .. }) => Some(Call::SendOffsets),
            State::Committing(Attempt { again: None, .. }) => Some(Call::Commit),
            State::Aborting(Attempt { again: None, .. }) => Some(Call::Abort),
            State::Renewing { .. } => Some(Call::Init),
            State::Rereading { again: None } => Some(Call::Fetch),
            State::Ending { flushing: false, .. }
            | State::Offsetting(_)
            | State::Committing(_)
            | State::Aborting(_)
            | State::Rereading { .. } => None,
            State::Idle | State::Open { .. } | State::Unknown { .. } | State::Overdue | State::Dead => None,
        }
    }

    pub fn involves(&self, holdings: &Holdings<K>, partition: &K) -> bool {
        let permits = holdings.permits.values().map(|permit| &permit.held);
        self.content.iter().chain(&self.unread).chain(permits).any(|(key, _)| key == partition)
    }

    /// Whether a permit can be had.
    pub fn admit(&mut self, holdings: &Holdings<K>) -> bool {
        // Not between the end's being due and the thread's noticing: a busy lane could put it off for ever.
        let ends = self.next(holdings).is_some_and(|(at, step)| at <= holdings.now && step != Step::AskAgain);
        match &mut self.state {
            State::Open { since, .. } if !ends => {
                since.get_or_insert(holdings.now);
                true
            }
            _ => {
                self.wanted = true;
                false
            }
        }
    }

    pub fn returned(&mut self, holdings: &Holdings<K>, permit: Permit<K>, work: Work) {
        if permit.late {
            // Its slice is over, and the partition was told what became of it.
            return;
        }
        match work {
            Work::Nothing => {
                if let State::Open { since, .. } = &mut self.state
                    && self.content.is_empty()
                    && holdings.permits.is_empty()
                {
                    *since = None;
                }
            }
            Work::Whole => {
                self.content.insert(permit.held);
            }
            Work::Torn => {
                self.content.insert(permit.held);
                self.doomed = true;
            }
        }
    }

    pub fn end_asked(&mut self, holdings: &Holdings<K>, why: Why) {
        let empty = self.is_empty(holdings);
        match &mut self.state {
            State::Open { end, .. } if !empty => {
                end.get_or_insert(why);
            }
            // It ends already, or there is nothing in it.
            _ => {}
        }
    }

    pub fn report_failed(&mut self) {
        match self.state {
            State::Open { .. } | State::Ending { .. } | State::Offsetting(_) => {
                self.doomed = true;
                self.unclean = true;
            }
            // The commit refuses by itself.
            State::Committing(_) => {}
            // Purged by the abort, or of a client that is gone.
            State::Aborting(_) | State::Unknown { .. } | State::Renewing { .. } | State::Rereading { .. } => {}
            State::Idle | State::Beginning | State::Overdue | State::Dead => {}
        }
    }

    pub fn doubt(&mut self) {
        match self.state {
            State::Idle => self.state = State::Unknown { until: self.rested },
            State::Beginning | State::Open { .. } | State::Ending { .. } => self.unclean = true,
            State::Offsetting(_) | State::Committing(_) | State::Aborting(_) => self.unclean = true,
            State::Rereading { .. } => self.unclean = true,
            // It is being replaced.
            State::Unknown { .. } | State::Renewing { .. } => {}
            State::Overdue | State::Dead => {}
        }
    }

    /// Partitions leave. While nothing can be persisted they need not wait for that to change.
    pub fn leaves_came(&mut self, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        match &mut self.state {
            State::Unknown { .. } | State::Renewing { .. } | State::Rereading { .. } | State::Overdue | State::Dead => {
                let marked = holdings.marks.any.is_some();
                let unread = &self.unread;
                holdings.let_go_all(|key| !marked && !unread.iter().any(|(unread, _)| unread == key), actions);
            }
            State::Ending { deadline, flushing: false } => {
                *deadline = holdings.first_deadline().map_or(*deadline, |first| first.min(*deadline));
            }
            // They are let go at the end of the slice, or after one for them alone.
            State::Idle | State::Beginning | State::Open { .. } => {}
            // A call that is on its way was told how long it may take.
            State::Ending { flushing: true, .. } => {}
            State::Offsetting(_) | State::Committing(_) | State::Aborting(_) => {}
        }
    }

    /// When a call that is on its way counts as one that does not come back.
    pub fn overdue_at(&self) -> Option<Instant> {
        match &self.state {
            State::Ending { deadline, flushing: true } | State::Renewing { deadline } => Some(*deadline + GRACE),
            State::Offsetting(attempt) | State::Committing(attempt) | State::Aborting(attempt) => {
                attempt.again.is_none().then_some(attempt.deadline + GRACE)
            }
            // Begin is local, and the coordinator is asked with a client that can be left.
            State::Beginning | State::Rereading { .. } => None,
            State::Idle | State::Open { .. } | State::Ending { .. } | State::Unknown { .. } => None,
            State::Overdue | State::Dead => None,
        }
    }

    pub fn expire(&mut self, holdings: &mut Holdings<K>, actions: &mut Vec<Action<K, M>>) {
        if self.overdue_at().is_some_and(|at| at <= holdings.now) {
            self.tell_unknown(holdings, actions);
            holdings.let_go_all(|_| false, actions);
            actions.push(Action::Abandon(holdings.lose_all()));
            self.over(holdings);
            self.unread.clear();
            self.state = State::Overdue;
        }
    }

    fn is_empty(&self, holdings: &Holdings<K>) -> bool {
        self.content.is_empty() && holdings.permits.is_empty()
    }

    /// Whether something of a partition that is no longer held is in the slice: leaving out its offset alone would double
    /// its outputs.
    fn has_stray(&self, holdings: &Holdings<K>) -> bool {
        let permits = holdings.permits.values().map(|permit| &permit.held);
        self.content.iter().chain(self.listed.values()).chain(permits).any(|held| !holdings.holds(held))
    }

    fn is_doomed(&self, holdings: &Holdings<K>) -> bool {
        self.doomed || self.has_stray(holdings)
    }

    fn pace(&self) -> Duration {
        self.interval.max(self.last_end * 4).min(self.interval.max(MOST_INTERVAL))
    }

    pub fn next(&self, holdings: &Holdings<K>) -> Option<(Instant, Step)> {
        match &self.state {
            State::Idle => self.next_idle(holdings),
            State::Open { since, end } => self.next_open(holdings, *since, *end),
            State::Ending { flushing: true, .. } => None,
            State::Ending { deadline, .. } if !holdings.permits.is_empty() => Some((*deadline, Step::GiveUp)),
            State::Ending { deadline, .. } => Some((holdings.now, Step::Settled(*deadline))),
            State::Offsetting(attempt) | State::Committing(attempt) | State::Aborting(attempt) => {
                Some((attempt.again?, Step::Again))
            }
            // A transaction that is left open holds up its readers until it times out, so one try is made to end it.
            State::Unknown { .. } if holdings.stopping && (!self.left_open || self.inits_failed > 0) => {
                Some((holdings.now, Step::Stop))
            }
            State::Rereading { again: Some(_) } if holdings.stopping => Some((holdings.now, Step::Stop)),
            State::Unknown { until } => Some((*until, Step::Init)),
            State::Rereading { again } => Some(((*again)?, Step::Fetch)),
            State::Beginning | State::Renewing { .. } | State::Overdue | State::Dead => None,
        }
    }

    fn next_idle(&self, holdings: &Holdings<K>) -> Option<(Instant, Step)> {
        let now = holdings.now;
        if !holdings.permits.is_empty() {
            // Of a slice that was given up: what its lane still sends must not go into another one.
            return None;
        }
        if holdings.leaves() {
            let due = holdings.marks.any.is_some() && holdings.valid;
            return Some((now, if due { Step::Begin } else { Step::LetGo }));
        }
        if holdings.stopping {
            return Some((now, Step::Stop));
        }
        if holdings.is_empty() || !holdings.valid {
            return None;
        }
        let marked = holdings.marks.any.map(|at| at + PATIENCE);
        let wanted = self.wanted.then_some(now);
        let begin = wanted.into_iter().chain(holdings.marks.urgent).chain(marked).min()?;
        Some((begin.max(self.rested), Step::Begin))
    }

    fn next_open(&self, holdings: &Holdings<K>, since: Option<Instant>, end: Option<Why>) -> Option<(Instant, Step)> {
        let now = holdings.now;
        let empty = self.is_empty(holdings);
        if self.is_doomed(holdings) {
            return Some((now, Step::End(Why::Doomed)));
        }
        if holdings.leaves() {
            let nothing = empty && holdings.marks.any.is_none();
            return Some((now, if nothing { Step::LetGo } else { Step::End(Why::Leaving) }));
        }
        if holdings.stopping {
            return Some((now, Step::Stop));
        }
        let asked = end.map(|why| (now, Step::End(why)));
        let interval = since.filter(|_| !empty).map(|since| (since + self.pace(), Step::End(Why::Interval)));
        let urgent = holdings.marks.urgent.map(|at| (at, Step::End(Why::Urgent)));
        let marked = holdings.marks.any.map(|at| (at + PATIENCE, Step::End(Why::Marked)));
        let wanted = self.wanted.then_some((now, Step::AskAgain));
        // Of those for the same time the first counts.
        [asked, urgent, interval, marked, wanted].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}
