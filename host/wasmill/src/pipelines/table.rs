//! The table of the pipelines that run.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use wasmill_config as config;
use wasmill_kafka::ClientSettings;

use super::credentials::Credentials;
use super::launch::{Launch, Prepared};
use super::refused::Refused;
use super::running::{Running, Task};
use super::shares::Share;
use super::unstarted::{Unstarted, Waiting};
use wasmill_deploy::swap::watch::Watch;
use wasmill_pipeline::End;

/// What the loop of the process is told.
pub enum Order {
    /// Run this pipeline, and say how it ended under this number.
    Run(u64, Box<Task>),
    /// Look whether anything is left to run.
    Look,
}

/// The file that the process runs.
pub struct File {
    pub path: PathBuf,
    /// As it was read at the start. What is outside the pipelines stays in force.
    pub config: config::Config,
}

/// All pipelines of the process.
pub struct Pipelines {
    pub(super) launch: Launch,
    /// `None`: there is no file to read again, as in `wasmill dev`.
    file: Option<File>,
    pub(super) entries: Mutex<Entries>,
    /// One change of the pipelines at a time: a second one waits, and then sees what the first one left.
    turn: Mutex<()>,
    orders: mpsc::UnboundedSender<Order>,
    /// Those that could not start and are tried again.
    pub(super) waiting: Waiting,
}

#[derive(Default)]
pub(super) struct Entries {
    running: Vec<Entry>,
    next: u64,
    /// The process ends: nothing is started any more.
    pub(super) closing: bool,
    /// A change is under way: that nothing runs for a moment does not end the process.
    changing: bool,
}

struct Entry {
    number: u64,
    running: Running,
    share: Share,
    /// What swaps its handler when the file changes.
    watch: Option<Watch>,
    /// What its clients read when they were made.
    credentials: Credentials,
    /// Hears of its end, if it was asked to end without the process.
    waiting: Option<oneshot::Sender<End>>,
}

impl Pipelines {
    /// Loads, rehearses and asks for everything that `config` names. Nothing is consumed before the orders are obeyed.
    ///
    /// # Errors
    /// The first thing that does not pass.
    pub fn start(
        launch: Launch,
        config: &config::Config,
        file: Option<File>,
    ) -> anyhow::Result<(Arc<Self>, mpsc::UnboundedReceiver<Order>)> {
        let (orders, obeyed) = mpsc::unbounded_channel();
        let registry = Self {
            launch,
            file,
            entries: Mutex::default(),
            turn: Mutex::default(),
            orders,
            waiting: Waiting::default(),
        };
        let pipelines: Vec<_> = config.pipelines.iter().collect();
        if config.on_start_failure == config::OnStartFailure::StartOthers {
            registry.start_what_can(&pipelines)?;
            let registry = Arc::new(registry);
            registry.clone().try_again()?;
            return Ok((registry, obeyed));
        }
        let topics = registry.launch.ask_for_topics(&pipelines)?;
        let shares = Share::of_all(config.memory_bytes, &topics.partitions);
        for (settings, share) in pipelines.into_iter().zip(shares) {
            let prepared = registry.launch.prepare(settings, share, &topics.rules)?;
            registry.add(prepared)?;
        }
        Ok((Arc::new(registry), obeyed))
    }

    /// The pipelines of this moment, in the order in which they were started.
    pub fn handles(&self) -> Vec<Running> {
        self.entries.lock().running.iter().map(|entry| entry.running.clone()).collect()
    }

    pub fn handle(&self, name: &str) -> Option<Running> {
        self.entries.lock().running.iter().find(|entry| entry.running.name() == name).map(|one| one.running.clone())
    }

    /// The pipelines that could not start and are tried again.
    pub fn waiting(&self) -> Vec<Unstarted> {
        self.waiting.all()
    }

    /// The settings of every client of the process.
    pub fn client(&self) -> &ClientSettings {
        &self.launch.client
    }

    /// Ends all pipelines in good order. Nothing is started from now on.
    pub fn shut_down(&self) {
        let mut entries = self.entries.lock();
        entries.closing = true;
        self.waiting.close();
        entries.running.iter().for_each(|entry| entry.running.shut_down());
    }

