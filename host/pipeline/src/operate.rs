//! What an operator does to a partition of a lane: resume and skip. A seek is the machine's own
//! ([`Partition::seek`](crate::partition::Partition::seek)).

use wasmill_core::partition::Event;

use crate::bench::Bench;
use crate::shared::Event as Control;
use crate::slot::Slot;

impl Slot {
    /// Starts a stopped partition again at the message it stands at, or behind it when `skip` is that message.
    ///
    /// # Errors
    /// It cannot go on, or does not stand there; in words.
    pub(crate) fn resume(&mut self, bench: &Bench, skip: Option<i64>) -> Result<i64, String> {
        let id = self.partition.id.clone();
        if let Some(reason) = self.partition.lock().is_over() {
            return Err(format!("partition {id} cannot go on: {reason}"));
        }
        let offset = self.stands_at();
        let stop = self.partition.lock().holds().stop().map(|(class, _)| class);
        if stop.is_some_and(|class| class.needs_new_client()) {
            return self.resume_with_new_client(bench, offset, skip.is_some());
        }
        if let Some(skip) = skip {
            if stop.is_none() {
                return Err(format!(
                    "partition {id} is not stopped, so message {skip} cannot be skipped; hint: `wasmill status` shows where partitions stand"
                ));
            }
            if skip != offset {
                return Err(format!(
                    "partition {id} does not stand at offset {skip} but at {offset}; hint: use `--offset {offset}` to pass over that one"
                ));
            }
            self.pass(bench, offset);
        }
        self.backlog.restart_attempts();
        self.partition.apply(Event::Resumed);
        Ok(offset)
    }

    /// Messages are gone and an operator says to go on: where some are left. Only a new client can read the partition
    /// again; this one has given it up. Until that has it, the partition stays stopped and says so.
    fn resume_with_new_client(&mut self, bench: &Bench, offset: i64, skip: bool) -> Result<i64, String> {
        let partition = &self.partition;
        let id = partition.id.clone();
        if skip {
            return Err(format!(
                "there is no message {offset} of partition {id} to skip; hint: `wasmill resume` goes on at the first one that is left"
            ));
        }
        bench.shared.begin_anew(id.clone());
        let reason = format!("partition {id} begins at its first message; it could not at {offset}");
        self.control(bench, Control::MemberRenewed { member: partition.member, reason });
        Ok(offset)
    }

    /// Counts the message that the partition stands at as complete without handling it.
    fn pass(&mut self, bench: &Bench, offset: i64) {
        let mut machine = self.partition.lock();
        let passed = self.backlog.pass_head(&mut machine);
        if passed.is_none() {
            // It is read again with what is behind it, and left out then.
            machine.pass_unread(offset);
        }
        drop(machine);
        if let Some((fence, run)) = passed {
            self.partition.apply(Event::Settled { fence, run, ticket: false });
        }
        self.partition.counters.skipped.increment(1);
        tracing::warn!(pipeline = %bench.shared.name, partition = %self.partition.id, offset, "message skipped by an operator");
    }
}
