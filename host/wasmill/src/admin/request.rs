//! What every route does with a request: reads its body, finds what it names, refuses it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use wasmill_kafka::TopicPartition;
use wasmill_pipeline::Handle;

use super::state::State;
use crate::pipelines::running::Running;

/// A request is a few words.
pub const MOST_BYTES: usize = 64 << 10;
pub type Refused = (StatusCode, Json<serde_json::Value>);
pub type Answer = Result<Json<serde_json::Value>, Refused>;
/// A call's body as it came, or why it did not come whole.
pub type Body = Result<Bytes, BytesRejection>;

pub fn too_large() -> Refused {
    refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body has more than {MOST_BYTES} bytes"))
}

pub fn refuse(status: StatusCode, text: &str) -> Refused {
    (status, Json(serde_json::json!({ "error": text })))
}

/// The pipeline of that name.
pub fn find(state: &State, name: &str) -> Result<Running, Refused> {
    state.pipelines.handle(name).ok_or_else(|| {
        let text = format!("no pipeline `{name}`; there is {}", state.pipelines.names());
        refuse(StatusCode::NOT_FOUND, &text)
    })
}

/// What a body asks for; `hint` says what to send.
pub fn read<T: Default + DeserializeOwned>(body: Body, hint: &str) -> Result<T, Refused> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        status => refuse(status, &rejection.body_text()),
    })?;
    if body.is_empty() {
        return Ok(T::default());
    }
    // Whatever the body says it is: one that is passed over in silence would turn one partition into all of them.
    serde_json::from_slice(&body)
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, &format!("the body is not understood: {error}; hint: {hint}")))
}

/// A partition by its number, and by its topic where there are several.
pub fn named(pipeline: &Handle, topic: Option<&str>, number: i32) -> Result<TopicPartition, Refused> {
    let topics = &pipeline.shared.settings.topics;
    let topic = match (topic, topics.as_slice()) {
        (Some(topic), _) => topic.to_owned(),
        (None, [only]) => only.clone(),
        (None, _) => return Err(refuse(StatusCode::BAD_REQUEST, "the pipeline has several topics: name one")),
    };
    let id = TopicPartition::new(topic, number);
    if pipeline.partition(&id).is_none() {
        return Err(refuse(StatusCode::NOT_FOUND, &format!("partition {id} is not assigned to this process")));
    }
    Ok(id)
}
