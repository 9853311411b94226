//! What the output topic says of swaps. It knows the messages that went in, and of wasmill only what it answered.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::eye::Piece;

/// Findings of one sort that are spelt out; the rest is only counted.
const SPELT_OUT: usize = 5;

/// Messages that one version was given without a break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The version's stamp.
    pub stamp: String,
    /// Its first message.
    pub first: i64,
}

/// The output topic, added up: messages of [`Eye::start_stream`](crate::eye::Eye::start_stream) with a stamp behind them.
#[derive(Debug, Default)]
pub struct Book {
    given: Vec<i64>,
    seen: Vec<Vec<bool>>,
    next: Vec<i64>,
    runs: Vec<Vec<Run>>,
    copies: u64,
    findings: BTreeMap<&'static str, Vec<String>>,
    counts: BTreeMap<&'static str, u64>,
}

/// The outcome.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// Messages confirmed to the producer.
    pub given: i64,
    /// Messages in the output.
    pub copies: u64,
    /// Runs in the output, of all partitions.
    pub runs: usize,
    /// Runs that answers promised and that had no message: nothing flowed between two swaps.
    pub empty_runs: usize,
    /// Broken promises: the first few in words.
    pub findings: BTreeMap<&'static str, Vec<String>>,
    /// How many of each.
    pub finding_counts: BTreeMap<&'static str, u64>,
}

impl Verdict {
    /// The broken promises in words.
    pub fn reasons(&self) -> Vec<String> {
        let counts = self.finding_counts.iter();
        let told = |promise: &str| self.findings[promise].join("; ");
        counts
            .map(|(promise, count)| format!("\"{promise}\" is broken {count} times, e.g. {}", told(promise)))
            .collect()
    }
}

impl Book {
    /// A book for an input with so many messages in each partition.
    pub fn new(given: &[i64]) -> Self {
        Self {
            given: given.to_vec(),
            seen: given.iter().map(|count| vec![false; usize::try_from(*count).unwrap_or(0)]).collect(),
            next: vec![0; given.len()],
            runs: vec![Vec::new(); given.len()],
            ..Self::default()
        }
    }

    /// Enters messages of the output. A partition's come in their order there.
    pub fn enter(&mut self, piece: &Piece) {
        let fits = usize::try_from(piece.partition).ok().filter(|partition| {
            let most = self.given.get(*partition).copied().unwrap_or(0);
            piece.partition == piece.output && piece.first >= 0 && piece.first + piece.count <= most
        });
        self.copies += piece.count as u64;
        let Some(partition) = fits else {
            return self.find("messages come out as they went in", || format!("{piece:?}"));
        };
        if piece.count == 0 {
            return self.find("a key's messages come in order", || format!("{piece:?}"));
        }
        let twice = (piece.first..piece.first + piece.count)
            .filter(|number| std::mem::replace(&mut self.seen[partition][*number as usize], true));
        let twice: Vec<i64> = twice.collect();
        for number in &twice {
            self.find("no message comes out twice", || format!("message {number} of partition {partition}"));
        }
        if !twice.is_empty() {
            return;
        }
        let next = std::mem::replace(&mut self.next[partition], piece.first + piece.count);
        if piece.first != next {
            let text = || format!("message {} of partition {partition} came where {next} was due", piece.first);
            self.find("a partition's messages come in order", text);
        }
        let runs = &mut self.runs[partition];
        if runs.last().is_none_or(|run| run.stamp != piece.stamp) {
            runs.push(Run { stamp: piece.stamp.clone(), first: piece.first });
        }
    }

    /// The runs of each partition so far.
    pub fn runs(&self) -> &[Vec<Run>] {
        &self.runs
    }

    /// Closes the book. `promised`: for each partition the runs that were reported, the first one from offset 0. None:
    /// whoever closes it looks at the runs.
    pub fn close(mut self, promised: Option<&[Vec<Run>]>) -> Verdict {
        let mut empty_runs = 0;
        for (partition, seen) in std::mem::take(&mut self.seen).into_iter().enumerate() {
            for number in (0..seen.len()).filter(|number| !seen[*number]) {
                self.find("no message is lost", || format!("message {number} of partition {partition} never came out"));
            }
            if let Some(promised) = promised {
                let (expected, empty) = not_empty(&promised[partition], self.given[partition]);
                empty_runs += empty;
                self.compare(partition, &expected);
            }
        }
        Verdict {
            given: self.given.iter().sum(),
            copies: self.copies,
            runs: self.runs.iter().map(Vec::len).sum(),
            empty_runs,
            findings: self.findings,
            finding_counts: self.counts,
        }
    }

