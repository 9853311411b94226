//! A version that runs beside the one that serves, unheard: it is given the same batch, and what it makes of it is
//! compared and dropped. Nothing here is measured against the data plane's bounds on allocation; a lane that has a shadow
//! pays for it with the time of a second call.

use std::time::Instant;

use wasmill_core::{Batch, Emitted, EmittedRow, Failure, FailureKind};
use wasmill_wasm::OutputNames;

use super::instances::{Instances, output_names};
use super::lane::Side;
use super::turn::{Call, Worker};
use crate::compare::fields::{Differences, Made, Output};
use crate::swap::trial::Plan;

impl Worker {
    /// Hands the batch that the serving version has just answered, and of which it reached so many messages, to the
    /// version beside it.
    pub(super) fn shadow(&mut self, index: usize, call: Call, reached: u32) {
        let Some(trial) = self.deployed.trial.clone() else { return };
        // An attempt that is not the first is one that the shadow asked for, or not.
        let beside = matches!(trial.plan(), Plan::Shadow { .. }) && !trial.is_over();
        if !beside || call.is_again || call.attempt > 1 || call.side != Side::Serving {
            return;
        }
        let Some(candidate) = &mut self.sides.candidate else { return };
        let (version, partition) = (candidate.version().clone(), &self.held[index].partition);
        let Ok(instance) = candidate.ready(Instant::now()) else { return };
        let started = Instant::now();
        let answer = instance.handle(partition.source, partition.id.partition, &self.batch);
        version.done.took(started.elapsed());
        let names = output_names(&self.shared.settings);
        let old = Told::of(&self.sides.serving, reached, &names);
        match answer {
            Ok(reached) => {
                let new = Told::of(candidate, reached, &names);
                let messages = old.told().min(new.told());
                let rejected = new.failures.iter().filter(|one| one.kind == FailureKind::Reject);
                version.done.settled(messages, rejected.filter(|one| (one.message as usize) < messages).count());
                let mut same = 0;
                for at in 0..messages {
                    let differences = Differences::between(&old.made(&self.batch, at), &new.made(&self.batch, at));
                    if differences.is_empty() {
                        same += 1;
                    } else {
                        trial.differs(&partition.id, self.batch.message(at).offset, differences);
                    }
                }
                trial.same(same);
            }
            Err(error) => {
                version.done.crashed();
                let crashed = Made {
                    verdict: error.class.as_str(),
                    reason: Some(&error.message),
                    attempts: 1,
                    outputs: Vec::new(),
                };
                let differences = Differences::between(&old.made(&self.batch, 0), &crashed);
                trial.differs(&partition.id, self.batch.message(0).offset, differences);
                candidate.discard();
            }
        }
        self.look_at_trial();
    }
}

/// What a version said of a batch.
struct Told<'a> {
    emitted: &'a Emitted,
    failures: &'a [Failure],
    reached: usize,
    names: &'a OutputNames,
    /// The rows, those of a message together, in the order of emission.
    rows: Vec<&'a EmittedRow>,
}

impl<'a> Told<'a> {
    fn of(instances: &'a Instances, reached: u32, names: &'a OutputNames) -> Self {
        let emitted = instances.emitted();
        let mut rows: Vec<_> = emitted.rows.iter().collect();
        rows.sort_by_key(|row| row.message);
        Self { emitted, failures: instances.failures(), reached: reached as usize, names, rows }
    }

    /// Of so many messages it said something that counts: what stands behind a retry does not.
    fn told(&self) -> usize {
        let retry =
            self.failures.iter().filter(|one| one.kind == FailureKind::Retry).map(|one| one.message as usize + 1);
        retry.min().unwrap_or(self.reached).min(self.reached)
    }

    fn made<'b>(&'b self, batch: &'b Batch, at: usize) -> Made<'b> {
        let failure = self.failures.iter().find(|one| one.message as usize == at);
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
            outputs: rows.map(|row| self.output(batch, row)).collect(),
        }
    }

    fn output<'b>(&'b self, batch: &'b Batch, row: &EmittedRow) -> Output<'b> {
        let input = batch.data().as_slice();
        let headers = self.emitted.headers_of(row).iter().map(|[name, value]| {
            (self.emitted.bytes(input, *name).unwrap_or_default(), self.emitted.bytes(input, *value))
        });
        Output {
            topic: self.names.name(row.topic).unwrap_or_default(),
            partition: row.partition,
            timestamp: row.timestamp,
            key: self.emitted.bytes(input, row.key),
            value: self.emitted.bytes(input, row.value),
            headers: headers.collect(),
        }
    }
}
