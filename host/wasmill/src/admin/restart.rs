//! Restart.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};

use super::request::{Answer, Body, Sorted, find, read, refuse_change, waited};
use super::state::State;
use crate::api::Nothing;
use crate::api::restart::Restarted;

/// Starts a pipeline again.
pub async fn restart(Shared(state): Shared<Arc<State>>, Path(name): Path<String>, body: Body) -> Answer<Restarted> {
    find(&state, &name)?;
    let Nothing {} = read(body, "send {}")?;
    let pipelines = state.pipelines.clone();
    waited(move || pipelines.restart(&name, "wasmill restart")).await?.map(Sorted).map_err(refuse_change)
}
