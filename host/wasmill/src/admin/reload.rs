//! Reload.

use std::sync::Arc;

use axum::extract::State as Shared;

use super::request::{Answer, Body, Sorted, read, refuse_change, waited};
use super::state::State;
use crate::api::Nothing;
use crate::api::reload::Reloaded;

/// Reads the configuration again.
pub async fn reload(Shared(state): Shared<Arc<State>>, body: Body) -> Answer<Reloaded> {
    let Nothing {} = read(body, "send {}")?;
    let pipelines = state.pipelines.clone();
    waited(move || pipelines.reload("wasmill reload")).await?.map(Sorted).map_err(refuse_change)
}
