//! Seek.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use serde_json::Value;
use tokio::task::spawn_blocking;
use wasmill_core::{BadPosition, Form, Position};
use wasmill_kafka::{TopicPartition, now_ms};
use wasmill_pipeline::Handle;

use super::request::{Answer, Body, Refused, Sorted, find, named, read, refuse, waited};
use super::state::State;
use crate::api::partition::Row;
use crate::api::seek::{Move, Sought, Where};

/// How long the cluster may take to say how many partitions a topic has; nothing depends on it.
const ASK: std::time::Duration = std::time::Duration::from_secs(5);

/// Moves partitions to other messages.
pub async fn seek(Shared(state): Shared<Arc<State>>, Path(name): Path<String>, body: Body) -> Answer<Sought> {
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
    let moved = pipeline.seek(targets).await.into_iter();
    let sought = moved.map(|(id, answer)| Row::new(id, answer.map(Move::from))).collect();
    Ok(Sorted(Sought { sought, not_here }))
}

/// The partitions of this process that are meant.
fn wanted(pipeline: &Handle, asked: &Where) -> Result<Vec<TopicPartition>, Refused> {
    if let Some(topic) = &asked.topic
        && !pipeline.shared.started_with.topics.contains(topic)
    {
        let topics = pipeline.shared.started_with.topics.join(", ");
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
        None => pipeline.shared.started_with.topics.clone(),
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
