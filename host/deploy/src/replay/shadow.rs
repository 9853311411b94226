//! What a version that serves and its shadow made of the same batch, message by message.

use wasmill_core::{EmittedRow, FailureKind};
use wasmill_pipeline::versions::{Said, Shadowed};

use super::difference::Differences;
use super::fields::{Made, Output};

/// Compares each message of which both versions said something that counts: its offset, and the differences, if any.
pub fn compare(both: &Shadowed<'_>, mut each: impl FnMut(i64, Differences)) {
    let offset = |at: usize| both.batch.message(at).offset;
    let old = Sorted::of(both, both.serving);
    match both.candidate {
        Ok(said) => {
            let new = Sorted::of(both, said);
            for at in 0..both.compared() {
                each(offset(at), Differences::between(&old.made(at), &new.made(at)));
            }
        }
        Err(error) => {
            let crashed =
                Made { verdict: error.class.as_str(), reason: Some(&error.message), attempts: 1, outputs: Vec::new() };
            each(offset(0), Differences::between(&old.made(0), &crashed));
        }
    }
}

/// What a version said of a batch.
struct Sorted<'a> {
    both: &'a Shadowed<'a>,
    said: Said<'a>,
    /// The rows, those of a message together, in the order of emission.
    rows: Vec<&'a EmittedRow>,
}

impl<'a> Sorted<'a> {
    fn of(both: &'a Shadowed<'a>, said: Said<'a>) -> Self {
        let mut rows: Vec<_> = said.emitted.rows.iter().collect();
        rows.sort_by_key(|row| row.message);
        Self { both, said, rows }
    }

    fn made(&self, at: usize) -> Made<'_> {
        let failure = self.said.failures.iter().find(|one| one.message as usize == at);
        let verdict = match failure.map(|one| one.kind) {
            None => "ack",
            Some(FailureKind::Retry) => "retry",
            Some(FailureKind::Reject) => "reject",
        };
        let first = self.rows.partition_point(|row| (row.message as usize) < at);
        let rows = self.rows[first..].iter().take_while(|row| row.message as usize == at && failure.is_none());
        Made {
            verdict,
            reason: failure.map(|one| one.reason.as_str()),
            attempts: 1,
            outputs: rows.map(|row| self.output(row)).collect(),
        }
    }

    fn output(&self, row: &EmittedRow) -> Output<'_> {
        let input = self.both.batch.data().as_slice();
        let emitted = self.said.emitted;
        let headers = emitted
            .headers_of(row)
            .iter()
            .map(|[name, value]| (emitted.bytes(input, *name).unwrap_or_default(), emitted.bytes(input, *value)));
        Output {
            topic: self.both.names.name(row.topic).unwrap_or_default(),
            partition: row.partition,
            timestamp: row.timestamp,
            key: emitted.bytes(input, row.key),
            value: emitted.bytes(input, row.value),
            headers: headers.collect(),
        }
    }
}
