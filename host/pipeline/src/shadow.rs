//! A version that runs beside the one that serves, unheard: it is given the same batch, and what it makes of it is told to
//! whoever looks on and dropped. Nothing here is measured against the data plane's bounds on allocation; a lane that has a
//! shadow pays for it with the time of a second call.

use wasmill_core::{Call, FailureKind};

use crate::bench::Bench;
use crate::clock;
use crate::handler_spec::output_names;
use crate::instances::Instances;
use crate::slot::Slot;
use crate::versions::{Said, Shadowed};

impl Slot {
    /// Hands the batch that the serving version has just answered, and of which it reached so many messages, to the
    /// version beside it.
    pub(crate) fn shadow(&self, bench: &mut Bench, call: &Call, reached: u32) {
        // An attempt that is not the first is one that the shadow asked for, or not.
        if !bench.deployed.has_shadow() || call.is_leftover || call.attempt > 1 {
            return;
        }
        let Some(overseer) = &bench.deployed.overseer else { return };
        let Some(candidate) = &mut bench.sides.candidate else { return };
        let (version, partition) = (candidate.version().clone(), &self.partition);
        let Ok(instance) = candidate.ready(clock::now()) else { return };
        let started = clock::now();
        let answer = instance.handle(partition.source, partition.id.partition, &bench.batch);
        version.done.took(started.elapsed());
        let names = output_names(&bench.shared.started_with);
        let both = Shadowed {
            id: &partition.id,
            batch: &bench.batch,
            names: &names,
            serving: said(&bench.sides.serving, reached),
            candidate: answer.as_ref().map(|reached| said(candidate, *reached)),
        };
        match both.candidate {
            Ok(new) => {
                let messages = both.compared();
                let rejected = new.failures.iter().filter(|one| one.kind == FailureKind::Reject);
                version.done.settled(messages, rejected.filter(|one| (one.message as usize) < messages).count());
            }
            Err(_) => version.done.crashed(),
        }
        overseer.shadowed(&both);
        if answer.is_err() {
            candidate.discard();
        }
    }
}

fn said(instances: &Instances, reached: u32) -> Said<'_> {
    Said { emitted: instances.emitted(), failures: instances.failures(), reached }
}
