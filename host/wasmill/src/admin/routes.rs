//! What the admin port answers.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use wasmill_kafka::TopicPartition;
use wasmill_pipeline::Handle;
use wasmill_pipeline::status::WorkStatus;

use super::guard::may_change;
use super::request::{Answer, Body, MOST_BYTES, Refused, find, named, read, refuse, too_large};
use super::state::State;
use super::{changes, gauges, versions};
use crate::pipelines::running::Running;
use crate::pipelines::status::PipelineStatus;

/// A member's thread that has not polled for so long, beyond a drain, is wedged.
const WEDGED: Duration = Duration::from_secs(30);

/// The whole status.
#[derive(Debug, Serialize)]
pub struct Status {
    pub(super) version: &'static str,
    pub(super) uptime_seconds: u64,
    pub(super) ready: bool,
    pub(super) pipelines: Vec<PipelineStatus>,
}

/// The partition that a call is about; none: all of the pipeline.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    topic: Option<String>,
    partition: Option<i32>,
    offset: Option<i64>,
}

/// All routes.
pub fn router(state: Arc<State>) -> Router {
    let changes = Router::new()
        .route("/api/v1/pipelines/{name}/resume", post(resume))
        .route("/api/v1/pipelines/{name}/pause", post(pause))
        .route("/api/v1/pipelines/{name}/skip", post(skip))
        .route("/api/v1/pipelines/{name}/seek", post(changes::seek))
        .route("/api/v1/pipelines/{name}/restart", post(changes::restart))
        .route("/api/v1/reload", post(changes::reload))
        .route_layer(from_fn_with_state(state.clone(), guard));
    // A component is more than a few words; its own gate says how much more.
    let versions = versions::changes()
        .layer(DefaultBodyLimit::disable())
        .route_layer(from_fn_with_state(state.clone(), guard_large));
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .merge(versions::looks())
        .merge(changes)
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .merge(versions)
        .with_state(state)
}

/// Lets through who may change something. Before anything of the body is read: whoever may not is not even listened to.
async fn guard_large(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    match may_change(request.headers(), &state.token, state.allow_remote) {
        Ok(()) => next.run(request).await,
        Err((status, text)) => refuse(status, text).into_response(),
    }
}

/// The same, for calls of a few words.
async fn guard(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    if let Err((status, text)) = may_change(request.headers(), &state.token, state.allow_remote) {
        return refuse(status, text).into_response();
    }
    // A body that tells its length is refused by that; the limit of the routes would wait for its bytes.
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse().ok()).is_some_and(|length: u64| length > MOST_BYTES as u64) {
        return too_large().into_response();
    }
    next.run(request).await
}

async fn health(Shared(state): Shared<Arc<State>>) -> Response {
    for Running { pipeline, .. } in state.pipelines.handles() {
        let bound = pipeline.shared.settings.drain_timeout + WEDGED;
        if let Some(member) = pipeline.members.iter().find(|member| member.has_joined() && member.silent_for() > bound)
        {
            let text = format!("pipeline {}: member {} does not poll\n", pipeline.shared.name, member.index);
            return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        }
    }
    "ok\n".into_response()
}

async fn ready(Shared(state): Shared<Arc<State>>) -> Response {
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
    let stopped = status.partitions.iter().find(|partition| partition.state == "stopped");
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

async fn metrics(Shared(state): Shared<Arc<State>>) -> Response {
    let pipelines: Vec<_> = state.pipelines.handles().iter().map(Running::status).collect();
    let text = state.metrics.render() + &gauges::render(&pipelines);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn status(Shared(state): Shared<Arc<State>>) -> Json<Status> {
    let pipelines: Vec<_> = state.pipelines.handles().iter().map(Running::status).collect();
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: state.started.elapsed().as_secs(),
        ready: pipelines.iter().all(|pipeline| pipeline.work.ready),
        pipelines,
    })
}

async fn resume(Shared(state): Shared<Arc<State>>, Path(name): Path<String>, body: Body) -> Answer {
    let (pipeline, which) = asked(&state, &name, body)?;
    let id = one_partition(&pipeline, &which)?;
    let resumed: Vec<_> = pipeline
        .resume(id.as_ref())
        .await
        .map_err(|error| refuse(StatusCode::CONFLICT, &error))?
        .into_iter()
        .map(|(id, answer)| match answer {
            Ok(offset) => serde_json::json!({ "partition": id.to_string(), "offset": offset }),
            Err(error) => serde_json::json!({ "partition": id.to_string(), "error": error }),
        })
        .collect();
    tracing::info!(pipeline = name, partitions = resumed.len(), "resumed by an operator");
    Ok(Json(serde_json::json!({ "resumed": resumed })))
}

async fn pause(Shared(state): Shared<Arc<State>>, Path(name): Path<String>, body: Body) -> Answer {
    let (pipeline, which) = asked(&state, &name, body)?;
    let id = one_partition(&pipeline, &which)?;
    let paused: Vec<_> = pipeline.pause(id.as_ref()).iter().map(ToString::to_string).collect();
    tracing::info!(pipeline = name, partitions = paused.len(), "paused by an operator");
    Ok(Json(serde_json::json!({ "paused": paused })))
}

async fn skip(Shared(state): Shared<Arc<State>>, Path(name): Path<String>, body: Body) -> Answer {
    let (pipeline, which) = asked(&state, &name, body)?;
    let (Some(id), Some(offset)) = (one_partition(&pipeline, &which)?, which.offset) else {
        return Err(refuse(StatusCode::BAD_REQUEST, "skip needs a partition and an offset"));
    };
    match pipeline.skip(&id, offset).await {
        Ok(offset) => Ok(Json(serde_json::json!({ "partition": id.to_string(), "skipped": offset }))),
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
