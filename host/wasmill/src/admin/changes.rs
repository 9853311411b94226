//! The calls that change pipelines or move them: reload, restart, seek.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use wasmill_core::{BadPosition, Form, Position};
use wasmill_kafka::{TopicPartition, now_ms};
use wasmill_pipeline::Handle;

use super::request::{Answer, Body, Refused, find, named, read, refuse};
use super::state::State;
use crate::pipelines::refused;

/// How long the cluster may take to say how many partitions a topic has; nothing depends on it.
const ASK: std::time::Duration = std::time::Duration::from_secs(5);

/// A call without anything to say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Where to move what.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Where {
    topic: Option<String>,
    partition: Option<i32>,
    /// `earliest`, `latest`, an offset, a time, an age.
    to: Option<Value>,
}

/// Reads the configuration again.
pub(super) async fn reload(Shared(state): Shared<Arc<State>>, body: Body) -> Answer {
    let Nothing {} = read(body, "send {}")?;
    let pipelines = state.pipelines.clone();
    changed(move || pipelines.reload("wasmill reload")).await
}

/// Starts a pipeline again.
pub(super) async fn restart(Shared(state): Shared<Arc<State>>, Path(name): Path<String>, body: Body) -> Answer {
    find(&state, &name)?;
    let Nothing {} = read(body, "send {}")?;
    let pipelines = state.pipelines.clone();
    changed(move || pipelines.restart(&name, "wasmill restart")).await
}

/// Makes a change on a thread that may wait.
async fn changed<T, F>(change: F) -> Answer
where
    T: Serialize + Send + 'static,
    F: FnOnce() -> Result<T, refused::Refused> + Send + 'static,
{
    let refused = |refused: refused::Refused| (StatusCode::CONFLICT, Json(json!(refused)));
    Ok(Json(json!(waited(change).await?.map_err(refused)?)))
}

async fn waited<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    spawn_blocking(wait).await.map_err(|panic| refuse(StatusCode::INTERNAL_SERVER_ERROR, &panic.to_string()))
}

/// Moves partitions to other messages.
pub(super) async fn seek(Shared(state): Shared<Arc<State>>, Path(name): Path<String>, body: Body) -> Answer {
    let pipeline = find(&state, &name)?.pipeline;
    let asked: Where = read(body, "send {\"to\": \"earliest\"}, with \"partition\": 0 for one")?;
    let bad = |text: &str| refuse(StatusCode::BAD_REQUEST, text);
    let read = |text: &str| Position::parse_as(text, now_ms(), &Form::CERTAIN);
    let to = match &asked.to {
        Some(Value::String(text)) => read(text),
        Some(Value::Number(number)) => read(&number.to_string()),
        _ => Err(BadPosition { text: String::new(), form: None, hint: "\"to\" is missing".to_owned() }),
    };
    let to = to.map_err(|error| {
        let problem = error.problem().unwrap_or_else(|| "it is not said where to".to_owned());
        bad(&format!("{problem}; hint: {}", error.hint))
    })?;
    let ids = wanted(&pipeline, &asked)?;
    if matches!(to, Position::Offset(_)) && ids.len() > 1 {
        let text = "an offset belongs to one partition, and this process holds several; hint: add --partition N";
        return Err(bad(text));
    }
    let not_here = not_here(&state, &pipeline, &asked, &ids).await;
    if ids.is_empty() {
        let text = format!("this process holds no partition of pipeline {name}; others: {}", not_here.join(", "));
        return Err(refuse(StatusCode::CONFLICT, text.trim_end_matches("; others: ")));
    }
    let asking = pipeline.clone();
    let found = waited(move || {
        // All of them are asked before any is moved.
        ids.into_iter().map(|id| asking.find_offset(&id, to).map(|offset| (id, offset))).collect::<Vec<_>>()
    });
    let (mut targets, mut refusals) = (Vec::new(), Vec::new());
    for found in found.await? {
        match found {
            Ok(target) => targets.push(target),
            Err(reason) => refusals.push(reason),
        }
    }
    if !refusals.is_empty() {
        return Err(refuse(StatusCode::CONFLICT, &refusals.join("\n")));
    }
    let rows = pipeline.seek(targets).await.into_iter().map(|(id, answer)| match answer {
        Ok(sought) => {
            json!({ "partition": id.to_string(), "from": sought.from, "to": sought.to, "dropped": sought.dropped })
        }
        Err(error) => json!({ "partition": id.to_string(), "error": error }),
    });
    Ok(Json(json!({ "sought": rows.collect::<Vec<_>>(), "not_here": not_here })))
}

/// The partitions of this process that are meant.
fn wanted(pipeline: &Handle, asked: &Where) -> Result<Vec<TopicPartition>, Refused> {
    if let Some(topic) = &asked.topic
        && !pipeline.shared.settings.topics.contains(topic)
    {
        let topics = pipeline.shared.settings.topics.join(", ");
        return Err(refuse(StatusCode::BAD_REQUEST, &format!("no topic `{topic}` is read here; there is {topics}")));
    }
    match asked.partition {
        Some(number) => Ok(vec![named(pipeline, asked.topic.as_deref(), number)?]),
        None => {
            let of_topic = |id: &TopicPartition| asked.topic.as_ref().is_none_or(|topic| *id.topic == **topic);
            Ok(pipeline.partitions().into_iter().filter(of_topic).collect())
        }
    }
}

/// The partitions that are meant and that other processes hold: this call does not move them.
async fn not_here(state: &State, pipeline: &Handle, asked: &Where, here: &[TopicPartition]) -> Vec<String> {
    if asked.partition.is_some() {
        return Vec::new();
    }
    let topics: Vec<String> = match &asked.topic {
        Some(topic) => vec![topic.clone()],
        None => pipeline.shared.settings.topics.clone(),
    };
    let client = state.pipelines.client().clone();
    let known = spawn_blocking(move || {
        let admin = wasmill_kafka::admin::Admin::open(&client).ok()?;
        let partitions = topics.into_iter().filter_map(|topic| {
            let known = admin.describe_topic(&topic, ASK).ok()?;
            Some(known.partitions.iter().map(|one| TopicPartition::new(&*topic, one.id)).collect::<Vec<_>>())
        });
        Some(partitions.flatten().collect::<Vec<_>>())
    });
    let known = known.await.ok().flatten().unwrap_or_default();
    known.iter().filter(|id| !here.contains(id)).map(ToString::to_string).collect()
}
