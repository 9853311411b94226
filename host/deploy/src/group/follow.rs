//! A process that follows what its group agrees on: it gets ready for what is asked, swaps when that is decided, and says
//! so. One thread, one step at a time; only getting ready, which may take minutes, has a thread of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use wasmill_core::VersionNote;
use wasmill_kafka::TopicPartition;

use super::accord::Attempt;
use super::control::{CLUSTER_TIMEOUT, Control, INITIATOR_HEAD_START, READER_RETRY_DELAY};
use super::record::{self, Answer, Key, Named, Refused, Said, Standing};
use crate::explain;

/// How often it looks without being told.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// What the agreement of a group needs of a pipeline.
pub trait Runner: Send + Sync + 'static {
    /// A version that passed the gate and can be switched to.
    type Ready: Send + 'static;

    /// Lets a version pass the gate. May take minutes.
    fn prepare(&self, bytes: Vec<u8>, source: &str, by: &str) -> Result<Self::Ready, Refused>;
    /// Every lane passes on to it. How long the one stood still that did longest, in microseconds.
    fn switch(&self, ready: Self::Ready, epoch: u64) -> Result<u64, Refused>;
    /// The ids of its members in the group.
    fn members(&self) -> Vec<String>;
    /// The partitions it holds that are handed to the version of this epoch, and the first offset each got.
    fn serving(&self, epoch: u64) -> Vec<(TopicPartition, VersionNote)>;
    /// The epochs of later versions that partitions wait for.
    fn behind(&self) -> Vec<u64>;
    /// There is no version of this epoch: a partition that waits for it need not.
    fn disown(&self, epoch: u64);
    /// It can go on no longer.
    fn fail(&self, reason: String);
    /// Whether it is on its way out of the group. Its partitions go to those that stay, so it has no say any more.
    fn is_ending(&self) -> bool;
}

/// A process and what it has said.
pub struct Follower<R: Runner> {
    control: Arc<Control>,
    runner: Arc<R>,
    /// The epoch of the version that it runs.
    runs: u64,
    ready: Option<(String, R::Ready)>,
    getting_ready: Option<Job<R>>,
    /// What it refused, so that it is not tried again for the same ask.
    answer: Option<Answer>,
    firsts: BTreeMap<(String, i32), i64>,
    pause_us: u64,
    said: Said,
    /// The ask that is open, and since when it is known here.
    open: Option<(u64, Instant)>,
    rests_until: Option<Instant>,
    looked: Option<Instant>,
}

/// A version on its way through the gate.
struct Job<R: Runner> {
    digest: String,
    done: mpsc::Receiver<Result<R::Ready, Refused>>,
}

impl<R: Runner> Follower<R> {
    /// Follows from now on, on a thread of its own; the process runs the version of the epoch `runs`.
    pub fn start(control: Arc<Control>, runner: Arc<R>, runs: u64) -> std::io::Result<()> {
        let name = format!("{}-group", control.pipeline);
        let mut follower = Self {
            control,
            runner,
            runs,
            ready: None,
            getting_ready: None,
            answer: None,
            firsts: BTreeMap::new(),
            pause_us: 0,
            said: Said::default(),
            open: None,
            rests_until: None,
            looked: None,
        };
        thread::Builder::new().name(name).spawn(move || follower.run()).map(drop)
    }

    fn run(&mut self) {
        while !self.control.is_stopped() {
            self.step();
            self.control.wait(CHECK_INTERVAL);
        }
        // Nobody need wait for it any more.
        let _ = self.control.write(&Key::Said(self.control.process.clone()), None);
    }

