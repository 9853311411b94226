//! Every route of the admin port: a line for each, with its handler and who may call it.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

use super::request::MOST_BYTES;
use super::state::State;
use super::{guard, health, history, metrics, operate, reload, restart, seek, status, swap};
use crate::api;

/// All routes.
pub fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/healthz", reading(health::alive))
        .route("/readyz", reading(health::ready))
        .route("/metrics", reading(metrics::metrics))
        .route(api::status::PATH, reading(status::status))
        .route(api::history::PATH, reading(history::history))
        .route(api::operate::RESUME, mutating(&state, operate::resume))
        .route(api::operate::PAUSE, mutating(&state, operate::pause))
        .route(api::operate::SKIP, mutating(&state, operate::skip))
        .route(api::seek::PATH, mutating(&state, seek::seek))
        .route(api::reload::PATH, mutating(&state, reload::reload))
        .route(api::restart::PATH, mutating(&state, restart::restart))
        .route(api::swap::SWAP, mutating(&state, swap::swap))
        .route(api::swap::ROLLBACK, mutating(&state, swap::rollback))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(state)
}

/// A call that looks: whoever reaches the port may.
fn reading<H: Handler<T, Arc<State>>, T: 'static>(handler: H) -> MethodRouter<Arc<State>> {
    get(handler)
}

/// A call that changes something: the guard stands before everything of the request but its head.
fn mutating<H: Handler<T, Arc<State>>, T: 'static>(state: &Arc<State>, handler: H) -> MethodRouter<Arc<State>> {
    post(handler).layer(from_fn_with_state(state.clone(), guard::guard))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::sync::Semaphore;
    use wasmill_config as config;
    use wasmill_deploy::handler::loader::Loader;
    use wasmill_kafka::ClientSettings;

    use super::*;
    use crate::admin::Admin;
    use crate::api::of_pipeline;
    use crate::pipelines::launch::Launch;
    use crate::pipelines::table::Pipelines;

    const TOKEN: &str = "the token of this test";

    /// A port of a process without pipelines.
    fn port() -> Admin {
        let launch = Launch {
            loader: Loader::open(None).expect("a loader"),
            client: ClientSettings::default(),
            memory_bytes: 0,
            state: None,
            observer: None,
            embedded: true,
        };
        let config = config::Config {
            kafka: config::Kafka { bootstrap: String::new(), properties: config::Properties::default() },
            admin: None,
            memory_bytes: 0,
            pipelines: Vec::new(),
            directory: ".".into(),
        };
        let (pipelines, _) = Pipelines::start(launch, &config, None).expect("no pipelines");
        let settings = config::Admin { listen: ([127, 0, 0, 1], 0).into(), allow_remote: false, token_file: None };
        let state = State {
            pipelines,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            token: TOKEN.to_owned(),
            allow_remote: false,
            uploads: Semaphore::new(1),
            started: Instant::now(),
        };
        Admin::start(&settings, state).expect("a port")
    }

    /// Status and body of what is answered.
    fn ask(port: &Admin, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", port.address));
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = request.header("Expect", "100-continue").body(body.to_owned()).expect("a request");
        let mut answer = agent.run(request).expect("an answer");
        (answer.status().as_u16(), answer.body_mut().read_to_string().expect("text"))
    }

    #[test]
    fn whoever_reaches_the_port_may_look() {
        let port = port();
        assert_eq!(ask(&port, "GET", "/healthz", None, ""), (200, "ok\n".to_owned()));
        assert_eq!(ask(&port, "GET", "/readyz", None, ""), (200, "ready\n".to_owned()));
        assert_eq!(ask(&port, "GET", "/metrics", None, "").0, 200);
        let (status, text) = ask(&port, "GET", api::status::PATH, None, "");
        let read: api::status::Status = serde_json::from_str(&text).expect("a status");
        assert!(status == 200 && read.ready && read.pipelines.is_empty(), "{text}");
        let (status, text) = ask(&port, "GET", &of_pipeline(api::history::PATH, "orders"), None, "");
        assert_eq!((status, text.as_str()), (404, r#"{"error":"no pipeline `orders`; there is "}"#));
    }

    #[test]
    fn a_change_needs_the_token_before_a_byte_of_its_body_is_looked_at() {
        let port = port();
        let large = " ".repeat(MOST_BYTES + 1);
        for path in [
            api::operate::RESUME,
            api::operate::PAUSE,
            api::operate::SKIP,
            api::seek::PATH,
            api::reload::PATH,
            api::restart::PATH,
            api::swap::SWAP,
            api::swap::ROLLBACK,
        ] {
            let path = of_pipeline(path, "orders");
            for token in [None, Some("another token")] {
                for body in ["{}", &large] {
                    assert_eq!(ask(&port, "POST", &path, token, body).0, 401, "{path}");
                }
            }
            assert_eq!(ask(&port, "GET", &path, Some(TOKEN), "").0, 405, "{path}");
            // A component is no body of a few words; its own gate knows how large it may be.
            let is_few_words = !path.ends_with("/swap") && !path.ends_with("/rollback");
            let (status, text) = ask(&port, "POST", &path, Some(TOKEN), &large);
            assert_eq!(status, if is_few_words { 413 } else { 404 }, "{path}: {text}");
            let (status, text) = ask(&port, "POST", &path, Some(TOKEN), "{}");
            assert_eq!(status, if path == api::reload::PATH { 409 } else { 404 }, "{path}: {text}");
            assert!(serde_json::from_str::<api::error::Refusal>(&text).is_ok(), "{text}");
        }
    }
}
