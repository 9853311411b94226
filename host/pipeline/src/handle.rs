//! A pipeline as others see it: what an operator, the admin port and the signals may ask of it while it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use wasmill_core::partition::{Closed, Event, Stage};
use wasmill_kafka::TopicPartition;

use crate::lane::Command;
use crate::lanes::Lanes;
use crate::member::MemberShared;
use crate::partition::Partition;
use crate::shared::PipelineShared;

/// A pipeline as the admin port and the signals see it.
#[derive(Clone)]
pub struct Handle {
    /// What its threads share.
    pub shared: Arc<PipelineShared>,
    /// The lanes that run its handler.
    pub lanes: Arc<Lanes>,
    /// Its members of the consumer group.
    pub members: Arc<Vec<Arc<MemberShared>>>,
    pub(super) shutdown: Arc<watch::Sender<bool>>,
}

/// A partition that was to go on, and where it stood, or why it does not.
pub type Resumed = (TopicPartition, Result<i64, String>);

impl Handle {
    /// Ends the pipeline in good order.
    pub fn shut_down(&self) {
        let _ = self.shutdown.send(true);
    }

    /// Waits until the pipeline is asked to end.
    pub async fn asked_to_end(&self) {
        // The sender is held here, so it is not gone before.
        let _ = self.shutdown.subscribe().wait_for(|asked| *asked).await;
    }

    /// Lets the pipeline go on after the breaker opened, and starts stopped partitions again. Answers with what was
    /// started: partition and offset.
    ///
    /// One partition cannot be resumed while the whole pipeline holds: the breaker counts the messages of all of them,
    /// and whoever names one partition has not said that the others may go on giving messages up.
    pub async fn resume(&self, only: Option<&TopicPartition>) -> Result<Vec<Resumed>, String> {
        match (only, self.shared.hold_reason()) {
            (Some(only), Some(reason)) => {
                return Err(format!(
                    "partition {only} cannot go on by itself, the whole pipeline holds: {reason}; hint: leave out --partition"
                ));
            }
            (None, _) => self.shared.release(),
            (Some(_), None) => {}
        }
        let mut asked = Vec::new();
        for id in self.partitions() {
            if only.is_some_and(|only| *only != id) {
                continue;
            }
            let Some(partition) = self.partition(&id) else { continue };
            partition.apply(Event::Paused(false));
            let stopped = {
                let machine = partition.lock();
                machine.holds().stop().is_some() || matches!(machine.stage(), Stage::Closed(Closed::Orphaned(_)))
            };
            if stopped || only.is_some() {
                let answer = self.ask_resume(&id, None);
                asked.push((id, answer));
            }
        }
        // All are asked before any answer is waited for: one that needs a new client takes the others of its member along.
        let mut resumed = Vec::new();
        for (id, answer) in asked {
            resumed.push((id, answer.await));
        }
        self.lanes.wake_all();
        Ok(resumed)
    }

    /// Passes over the message at which a partition stands.
    pub async fn skip(&self, id: &TopicPartition, offset: i64) -> Result<i64, String> {
        self.ask_resume(id, Some(offset)).await
    }

    /// Asks at once; the future is the answer.
    fn ask_resume(&self, id: &TopicPartition, skip: Option<i64>) -> impl Future<Output = Result<i64, String>> + use<> {
        let partition = self.partition(id);
        let lane = partition.as_ref().and_then(|partition| self.members.get(partition.member)?.lane_of(id));
        let (done, answer) = oneshot::channel();
        let asked = lane.zip(partition).map(|(lane, partition)| lane.tell(Command::Resume { partition, skip, done }));
        let id = id.clone();
        async move {
            if asked.is_none() {
                return Err(format!("partition {id} is not assigned to this process"));
            }
            match tokio::time::timeout(Duration::from_secs(30), answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(format!("partition {id} was revoked meanwhile")),
                Err(_) => Err(format!("the lane of partition {id} did not answer; its handler may be busy")),
            }
        }
    }

    /// Keeps partitions from being handed over until `resume`.
    pub fn pause(&self, only: Option<&TopicPartition>) -> Vec<TopicPartition> {
        let ids: Vec<_> = self.partitions().into_iter().filter(|id| only.is_none_or(|only| only == id)).collect();
        for id in &ids {
            if let Some(partition) = self.partition(id) {
                partition.apply(Event::Paused(true));
            }
        }
        ids
    }

    /// The partitions this process holds.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.members
            .iter()
            .flat_map(|member| member.delivery.holdings.live().keys().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// One of them.
    pub fn partition(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        self.members.iter().find_map(|member| member.delivery.holdings.live().get(id).cloned())
    }
}
