//! History.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};

use super::request::{Answer, Sorted, find};
use super::state::State;
use crate::api::history::History;

/// Which handlers a pipeline had.
pub async fn history(Shared(state): Shared<Arc<State>>, Path(pipeline): Path<String>) -> Answer<History> {
    let history = find(&state, &pipeline)?.swapper.history();
    Ok(Sorted(History { pipeline, history }))
}
