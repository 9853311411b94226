//! The admin port: health, metrics, status, and the calls that move things. It has a thread and a runtime of its own,
//! so that it answers whatever the pipelines are doing. `router` lists the routes; a subject has a file here, and one with
//! its requests and answers in `api`.

mod gauges;
mod guard;
mod health;
mod history;
mod metrics;
mod operate;
mod reload;
mod request;
mod restart;
mod router;
mod seek;
mod state;
mod status;
mod swap;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use wasmill_config as config;

pub use guard::{TOKEN_BYTES, load_token, token_path};
pub use state::State;

/// A running admin port.
pub struct Admin {
    /// Where it listens; the port is a real one even if 0 was asked for.
    pub address: SocketAddr,
}

impl Admin {
    /// Binds and serves until the process ends.
    pub fn start(settings: &config::Admin, state: State) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(settings.listen).with_context(|| {
            format!(
                "admin port {} cannot be opened; hint: another process may listen there, set admin.listen, or run with --admin 127.0.0.1:PORT",
                settings.listen
            )
        })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let state = Arc::new(state);
        thread::Builder::new().name("admin".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let served = match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => axum::serve(listener, router::router(state)).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = served {
                    tracing::error!(%error, "admin port stopped");
                }
            });
        })?;
        Ok(Self { address })
    }
}