    fn step(&mut self) {
        let (standing, open) = {
            let books = self.control.books();
            (books.accord.standing().cloned(), books.accord.open().cloned())
        };
        self.take_ready();
        let current = standing.as_ref().map(|standing| &standing.current).filter(|current| current.epoch > self.runs);
        match (current, &open) {
            _ if self.runner.is_ending() => {}
            // First to what is agreed on: whoever is ready for the next version has left all earlier ones behind, so no
            // process is ever more than one behind.
            (Some(current), _) => self.pass_on(current),
            (None, Some(open)) => self.answer(open),
            (None, None) => self.ready = None,
        }
        self.look_after(open.as_ref(), standing);
        self.say();
        self.look_behind();
    }

    /// Takes what has passed the gate, or not.
    fn take_ready(&mut self) {
        let Some(job) = &self.getting_ready else { return };
        let result = match job.done.try_recv() {
            Ok(result) => result,
            Err(mpsc::TryRecvError::Empty) => return,
            Err(mpsc::TryRecvError::Disconnected) => {
                Err(Refused { gate: "compile".to_owned(), reason: "the thread that got it ready panicked".to_owned() })
            }
        };
        let Some(Job { digest, .. }) = self.getting_ready.take() else { return };
        match result {
            Ok(ready) => self.ready = Some((digest, ready)),
            Err(refused) => self.refused(&digest, refused),
        }
    }

    /// A version did not pass the gate. One that is only asked for is refused. One that is agreed on has to be run: this
    /// process gives its partitions to those that can.
    fn refused(&mut self, digest: &str, refused: Refused) {
        // Whoever leaves in the middle of a swap would else refuse it for all the others.
        if self.runner.is_ending() {
            return;
        }
        let (current, open) = {
            let books = self.control.books();
            (books.accord.current().cloned(), books.accord.open().cloned())
        };
        if let Some(current) = current.filter(|current| current.epoch > self.runs && current.digest == digest) {
            let Refused { gate, reason } = refused;
            self.runner.fail(format!(
                "the group runs version {}, which is refused here at the gate `{gate}`: {reason}",
                current.digest
            ));
            self.runs = current.epoch;
        } else if let Some(open) = open.filter(|open| open.asked.digest == digest) {
            self.answer = Some(Answer { epoch: open.epoch, refused: Some(refused) });
        }
    }

    fn get_ready(&mut self, digest: &str, source: &str, by: &str) {
        // One at a time; what is not wanted any more is dropped when it is done.
        if self.getting_ready.is_some() {
            return;
        }
        self.ready = None;
        let (done, receiver) = mpsc::channel();
        let (control, runner) = (self.control.clone(), self.runner.clone());
        let (name, wanted, source, by) =
            (format!("{}-ready", control.pipeline), digest.to_owned(), source.to_owned(), by.to_owned());
        let spawned = thread::Builder::new().name(name).spawn(move || {
            let bytes =
                control.fetch(&wanted).map_err(|error| Refused { gate: "fetch".to_owned(), reason: explain(&error) });
            let _ = done.send(bytes.and_then(|bytes| runner.prepare(bytes, &source, &by)));
        });
        match spawned {
            Ok(_) => self.getting_ready = Some(Job { digest: digest.to_owned(), done: receiver }),
            Err(error) => self.refused(digest, Refused { gate: "compile".to_owned(), reason: error.to_string() }),
        }
    }

    /// Swaps to what is agreed on.
    fn pass_on(&mut self, current: &Named) {
        match self.ready.take_if(|(digest, _)| *digest == current.digest) {
            Some((digest, ready)) => match self.runner.switch(ready, current.epoch) {
                Ok(pause_us) => {
                    self.runs = current.epoch;
                    self.pause_us = pause_us;
                    self.firsts.clear();
                    tracing::info!(pipeline = %self.control.pipeline, epoch = current.epoch, plugin = digest, "passed on with the group");
                }
                Err(refused) => self.refused(&digest, refused),
            },
            None => self.get_ready(&current.digest, &current.source, "the group"),
        }
    }

