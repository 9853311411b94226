//! Swap and rollback.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Path, Query, Request, State as Shared};
use axum::http::{StatusCode, header};
use tokio::task::spawn_blocking;
use wasmill_deploy::group::lead::Wanted;
use wasmill_deploy::swap::answer::Outcome;
use wasmill_deploy::swap::gate::{self, Gate, Refusal};
use wasmill_deploy::swap::swapper::Ask;

use super::request::{Answer, Refused, Sorted, find, refuse, refuse_with};
use super::state::State;
use crate::api::error::Detail;
use crate::api::swap::{Asked, Swapped};
use crate::pipelines::running::Running;

/// Replaces the handler of a pipeline; the body is the component.
pub async fn swap(
    Shared(state): Shared<Arc<State>>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Answer<Swapped> {
    let running = find(&state, &name)?;
    let settings = running.swapper.settings();
    // One component at a time is kept in memory; others wait outside of the process.
    let _upload =
        state.uploads.acquire().await.map_err(|_| refuse(StatusCode::SERVICE_UNAVAILABLE, "the process ends"))?;
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if let Some(length) = length.and_then(|length| length.parse().ok()) {
        gate::size(length, &settings).map_err(refused)?;
    }
    let most = usize::try_from(settings.limits.component_bytes).unwrap_or(usize::MAX);
    let bytes =
        to_bytes(request.into_body(), most).await.map_err(|error| match gate::size(most as u64 + 1, &settings) {
            Err(refusal) if error.to_string().contains("limit") => refused(refusal),
            _ => refuse(StatusCode::BAD_REQUEST, &format!("the component did not come whole: {error}")),
        })?;
    if asked.group {
        if asked.rollout.is_some() {
            let text = "a group swaps at once, without a rollout; hint: leave out --rollout";
            return Err(refuse(StatusCode::BAD_REQUEST, text));
        }
        let wanted = Wanted::Component { bytes: bytes.to_vec(), source: shown(asked.source, "uploaded") };
        return swap_group(&running, wanted, shown(asked.by, "admin")).await;
    }
    let ask = Ask {
        bytes: Some(bytes.to_vec()),
        settings: None,
        source: shown(asked.source, "uploaded"),
        by: shown(asked.by, "admin"),
        rollout: asked.rollout,
    };
    answer(spawn_blocking(move || running.swapper.swap(ask)).await)
}

/// Goes back to the version before.
pub async fn rollback(
    Shared(state): Shared<Arc<State>>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Answer<Swapped> {
    let running = find(&state, &name)?;
    let by = shown(asked.by, "admin");
    if asked.group {
        return swap_group(&running, Wanted::Previous, by).await;
    }
    answer(spawn_blocking(move || running.swapper.rollback(&by)).await)
}

async fn swap_group(running: &Running, wanted: Wanted, by: String) -> Answer<Swapped> {
    let Some(group) = running.group.clone() else {
        let text = format!(
            "{} has no control topic, through which its group could agree; hint: swap.control_topic = \"NAME\", in every \
             process of the group",
            running.name()
        );
        return Err(refuse(StatusCode::CONFLICT, &text));
    };
    let swapped = spawn_blocking(move || group.swap(wanted, &by)).await.map_err(|_| broken())?.map_err(|refusal| {
        tracing::warn!(pipeline = %running.name(), reason = refusal.reason, "group refused to swap");
        let detail = Detail::Group { gate: refusal.gate, process: refusal.process };
        refuse_with(StatusCode::CONFLICT, refusal.reason, detail)
    })?;
    Ok(Sorted(Swapped::Group(swapped)))
}

fn answer<E>(done: Result<Result<Outcome, Refusal>, E>) -> Answer<Swapped> {
    let outcome = done.map_err(|_| broken())?.map_err(refused)?;
    Ok(Sorted(Swapped::Here(outcome)))
}

fn broken() -> Refused {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "the swap broke off; hint: see the log of the process")
}

fn refused(refusal: Refusal) -> Refused {
    let status = if refusal.gate == Gate::Size { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::CONFLICT };
    let error = refusal.to_string();
    refuse_with(status, error, Detail::Gate { gate: refusal.gate.as_str().to_owned(), reason: refusal.reason })
}

/// What somebody says of themselves, as far as a log and a page can bear it.
fn shown(text: Option<String>, otherwise: &str) -> String {
    const LETTERS: usize = 200;
    let text = text.unwrap_or_default();
    let clean: String = text.chars().filter(|letter| !letter.is_control()).take(LETTERS).collect();
    if clean.trim().is_empty() { otherwise.to_owned() } else { clean }
}
