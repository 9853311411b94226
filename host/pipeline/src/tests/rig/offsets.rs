//! A coordinator that answers as the test says.

use std::collections::VecDeque;
use std::sync::mpsc;

use parking_lot::Mutex;
use wasmill_core::CommitNote;
use wasmill_kafka::{CommitEntry, CommitError, CommitRefusal};

use super::soon;
use crate::io::Offsets;

/// What it says to a commit.
pub enum Says {
    /// To the whole request: no.
    Fails(CommitError),
    /// It refuses the partition with this number alone.
    Refuses(i32, CommitError),
}

/// While a commit is under way: tells the test that it has come, and waits for its leave.
type Gate = (mpsc::Sender<()>, mpsc::Receiver<()>);

#[derive(Default)]
pub struct Coordinator {
    says: Mutex<VecDeque<Says>>,
    asked: Mutex<Vec<String>>,
    gate: Mutex<Option<Gate>>,
}

impl Coordinator {
    /// To the next commit it says this; to those without a word, yes.
    pub fn says(&self, what: Says) {
        self.says.lock().push_back(what);
    }

    /// The next commit tells that it has come, and waits, as for the answer to an earlier one. It goes out once it is let go.
    pub fn holds_next(&self) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (came, comes) = mpsc::channel();
        let (go, goes) = mpsc::channel();
        *self.gate.lock() = Some((came, goes));
        (comes, go)
    }

    /// What it was asked to persist, a line for each commit: `0@7`, with ` retry 7#1`, ` done 9-9`, ` version 4 from 7`
    /// and ` topic id` where the note says so; partitions are divided by `; `.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    /// The last of them.
    pub fn last(&self) -> String {
        self.asked.lock().last().cloned().unwrap_or_default()
    }
}

fn line(entry: &CommitEntry) -> String {
    let CommitNote { topic_id, retry, done, version } = CommitNote::decode(&entry.note);
    let mut line = format!("{}@{}", entry.id.partition, entry.next.get());
    if let Some(retry) = retry {
        line += &format!(" retry {}#{}", retry.offset, retry.attempts);
    }
    for (first, last) in done.ranges() {
        line += &format!(" done {}-{}", first.0, last.0);
    }
    if let Some(version) = version {
        line += &format!(" version {} from {}", version.epoch, version.first);
    }
    if let Some(id) = topic_id {
        line += &format!(" topic {id}");
    }
    line
}

impl Offsets for Coordinator {
    fn persist(
        &self,
        entries: &[CommitEntry],
        held: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<CommitRefusal>, CommitError> {
        if let Some((came, goes)) = self.gate.lock().take() {
            came.send(()).expect("the test waits for it");
            soon(&goes);
        }
        let (sent, left_out): (Vec<_>, Vec<_>) = entries.iter().enumerate().partition(|(place, _)| held(*place));
        let refusal = |entry: &CommitEntry, error| CommitRefusal { id: entry.id.clone(), error };
        let mut refused: Vec<_> = left_out.into_iter().map(|(_, entry)| refusal(entry, closed())).collect();
        if sent.is_empty() {
            return Ok(refused);
        }
        self.asked.lock().push(sent.iter().map(|(_, entry)| line(entry)).collect::<Vec<_>>().join("; "));
        match self.says.lock().pop_front() {
            None => Ok(refused),
            Some(Says::Fails(error)) => Err(error),
            Some(Says::Refuses(number, error)) => {
                let theirs = sent.iter().filter(|(_, entry)| entry.id.partition == number);
                refused.extend(theirs.map(|(_, entry)| refusal(entry, error.clone())));
                Ok(refused)
            }
        }
    }
}

/// Not now.
pub fn again() -> CommitError {
    CommitError::Again { code: "REBALANCE".to_owned() }
}

/// The generation is over.
pub fn closed() -> CommitError {
    CommitError::Closed { code: "FENCED".to_owned() }
}

/// For a reason of its own.
pub fn denied() -> CommitError {
    CommitError::Other { code: "DENIED".to_owned(), text: "not authorised".to_owned() }
}
