//! What the admin port knows of the process.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;

use crate::pipelines::table::Pipelines;

/// What the routes look at.
pub struct State {
    /// The pipelines.
    pub pipelines: Arc<Pipelines>,
    /// The metrics.
    pub metrics: PrometheusHandle,
    /// What calls that change something must carry.
    pub token: String,
    /// Whether the port may be reached by other names than loopback's.
    pub allow_remote: bool,
    /// Components that are being received.
    pub uploads: Semaphore,
    /// When the process started.
    pub started: std::time::Instant,
}
