//! Metrics: counters as they were recorded, gauges as they are now.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::gauges;
use super::state::State;
use crate::pipelines::running::Running;

/// All of them, in the text format of Prometheus.
pub async fn metrics(Shared(state): Shared<Arc<State>>) -> Response {
    let pipelines: Vec<_> = state.pipelines.handles().iter().map(Running::status).collect();
    let text = state.metrics.render() + &gauges::render(&pipelines);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
