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

/// A path and what answers there.
struct Route {
    path: &'static str,
    access: Access,
    handler: MethodRouter<Arc<State>>,
}

/// Who may call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    /// It looks at what says nothing of messages: whoever reaches the port may, by GET.
    Reading,
    /// It looks at what messages said, by GET: the guard stands before it as before a change.
    Private,
    /// It changes something, by POST: the guard stands before everything of the request but its head.
    Mutating,
}

/// All routes. The tests go over them, too.
fn routes() -> Vec<Route> {
    vec![
        reading("/healthz", health::alive),
        reading("/readyz", health::ready),
        reading("/metrics", metrics::metrics),
        reading(api::status::PATH, status::status),
        private(api::history::PATH, history::history),
        mutating(api::operate::RESUME, operate::resume),
        mutating(api::operate::PAUSE, operate::pause),
        mutating(api::operate::SKIP, operate::skip),
        mutating(api::seek::PATH, seek::seek),
        mutating(api::reload::PATH, reload::reload),
        mutating(api::restart::PATH, restart::restart),
        mutating(api::swap::SWAP, swap::swap),
        mutating(api::swap::ROLLBACK, swap::rollback),
    ]
}

fn reading<H: Handler<T, Arc<State>>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route { path, access: Access::Reading, handler: get(handler) }
}

fn private<H: Handler<T, Arc<State>>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route { path, access: Access::Private, handler: get(handler) }
}

fn mutating<H: Handler<T, Arc<State>>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route { path, access: Access::Mutating, handler: post(handler) }
}

/// The router of all routes.
pub fn router(state: Arc<State>) -> Router {
    let router = routes().into_iter().fold(Router::new(), |router, Route { path, access, handler }| {
        let handler = match access {
            Access::Reading => handler,
            Access::Private | Access::Mutating => handler.layer(from_fn_with_state(state.clone(), guard::guard)),
        };
        router.route(path, handler)
    });
    router.layer(DefaultBodyLimit::max(MOST_BYTES)).with_state(state)
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
            kafka: config::Kafka { bootstrap: String::new(), properties: config::Properties::default(), token: None },
            admin: None,
            memory_bytes: 0,
            pipelines: Vec::new(),
            state: ".".into(),
            on_start_failure: config::OnStartFailure::Exit,
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
    }

    #[test]
    fn what_messages_said_needs_the_token() {
        let port = port();
        for path in paths(Access::Private) {
            let path = of_pipeline(path, "orders");
            for token in [None, Some("another token")] {
                assert_eq!(ask(&port, "GET", &path, token, "").0, 401, "{path}");
            }
            let (status, text) = ask(&port, "GET", &path, Some(TOKEN), "");
            assert_eq!((status, text.as_str()), (404, r#"{"error":"no pipeline `orders`; there is "}"#));
            assert_eq!(ask(&port, "POST", &path, Some(TOKEN), "{}").0, 405, "{path}");
        }
    }

    fn paths(access: Access) -> impl Iterator<Item = &'static str> {
        routes().into_iter().filter(move |route| route.access == access).map(|route| route.path)
    }

    #[test]
    fn what_changes_something_is_not_among_the_paths_that_look() {
        let port = port();
        for path in paths(Access::Reading) {
            let path = of_pipeline(path, "orders");
            let status = ask(&port, "GET", &path, None, "").0;
            assert!(matches!(status, 200 | 404), "{path}: {status}");
            assert_eq!(ask(&port, "POST", &path, Some(TOKEN), "{}").0, 405, "{path}");
        }
    }

    #[test]
    fn a_change_needs_the_token_before_a_byte_of_its_body_is_looked_at() {
        let port = port();
        let large = " ".repeat(MOST_BYTES + 1);
        for path in paths(Access::Mutating) {
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
