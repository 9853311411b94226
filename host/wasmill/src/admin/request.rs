//! What every route does with a request: reads its body, finds what it names, refuses it, waits for what it asks for.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;
use wasmill_kafka::TopicPartition;
use wasmill_pipeline::Handle;

use super::state::State;
use crate::api::error::{Detail, Refusal};
use crate::pipelines::refused;
use crate::pipelines::running::Running;

/// A request is a few words.
pub const MOST_BYTES: usize = 64 << 10;
/// Why a call is refused, and with which status.
pub type Refused = (StatusCode, Sorted<Refusal>);
/// What a call answers.
pub type Answer<T> = Result<Sorted<T>, Refused>;

/// An answer in JSON, its fields in the order of their names.
#[derive(Debug)]
pub struct Sorted<T>(pub T);

impl<T: Serialize> IntoResponse for Sorted<T> {
    fn into_response(self) -> Response {
        match serde_json::to_value(self.0) {
            Ok(value) => Json(value).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

/// A call's body as it came, or why it did not come whole.
pub struct Body(Result<Bytes, BytesRejection>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        // A body that tells its length is refused by that; the limit of the router would wait for its bytes.
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if length.and_then(|length| length.parse().ok()).is_some_and(|length: u64| length > MOST_BYTES as u64) {
            return Err(too_large());
        }
        Ok(Self(Bytes::from_request(request, state).await))
    }
}

fn too_large() -> Refused {
    refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body has more than {MOST_BYTES} bytes"))
}

/// A refusal with nothing to say but this.
pub fn refuse(status: StatusCode, text: &str) -> Refused {
    (status, Sorted(Refusal::of(text)))
}

/// A refusal with more to say.
pub fn refuse_with(status: StatusCode, error: String, detail: Detail) -> Refused {
    (status, Sorted(Refusal { error, detail }))
}

/// A refusal of a change of the pipelines.
pub fn refuse_change(refused::Refused { error, findings }: refused::Refused) -> Refused {
    let detail = if findings.is_empty() { Detail::None {} } else { Detail::File { findings } };
    refuse_with(StatusCode::CONFLICT, error, detail)
}

/// Does something on a thread that may wait.
pub async fn waited<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    spawn_blocking(wait).await.map_err(|panic| refuse(StatusCode::INTERNAL_SERVER_ERROR, &panic.to_string()))
}

/// The pipeline of that name.
pub fn find(state: &State, name: &str) -> Result<Running, Refused> {
    state.pipelines.handle(name).ok_or_else(|| {
        let text = format!("no pipeline `{name}`; there is {}", state.pipelines.names());
        refuse(StatusCode::NOT_FOUND, &text)
    })
}

/// What a body asks for; `hint` says what to send.
pub fn read<T: Default + DeserializeOwned>(Body(body): Body, hint: &str) -> Result<T, Refused> {
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
    let topics = &pipeline.shared.started_with.topics;
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
