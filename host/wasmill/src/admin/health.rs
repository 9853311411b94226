//! Health: whether the process is alive, and whether its pipelines do their work.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use wasmill_core::partition::State as PartitionState;
use wasmill_pipeline::status::WorkStatus;

use super::state::State;
use crate::pipelines::running::Running;

/// A member's thread that has not polled for so long, beyond a drain, is wedged.
const WEDGED: Duration = Duration::from_secs(30);

/// Whether every member polls.
pub async fn alive(Shared(state): Shared<Arc<State>>) -> Response {
    for Running { pipeline, .. } in state.pipelines.handles() {
        let bound = pipeline.shared.started_with.drain_timeout + WEDGED;
        if let Some(member) = pipeline.members.iter().find(|member| member.has_joined() && member.silent_for() > bound)
        {
            let text = format!("pipeline {}: member {} does not poll\n", pipeline.shared.name, member.index);
            return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        }
    }
    "ok\n".into_response()
}

/// Whether every pipeline is ready; else why not.
pub async fn ready(Shared(state): Shared<Arc<State>>) -> Response {
    let not_ready: Vec<String> = state
        .pipelines
        .handles()
        .iter()
        .map(Running::status)
        .filter(|status| !status.work.ready)
        .map(|status| format!("pipeline {}: {}\n", status.serving.name, why_not_ready(&status.work)))
        .collect();
    if not_ready.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, not_ready.concat()).into_response()
}

fn why_not_ready(status: &WorkStatus) -> String {
    if let Some(held) = &status.held {
        return held.clone();
    }
    if let Some(producer) = &status.producer {
        return format!(
            "producer failed ({} in a row): {}; the next one takes over in {} ms",
            producer.failures, producer.reason, producer.next_in_ms
        );
    }
    if let Some(topic) = status.topics_gone.first() {
        return format!("topic {topic} was deleted; the pipeline goes on once it is made again");
    }
    if let Some(trouble) = status.lanes.iter().find_map(|lane| lane.trouble.clone()) {
        return trouble;
    }
    let stopped = status.partitions.iter().find(|partition| partition.state == PartitionState::Stopped);
    match stopped {
        Some(partition) => format!(
            "partition {}/{} stopped: {}",
            partition.topic,
            partition.partition,
            partition.reason.as_deref().unwrap_or_default()
        ),
        None => "not every member has joined the group".to_owned(),
    }
}
