//! A pipeline that runs, with what decides which version it runs; and the task that brings it to its end.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use wasmill_deploy::group::runner::Group;
use wasmill_deploy::swap::swapper::Swapper;
use wasmill_pipeline::{End, Handle, Pipeline};

/// A pipeline of the process, as everybody else sees it.
#[derive(Clone)]
pub struct Running {
    pub pipeline: Handle,
    /// What puts other handlers in force.
    pub swapper: Arc<Swapper>,
    /// What it agrees on with the other processes of its group; `None` without a control topic.
    pub group: Option<Arc<Group>>,
}

impl Running {
    pub fn name(&self) -> &str {
        &self.pipeline.shared.name
    }

    /// Ends it in good order.
    pub fn shut_down(&self) {
        self.pipeline.shut_down();
    }
}

/// A pipeline that is ready to run.
pub struct Task {
    pipeline: Pipeline,
    running: Running,
    /// One that is only prepared has a thread as well, which reads the control topic.
    _group: Option<StopGroup>,
}

impl Task {
    pub fn new(pipeline: Pipeline, swapper: Arc<Swapper>, group: Option<Arc<Group>>) -> Self {
        let running = Running { pipeline: pipeline.handle(), swapper, group };
        let stop = running.group.clone().map(StopGroup);
        Self { pipeline, running, _group: stop }
    }

    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Runs until it is told to shut down, or can go on no longer.
    pub async fn run(self) -> End {
        let Self { pipeline, running, _group } = self;
        running.swapper.begin();
        if let Some(group) = running.group.clone() {
            if let Err(error) = group.start() {
                return End::Failed(format!("no thread to follow the group with: {error}"));
            }
            tokio::select! {
                _ = spawn_blocking(move || group.wait_ready_to_join()) => {}
                () = running.pipeline.asked_to_end() => {}
            }
        }
        pipeline.run(|| running.swapper.close()).await
    }
}

/// Ends what follows the group when it is dropped.
struct StopGroup(Arc<Group>);

impl Drop for StopGroup {
    fn drop(&mut self) {
        self.0.stop();
    }
}
