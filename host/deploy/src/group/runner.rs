//! A pipeline, as the agreement of its group sees it; and which version it starts with.

use std::sync::Arc;

use anyhow::Context as _;
use wasmill_config as config;
use wasmill_core::VersionNote;
use wasmill_core::partition::Event as Happened;
use wasmill_kafka::TopicPartition;
use wasmill_pipeline::handler_spec;
use wasmill_pipeline::member::MemberShared;
use wasmill_pipeline::shared::{Event, PipelineShared};
use wasmill_wasm::Plugin;

use super::control::{Control, INITIATOR_HEAD_START};
use super::follow::{Follower, Runner};
use super::lead::{Refusal, Running, Swapped, Wanted, lead};
use super::record::Refused;
use crate::handler::digest::short;
use crate::handler::loader::Loader;
use crate::swap::gate::{self, Refusal as Shut};
use crate::swap::swapper::{Ask, Prepared, Swapper};

/// A pipeline with a control topic.
pub struct Group {
    control: Arc<Control>,
    runner: Arc<Pipeline>,
}

/// What the group may ask of it.
struct Pipeline {
    shared: Arc<PipelineShared>,
    members: Arc<Vec<Arc<MemberShared>>>,
    swapper: Arc<Swapper>,
}

/// What a pipeline with a control topic begins with.
pub struct Beginning {
    /// The handler that the group runs.
    pub plugin: Plugin,
    /// Where it came from.
    pub source: String,
    /// The digest of the configuration's handler, if that is another one.
    pub configured: Option<String>,
    /// The epoch of the version; zero: the group has not swapped yet.
    pub epoch: u64,
}

impl Beginning {
    /// With the handler that the configuration names.
    pub fn configured(loader: &Loader, settings: &config::Pipeline) -> anyhow::Result<Self> {
        let (plugin, source) = (loader.load(settings)?, settings.handler.to_string());
        Ok(Self { plugin, source, configured: None, epoch: 0 })
    }
}

impl Group {
    /// Makes it for a pipeline that does not run yet.
    pub fn new(
        control: Arc<Control>,
        shared: Arc<PipelineShared>,
        members: Arc<Vec<Arc<MemberShared>>>,
        swapper: Arc<Swapper>,
    ) -> Self {
        Self { control, runner: Arc::new(Pipeline { shared, members, swapper }) }
    }

    /// Follows what the group agrees on, from now on.
    pub fn start(&self) -> std::io::Result<()> {
        let epoch = self.runner.shared.deployed().version.epoch;
        Follower::start(self.control.clone(), self.runner.clone(), epoch)
    }

    /// Waits until this process has answered to what is asked at the moment: whoever joins the group without would be a
    /// member that nobody has heard of.
    pub fn wait_ready_to_join(&self) {
        let process = &self.control.process;
        self.control.wait_until(self.control.timeout + INITIATOR_HEAD_START, |books| {
            let Some(open) = books.accord.open() else { return Some(()) };
            let answer = books.accord.of(process).and_then(|said| said.answer.as_ref());
            answer.filter(|answer| answer.epoch == open.epoch).map(drop)
        });
    }

    /// Swaps the whole group.
    pub fn swap(&self, wanted: Wanted, by: &str) -> Result<Swapped, Refusal> {
        let shared = &self.runner.shared;
        let version = shared.deployed().version.clone();
        let most = version.settings.limits.component_bytes;
        let bytes = version.settings.handler.file().and_then(|path| config::file::read(path, most).ok());
        let running = Running {
            digest: version.digest().to_owned(),
            source: version.source.clone(),
            bytes: bytes.filter(|bytes| wasmill_wasm::digest(bytes) == version.digest()),
        };
        lead(&self.control, &*self.runner, running, wanted, by)
    }

    /// The name of this process, and the epoch that the group runs.
    pub fn standing(&self) -> (String, u64) {
        let epoch = self.control.books().accord.current().map_or(0, |current| current.epoch);
        (self.control.process.clone(), epoch)
    }

    /// Ends what follows.
    pub fn stop(&self) {
        self.control.stop();
    }
}

impl Control {
    /// The handler that the group runs; the configured one if it has not agreed on any.
    pub fn begin(&self, loader: &Loader, settings: &config::Pipeline) -> anyhow::Result<Beginning> {
        let Some(current) = self.books().accord.current().cloned() else {
            return Beginning::configured(loader, settings);
        };
        let configured = loader.fetch_for(settings);
        if let Ok(fetched) = &configured
            && fetched.digest == current.digest
        {
            let plugin = loader.load_fetched(settings, fetched)?;
            return Ok(Beginning { plugin, source: fetched.source.clone(), configured: None, epoch: current.epoch });
        }
        tracing::warn!(
            pipeline = %settings.name, epoch = current.epoch, plugin = current.digest, source = current.source,
            configured = %settings.handler,
            "the group runs another handler than the configuration names, and so does this process"
        );
        let named = || format!("pipeline {}: handler {} of the group", settings.name, short(&current.digest));
        let load = || -> anyhow::Result<Plugin> {
            let bytes = self.fetch(&current.digest)?;
            gate::size(bytes.len() as u64, settings)?;
            let plugin = loader.compile(&bytes, &settings.limits)?;
            plugin.check(handler_spec::grants(settings))?;
            Ok(plugin)
        };
        let configured = configured.ok().map(|fetched| fetched.digest);
        Ok(Beginning { plugin: load().with_context(named)?, source: current.source, configured, epoch: current.epoch })
    }
}

fn refused(Shut { gate, reason }: Shut) -> Refused {
    Refused { gate: gate.as_str().to_owned(), reason }
}

impl Runner for Pipeline {
    type Ready = Prepared;

    fn prepare(&self, bytes: Vec<u8>, source: &str, by: &str) -> Result<Prepared, Refused> {
        let ask = Ask {
            bytes: Some(bytes),
            settings: None,
            source: source.to_owned(),
            by: by.to_owned(),
            // A share of the messages would be another share in each process.
            rollout: Some(config::Rollout::All),
        };
        self.swapper.prepare(ask).map_err(refused)
    }

    fn switch(&self, ready: Prepared, epoch: u64) -> Result<u64, Refused> {
        let outcome = self.swapper.switch(ready, Some(epoch)).map_err(refused)?;
        Ok(outcome.lanes.iter().map(|lane| lane.pause_us).max().unwrap_or(0))
    }

    fn members(&self) -> Vec<String> {
        self.members.iter().filter_map(|member| member.handle()?.member_id()).collect()
    }

    fn serving(&self, epoch: u64) -> Vec<(TopicPartition, VersionNote)> {
        let mut serving = Vec::new();
        for member in self.members.iter() {
            for partition in member.delivery.holdings.all() {
                let note = partition.lock().succession().and_then(|succession| succession.serving());
                serving.extend(note.filter(|note| note.epoch == epoch).map(|note| (partition.id.clone(), note)));
            }
        }
        serving
    }

    fn behind(&self) -> Vec<u64> {
        let mut epochs = Vec::new();
        for member in self.members.iter() {
            let held = member.delivery.holdings.all();
            epochs.extend(held.iter().filter_map(|partition| partition.lock().succession()?.behind()));
        }
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }

    fn disown(&self, epoch: u64) {
        for member in self.members.iter() {
            for partition in member.delivery.holdings.all() {
                partition.apply(Happened::Disowned(epoch));
            }
        }
    }

    fn fail(&self, reason: String) {
        let _ = self.shared.events.send(Event::VersionLost { reason });
    }

    fn is_ending(&self) -> bool {
        self.swapper.is_closed()
    }
}