    /// A pipeline ended; to be called within a runtime. True if that was asked for by a change of the pipelines, and says nothing of the process.
    pub fn ended(&self, number: u64, end: &End) -> bool {
        let mut entries = self.entries.lock();
        let Some(at) = entries.running.iter().position(|entry| entry.number == number) else { return false };
        let mut entry = entries.running.remove(at);
        // Whoever waited may be gone.
        let asked = entry.waiting.take().map(|waiting| waiting.send(end.clone()));
        // With it goes the pipeline's producer, and dropping a client may block.
        drop(spawn_blocking(move || drop(entry)));
        asked.is_some() && !entries.closing
    }

    /// Whether nothing runs and nothing is about to.
    pub fn is_over(&self) -> bool {
        let entries = self.entries.lock();
        entries.running.is_empty() && (entries.closing || !entries.changing && self.waiting.is_empty())
    }

    /// Hands a prepared pipeline to the loop of the process.
    pub(super) fn add(&self, Prepared { task, share, watch, credentials }: Prepared) -> anyhow::Result<()> {
        let mut entries = self.entries.lock();
        // Under the lock: a pipeline that came a moment after the shutdown would run on.
        anyhow::ensure!(!entries.closing, "the process is ending");
        entries.next += 1;
        let number = entries.next;
        let running = task.running().clone();
        entries.running.push(Entry { number, running, share, watch, credentials, waiting: None });
        self.orders.send(Order::Run(number, Box::new(task))).map_err(|_| anyhow::anyhow!("the process is ending"))
    }

    /// Asks a pipeline to drain, commit and leave its group; the answer is how it ended. `None`: it runs no more.
    pub(super) fn stop(&self, name: &str) -> Option<oneshot::Receiver<End>> {
        let mut entries = self.entries.lock();
        let entry = entries.running.iter_mut().find(|entry| entry.running.name() == name)?;
        let (ended, answer) = oneshot::channel();
        entry.waiting = Some(ended);
        entry.running.shut_down();
        Some(answer)
    }

    /// A pipeline that goes on has other settings: from now on it is that handler that a restart would run, and that is
    /// watched if any is. `digest`: of the handler that the file names.
    pub(super) fn reconfigured(
        &self,
        running: &Running,
        before: &config::Pipeline,
        now: &config::Pipeline,
        digest: Option<&str>,
    ) -> anyhow::Result<()> {
        running.swapper.configure(now, digest);
        if (before.swap.watch, &before.handler) == (now.swap.watch, &now.handler) {
            return Ok(());
        }
        let watch = self.launch.watch(running, now)?;
        let mut entries = self.entries.lock();
        let same = |entry: &&mut Entry| Arc::ptr_eq(&entry.running.swapper, &running.swapper);
        if let Some(entry) = entries.running.iter_mut().find(same) {
            entry.watch = watch;
        }
        Ok(())
    }

    /// The shares of all pipelines but those with these names.
    pub(super) fn shares_without(&self, names: &[&str]) -> Vec<Share> {
        let entries = self.entries.lock();
        let stays = entries.running.iter().filter(|entry| !names.contains(&entry.running.name()));
        stays.map(|entry| entry.share).collect()
    }

    /// The properties whose files hold something else than what a pipeline's clients read.
    pub fn replaced_credentials(&self, name: &str) -> Vec<String> {
        let now = Credentials::of(&self.launch.client);
        let entries = self.entries.lock();
        let entry = entries.running.iter().find(|entry| entry.running.name() == name);
        entry.map_or_else(Vec::new, |entry| entry.credentials.replaced(&now))
    }

    pub(super) fn begin(&self) -> Changing<'_> {
        let turn = self.turn.lock();
        self.entries.lock().changing = true;
        Changing { registry: self, _turn: turn }
    }

    pub(super) fn file(&self) -> Result<&File, Refused> {
        self.file.as_ref().ok_or_else(|| {
            Refused::of("this process does not read its configuration again; hint: only `wasmill run` does")
        })
    }

    /// The names of all of them, for people.
    pub fn names(&self) -> String {
        self.handles().iter().map(|running| running.name().to_owned()).collect::<Vec<_>>().join(", ")
    }
}

/// A change under way; ends when it is dropped.
pub(super) struct Changing<'a> {
    registry: &'a Pipelines,
    _turn: MutexGuard<'a, ()>,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.registry.entries.lock().changing = false;
        let _ = self.registry.orders.send(Order::Look);
    }
}
