//! Resume, pause and skip.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use wasmill_kafka::TopicPartition;
use wasmill_pipeline::Handle;

use super::request::{Answer, Body, Refused, Sorted, find, named, read, refuse};
use super::state::State;
use crate::api::operate::{GoesOn, Paused, Resumed, Skipped, Which};
use crate::api::partition::Row;

/// Lets partitions go on.
pub async fn resume(Shared(state): Shared<Arc<State>>, Path(name): Path<String>, body: Body) -> Answer<Resumed> {
    let (pipeline, which) = asked(&state, &name, body)?;
    let id = one_partition(&pipeline, &which)?;
    let resumed = pipeline.resume(id.as_ref()).await.map_err(|error| refuse(StatusCode::CONFLICT, &error))?;
    let row =
        |(id, answer): (TopicPartition, Result<i64, String>)| Row::new(id, answer.map(|offset| GoesOn { offset }));
    let resumed: Vec<_> = resumed.into_iter().map(row).collect();
    tracing::info!(pipeline = name, partitions = resumed.len(), "resumed by an operator");
    Ok(Sorted(Resumed { resumed }))
}

/// Keeps messages of partitions from being handed over.
pub async fn pause(Shared(state): Shared<Arc<State>>, Path(name): Path<String>, body: Body) -> Answer<Paused> {
    let (pipeline, which) = asked(&state, &name, body)?;
    let id = one_partition(&pipeline, &which)?;
    let paused: Vec<_> = pipeline.pause(id.as_ref()).iter().map(ToString::to_string).collect();
    tracing::info!(pipeline = name, partitions = paused.len(), "paused by an operator");
    Ok(Sorted(Paused { paused }))
}

/// Passes over a message.
pub async fn skip(Shared(state): Shared<Arc<State>>, Path(name): Path<String>, body: Body) -> Answer<Skipped> {
    let (pipeline, which) = asked(&state, &name, body)?;
    let (Some(id), Some(offset)) = (one_partition(&pipeline, &which)?, which.offset) else {
        return Err(refuse(StatusCode::BAD_REQUEST, "skip needs a partition and an offset"));
    };
    match pipeline.skip(&id, offset).await {
        Ok(skipped) => Ok(Sorted(Skipped { partition: id.to_string(), skipped })),
        Err(error) => Err(refuse(StatusCode::CONFLICT, &error)),
    }
}

/// The pipeline that a call is about, and what of it.
fn asked(state: &State, name: &str, body: Body) -> Result<(Handle, Which), Refused> {
    let pipeline = find(state, name)?.pipeline;
    Ok((pipeline, read(body, "send {}, or {\"partition\": 0} for one")?))
}

/// The partition a call names; the topic may be left out where the pipeline has one.
fn one_partition(pipeline: &Handle, which: &Which) -> Result<Option<TopicPartition>, Refused> {
    let Some(number) = which.partition else { return Ok(None) };
    named(pipeline, which.topic.as_deref(), number).map(Some)
}
