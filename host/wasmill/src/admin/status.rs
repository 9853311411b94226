//! Status.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;

use super::state::State;
use crate::api::status::Status;
use crate::pipelines::running::Running;

/// The status of this moment.
pub async fn status(Shared(state): Shared<Arc<State>>) -> Json<Status> {
    let pipelines: Vec<_> = state.pipelines.handles().iter().map(Running::status).collect();
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: state.started.elapsed().as_secs(),
        ready: pipelines.iter().all(|pipeline| pipeline.work.ready),
        pipelines,
    })
}