    /// Gets ready for what is asked, and says so.
    fn answer(&mut self, open: &Attempt) {
        if self.answer.as_ref().is_some_and(|answer| answer.epoch == open.epoch) {
            return;
        }
        if self.ready.as_ref().is_some_and(|(digest, _)| *digest == open.asked.digest) {
            self.answer = Some(Answer { epoch: open.epoch, refused: None });
        } else {
            self.get_ready(&open.asked.digest, &open.asked.source, &open.asked.by);
        }
    }

    /// Ends an ask that nobody settles: who asked for it is gone.
    fn look_after(&mut self, open: Option<&Attempt>, standing: Option<Standing>) {
        let Some(open) = open else {
            self.open = None;
            return;
        };
        let (_, since) = match self.open.filter(|(epoch, _)| *epoch == open.epoch) {
            Some(known) => known,
            None => *self.open.insert((open.epoch, Instant::now())),
        };
        if since.elapsed() < self.control.timeout + INITIATOR_HEAD_START {
            return;
        }
        let reason = format!(
            "{}, which asked, did not settle it within {}",
            open.process,
            humantime::format_duration(self.control.timeout)
        );
        let standing = standing.unwrap_or_else(|| open.asked.standing.clone());
        match self.control.decide(open.epoch, false, standing, Some(reason)) {
            // Until it is read back.
            Ok(()) => self.open = Some((open.epoch, Instant::now())),
            Err(error) => {
                tracing::warn!(pipeline = %self.control.pipeline, %error, "cannot give up a swap of the group; trying again");
            }
        }
    }

    /// Says what has changed.
    fn say(&mut self) {
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        for (id, note) in self.runner.serving(self.runs) {
            let place = (id.topic.to_string(), id.partition);
            let known = {
                let books = self.control.books();
                books.accord.firsts(self.runs).and_then(|firsts| firsts.get(&place).copied())
            };
            if known.is_none_or(|known| note.first < known) {
                self.firsts.entry(place).or_insert(note.first);
            }
        }
        let now = Said {
            seq: self.said.seq,
            runs: self.runs,
            members: self.runner.members(),
            answer: self.answer.clone(),
            firsts: self.firsts.iter().map(|((topic, partition), first)| (topic.clone(), *partition, *first)).collect(),
            pause_us: self.pause_us,
        };
        // What another process deleted because it took this one for gone is said again.
        let heard = self.said.seq > 0 && (self.control.books().accord.of(&self.control.process).is_some());
        if now == self.said && heard {
            return;
        }
        let now = Said { seq: self.said.seq + 1, ..now };
        match self.control.write(&Key::Said(self.control.process.clone()), Some(record::encode(&now))) {
            Ok(offset) => {
                self.said = now;
                // Read back before the next look: else it would seem deleted.
                self.control.wait_until(CLUSTER_TIMEOUT, |books| (books.accord.read_to() > offset).then_some(()));
            }
            Err(error) => {
                tracing::warn!(pipeline = %self.control.pipeline, %error, "cannot write to the control topic; trying again");
                self.rests_until = Some(Instant::now() + READER_RETRY_DELAY);
            }
        }
    }

    /// Partitions that wait for a version which this control topic never had: it was deleted and made again.
    fn look_behind(&mut self) {
        let later: Vec<u64> = self.runner.behind().into_iter().filter(|epoch| *epoch > self.runs).collect();
        if later.is_empty() || self.looked.is_some_and(|looked| looked.elapsed() < READER_RETRY_DELAY) {
            return;
        }
        self.looked = Some(Instant::now());
        // A note names a version only after that was decided, so whoever has read to the end of now has met the decision.
        if self.control.catch_up(CLUSTER_TIMEOUT).is_err() {
            return;
        }
        let current = self.control.books().accord.current().map_or(0, |current| current.epoch);
        for epoch in later.into_iter().filter(|epoch| *epoch > current) {
            tracing::warn!(
                pipeline = %self.control.pipeline, epoch, topic = %self.control.topic,
                "a partition was handled by a version that the control topic does not know; it was made again"
            );
            self.runner.disown(epoch);
        }
    }
}
