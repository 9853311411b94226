//! `wasmill seek`: an operator moves a running partition to another message.
//!
//! The lane hands nothing more over, lets what is in flight be answered for, so that nothing comes out twice that need not,
//! and then begins a new epoch at the target. The new position is committed before anything of it is handed over, and the
//! operator hears of it only then: a crash behind the answer does not undo the seek.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::oneshot;
use wasmill_core::{NextOffset, Position};
use wasmill_kafka::TopicPartition;

use super::handle::Handle;
use super::lane::{Command, Turn};
use super::partition::Phase;
use super::shared::Event;
use super::turn::Worker;

/// How long outputs in flight may take to be confirmed before they are dropped. What was dropped may have been published.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the broker may take to say where a partition begins and ends.
const ASK: Duration = Duration::from_secs(10);
/// How long the coordinator may take to confirm the new position, beside the drain.
const COMMIT: Duration = Duration::from_secs(20);

/// What a lane is asked for.
pub struct Seek {
    /// Which partition.
    pub id: TopicPartition,
    /// Where to.
    pub to: NextOffset,
    /// Hears when the new position is committed, or why it is not.
    pub done: oneshot::Sender<Result<Sought, String>>,
}

/// A partition was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sought {
    /// Its watermark before.
    pub from: i64,
    /// Where it goes on; this is committed.
    pub to: i64,
    /// Messages that had been handed over and were not complete. Such as lie behind the new position are handed over again.
    pub dropped: u64,
}

/// The move is committed when the coordinator confirms what is due in the new epoch.
pub struct Moved {
    /// Who waits.
    pub done: oneshot::Sender<Result<Sought, String>>,
    /// What to say.
    pub sought: Sought,
}

/// A move that waits for what is in flight.
pub(super) struct Seeking {
    to: NextOffset,
    /// Then it waits no longer.
    until: Instant,
    done: oneshot::Sender<Result<Sought, String>>,
}

impl Worker {
    /// Notes the move. It is made in the partition's next turns.
    pub(super) fn begin_seek(&mut self, Seek { id, to, done }: Seek) {
        let answer = match self.held.iter_mut().find(|held| held.partition.id == id) {
            None => format!("partition {id} is not here"),
            Some(held) => match held.partition.is_over() {
                Some(reason) => format!("partition {id} cannot be moved: {reason}"),
                None if held.seeking.is_some() => format!("partition {id} is being moved by another call"),
                None => {
                    held.seeking = Some(Seeking { to, until: Instant::now() + DRAIN, done });
                    return;
                }
            },
        };
        let _ = done.send(Err(answer));
    }

    /// Moves the partition once nothing of it is in flight, or when that took too long.
    pub(super) fn seek_when_settled(&mut self, index: usize, now: Instant) -> Turn {
        let held = &mut self.held[index];
        let Some(seeking) = &held.seeking else { return Turn::Idle };
        let until = seeking.until;
        let mut state = held.partition.lock();
        if state.tickets > 0 && now < until {
            // The next completion wakes the lane.
            state.starved = true;
            return Turn::NotBefore(until);
        }
        let Some(Seeking { to, done, .. }) = held.seeking.take() else { return Turn::Idle };
        if state.tracker.is_closed() {
            drop(state);
            let _ = done.send(Err(format!("partition {} is being taken away", held.partition.id)));
            return Turn::Idle;
        }
        let sought =
            Sought { from: state.tracker.watermark().get(), to: to.get(), dropped: state.tracker.outstanding() };
        state.tracker.seek(to);
        state.forget_all();
        state.phase = Phase::Starting;
        // As with an assignment's first position: nothing is handed over before it is committed. Else what is handled now
        // would be handled again, or left out, by whoever goes on from the old offset after a crash.
        state.first_commit = true;
        state.note_dirty = true;
        state.moved = Some(Moved { done, sought: sought.clone() });
        drop(state);
        held.restart_at(to);
        held.stands_at = None;
        held.distrusted = false;
        held.stopped = held.out_of_range;
        let partition = held.partition.clone();
        partition.counters.rewinds.increment(1);
        tracing::warn!(
            pipeline = %self.shared.name, partition = %partition.id, from = sought.from, to = sought.to,
            dropped = sought.dropped, "partition moved by an operator"
        );
        partition.mark_urgent();
        if self.held[index].out_of_range {
            // This client has given the partition up. The next one finds the new position committed.
            let reason = format!("partition {} goes on at {to}", partition.id);
            let _ = self.shared.events.send(Event::MemberRenewed { member: partition.member, reason });
        }
        Turn::NotBefore(now)
    }
}

impl Handle {
    /// The offset that is meant, asked of the broker; it may wait.
    ///
    /// # Errors
    /// The partition is not here, the broker does not answer, or it does not hold that offset.
    pub fn find_offset(&self, id: &TopicPartition, to: Position) -> Result<NextOffset, String> {
        let member = self.members.iter().find(|member| member.holdings.live().contains_key(id));
        let Some(client) = member.and_then(|member| member.handle()) else {
            return Err(format!("partition {id} is not assigned to this process"));
        };
        let (low, high) = client.fetch_watermarks(id, ASK).map_err(|error| error.to_string())?;
        let offset = match to {
            Position::Earliest => low,
            Position::Latest => high,
            Position::Offset(offset) => offset,
            Position::Last(count) => high.saturating_sub_unsigned(count).max(low),
            Position::Time(ms) => client.offset_at(id, ms, ASK).map_err(|error| error.to_string())?.unwrap_or(high),
        };
        if !(low..=high).contains(&offset) {
            return Err(format!(
                "offset {offset} of {id} is out of range: the partition holds {low} to {high}; hint: --to earliest is \
                 {low}, --to latest is {high}"
            ));
        }
        Ok(NextOffset::at(offset))
    }

    /// Moves partitions, and waits until their new positions are committed.
    pub async fn seek(
        &self,
        targets: Vec<(TopicPartition, NextOffset)>,
    ) -> Vec<(TopicPartition, Result<Sought, String>)> {
        let mut asked = Vec::new();
        for (id, to) in targets {
            let (done, answer) = oneshot::channel();
            let lane = self.members.iter().find_map(|member| member.lane_of(&id));
            if let Some(lane) = lane {
                lane.tell(Command::Seek(Box::new(Seek { id: id.clone(), to, done })));
            }
            asked.push((id, answer));
        }
        let until = tokio::time::Instant::now() + DRAIN + COMMIT;
        let mut sought = Vec::new();
        for (id, answer) in asked {
            let answer = match tokio::time::timeout_at(until, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(format!("partition {id} was taken away before its new position was committed")),
                Err(_) => Err(format!(
                    "the new position of partition {id} is not committed yet: its handler is busy, or the coordinator does \
                     not answer; hint: `wasmill status` shows what is committed"
                )),
            };
            sought.push((id, answer));
        }
        sought
    }
}
