//! `wasmill seek`: an operator moves a running partition to another message.
//!
//! The lane hands nothing more over, lets what is in flight be answered for, so that nothing comes out twice that need not,
//! and then begins a new epoch at the target. The new position is committed before anything of it is handed over, and the
//! operator hears of it only then: a crash behind the answer does not undo the seek.

use std::time::Duration;

use tokio::sync::oneshot;
use wasmill_core::partition::Sought;
use wasmill_core::{NextOffset, Position};
use wasmill_kafka::TopicPartition;

use crate::clock;
use crate::handle::Handle;

/// How long outputs in flight may take to be confirmed before they are dropped. What was dropped may have been published.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the broker may take to say where a partition begins and ends.
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the coordinator may take to confirm the new position, beside the drain.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(20);

impl Handle {
    /// The offset that is meant, asked of the broker; it may wait.
    ///
    /// # Errors
    /// The partition is not here, the broker does not answer, or it does not hold that offset.
    pub fn find_offset(&self, id: &TopicPartition, to: Position) -> Result<NextOffset, String> {
        let member = self.members.iter().find(|member| member.delivery.holdings.live().contains_key(id));
        let Some(client) = member.and_then(|member| member.handle()) else {
            return Err(format!("partition {id} is not assigned to this process"));
        };
        let (low, high) = client.fetch_watermarks(id, WATERMARK_TIMEOUT).map_err(|error| error.to_string())?;
        let offset = match to {
            Position::Earliest => low,
            Position::Latest => high,
            Position::Offset(offset) => offset,
            Position::Last(count) => high.saturating_sub_unsigned(count).max(low),
            Position::Time(ms) => {
                client.offset_at(id, ms, WATERMARK_TIMEOUT).map_err(|error| error.to_string())?.unwrap_or(high)
            }
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
            if let Some(partition) = self.partition(&id) {
                partition.seek(to, clock::now() + DRAIN_TIMEOUT, done);
                partition.wake();
            }
            asked.push((id, answer));
        }
        let until = tokio::time::Instant::now() + DRAIN_TIMEOUT + COMMIT_TIMEOUT;
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
