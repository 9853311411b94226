//! Health: whether the process is alive, and whether its pipelines do their work.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::state::State;
use crate::pipelines::running::Running;

/// A member's thread that has not polled for so long, beyond a drain, is wedged.
const WEDGED: Duration = Duration::from_secs(30);

/// Whether every member polls.
pub async fn alive(Shared(state): Shared<Arc<State>>) -> Response {
    for Running { pipeline, .. } in state.pipelines.handles() {
        let bound = pipeline.shared.started_with.drain_timeout + WEDGED;
        if let Some(member) = pipeline.members.iter().find(|member| member.has_joined() && member.silent_for() > bound)
        {
            let text = format!("pipeline {}: member {} does not poll\n", pipeline.shared.name, member.index);
            return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        }
    }
    "ok\n".into_response()
}

/// How strict a question for readiness is.
#[derive(Debug, Default, serde::Deserialize)]
pub struct Strict {
    /// `1`: what concerns single partitions counts as well. For alerts, not for probes.
    strict: Option<String>,
}

/// Whether every pipeline is ready; else why not. What is degraded is named too.
pub async fn ready(Shared(state): Shared<Arc<State>>, Query(Strict { strict }): Query<Strict>) -> Response {
    let (mut not_ready, mut degraded) = (Vec::new(), Vec::new());
    for running in state.pipelines.handles() {
        let status = running.status();
        for condition in &status.work.conditions {
            let line = format!("pipeline {}: {}\n", status.serving.name, condition.line());
            if condition.not_ready { not_ready.push(line) } else { degraded.push(line) }
        }
    }
    for one in state.pipelines.waiting() {
        let (name, reason, next) = (&one.settings.name, &one.reason, one.next_in().as_secs());
        not_ready.push(format!("pipeline {name}: cannot start: {reason}; tried again in {next} s\n"));
    }
    let strict = strict.is_some_and(|strict| strict != "0");
    let code = if not_ready.is_empty() && (degraded.is_empty() || !strict) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let head = match (not_ready.is_empty(), degraded.is_empty()) {
        (true, true) => "ready\n",
        (true, false) => "ready, degraded\n",
        (false, _) => "not ready\n",
    };
    (code, [head.to_owned(), not_ready.concat(), degraded.concat()].concat()).into_response()
}