    /// A version's messages are one run, and it begins where the answer said.
    fn compare(&mut self, partition: usize, expected: &[Run]) {
        let runs = std::mem::take(&mut self.runs[partition]);
        let place = (0..runs.len().max(expected.len())).find(|place| runs.get(*place) != expected.get(*place));
        if let Some(place) = place {
            let text = || {
                format!(
                    "partition {partition}, run {place}: {:?}, and {:?} was reported",
                    runs.get(place),
                    expected.get(place)
                )
            };
            self.find("versions form the runs that were reported", text);
        }
        self.runs[partition] = runs;
    }

    fn find(&mut self, promise: &'static str, text: impl FnOnce() -> String) {
        *self.counts.entry(promise).or_default() += 1;
        let spelt_out = self.findings.entry(promise).or_default();
        if spelt_out.len() < SPELT_OUT {
            spelt_out.push(text());
        }
    }
}

/// The runs that can have a message, and how many cannot. Two of one version that touch are one.
fn not_empty(promised: &[Run], end: i64) -> (Vec<Run>, usize) {
    let mut runs: Vec<Run> = Vec::new();
    let mut empty = 0;
    for (place, run) in promised.iter().enumerate() {
        let until = promised.get(place + 1).map_or(end, |next| next.first);
        if run.first == until {
            empty += 1;
        } else if runs.last().is_none_or(|last| last.stamp != run.stamp) {
            runs.push(run.clone());
        }
    }
    (runs, empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stamp: &str, first: i64) -> Run {
        Run { stamp: stamp.to_owned(), first }
    }

    fn piece(first: i64, count: i64, stamp: &str) -> Piece {
        Piece { output: 0, partition: 0, first, count, stamp: stamp.to_owned() }
    }

    /// Messages of one partition: number and version of each, in the order of the output.
    fn close(given: i64, outputs: &[(i64, &str)], promised: &[Run]) -> Verdict {
        let mut book = Book::new(&[given]);
        for (number, stamp) in outputs {
            book.enter(&piece(*number, 1, stamp));
        }
        book.close(Some(&[promised.to_vec()]))
    }

    fn broken(verdict: &Verdict) -> Vec<&'static str> {
        verdict.finding_counts.keys().copied().collect()
    }

    #[test]
    fn runs_as_they_were_reported_are_no_finding_and_empty_ones_are_counted() {
        let outputs = [(0, "a"), (1, "a"), (2, "c"), (3, "a")];
        let verdict = close(4, &outputs, &[run("a", 0), run("b", 2), run("c", 2), run("a", 3), run("b", 4)]);
        assert_eq!((broken(&verdict), verdict.runs, verdict.empty_runs), (vec![], 3, 2));
        // An empty run between two of one version.
        let verdict = close(2, &[(0, "a"), (1, "a")], &[run("a", 0), run("b", 1), run("a", 1)]);
        assert_eq!((broken(&verdict), verdict.empty_runs), (vec![], 1));
    }

    #[test]
    fn a_boundary_beside_the_reported_one_is_found() {
        let runs = "versions form the runs that were reported";
        for first in [1, 3] {
            let verdict = close(4, &[(0, "a"), (1, "a"), (2, "b"), (3, "b")], &[run("a", 0), run("b", first)]);
            assert_eq!(broken(&verdict), [runs]);
        }
        let back = close(4, &[(0, "a"), (1, "b"), (2, "a"), (3, "b")], &[run("a", 0), run("b", 1)]);
        assert_eq!(broken(&back), [runs]);
        let never = close(2, &[(0, "a"), (1, "a")], &[run("a", 0), run("b", 1)]);
        assert_eq!(broken(&never), [runs]);
    }

    #[test]
    fn what_is_lost_twice_or_out_of_order_is_found() {
        let one = [run("a", 0)];
        assert_eq!(broken(&close(2, &[(0, "a")], &one)), ["no message is lost"]);
        assert_eq!(broken(&close(2, &[(0, "a"), (1, "a"), (1, "a")], &one)), ["no message comes out twice"]);
        let late = close(2, &[(1, "a"), (0, "a")], &[run("a", 1)]);
        assert_eq!(broken(&late), ["a partition's messages come in order"]);
        assert_eq!(broken(&close(1, &[(0, "a"), (7, "a")], &one)), ["messages come out as they went in"]);
    }

    #[test]
    fn pieces_that_overlap_come_twice_and_a_key_out_of_order_is_a_piece_without_messages() {
        let mut book = Book::new(&[10]);
        for one in [piece(0, 6, "a"), piece(4, 6, "a"), piece(3, 0, "a")] {
            book.enter(&one);
        }
        let verdict = book.close(None);
        assert_eq!(verdict.finding_counts["no message comes out twice"], 2);
        assert_eq!(verdict.finding_counts["a key's messages come in order"], 1);
        assert_eq!(verdict.copies, 12);
    }
}
