//! What a pipeline needs before it runs: its topics, its handler loaded and rehearsed, its producer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use wasmill_config as config;
use wasmill_deploy::group::control::Control;
use wasmill_deploy::group::runner::{Beginning, Group};
use wasmill_deploy::handler::loader::Loader;
use wasmill_deploy::swap::swapper::Swapper;
use wasmill_deploy::swap::watch::{self, Watch};
use wasmill_kafka::{ClientError, ClientSettings, TokenSource, TopicRules};
use wasmill_pipeline::shared::Observer;
use wasmill_pipeline::{Handle, Parts, Pipeline, handler_spec};

use super::credentials::Credentials;
use super::running::{Running, Task};
use super::shares::Share;

/// How long the cluster may take to be there.
const REACH: Duration = Duration::from_secs(9);
/// How long the cluster may take to answer.
const ASK: Duration = Duration::from_secs(15);
/// How long it may take to tell what a topic refuses; nothing depends on the answer.
const ASK_RULES: Duration = Duration::from_secs(5);

/// Makes an observer of a pipeline.
pub type Observe = Box<dyn Fn(&config::Pipeline) -> Arc<dyn Observer> + Send + Sync>;

/// What all pipelines of the process are started with.
pub struct Launch {
    pub loader: Loader,
    /// For every client of the process.
    pub client: ClientSettings,
    /// What all pipelines together may use.
    pub memory_bytes: u64,
    /// The folder in which histories are kept.
    pub state: Option<PathBuf>,
    /// Makes who looks on, for `dev`.
    pub observer: Option<Observe>,
    /// The cluster is the embedded one, which has no rules for its topics and does not answer who asks for them.
    pub embedded: bool,
}

/// A pipeline that has passed everything and may run.
pub struct Prepared {
    pub task: Task,
    /// What it may use of the memory.
    pub share: Share,
    /// What swaps its handler when the file changes.
    pub watch: Option<Watch>,
    /// What its clients read when they were made.
    pub credentials: Credentials,
}

/// What the cluster says of the topics of some pipelines.
pub struct Topics {
    /// Partitions of the input topics of each pipeline, in their order.
    pub partitions: Vec<u64>,
    /// What output topics are known to refuse, by name.
    pub rules: BTreeMap<String, TopicRules>,
}

/// The client settings that every client of the process shares.
pub fn client_settings(kafka: &config::Kafka) -> ClientSettings {
    ClientSettings {
        bootstrap: kafka.bootstrap.clone(),
        client_id: "wasmill".to_owned(),
        properties: kafka.properties.clone().into_inner(),
        token: kafka.token.clone().map(|token| match token {
            config::Token::File(path) => TokenSource::File(path),
            config::Token::Command(words) => TokenSource::Command(words),
        }),
    }
}

impl Launch {
    /// Loads a pipeline's handler, rehearses its `init` and opens its producer. Nothing is consumed.
    ///
    /// # Errors
    /// What does not pass, with the pipeline's name.
    pub fn prepare(
        &self,
        settings: &config::Pipeline,
        share: Share,
        rules: &BTreeMap<String, TopicRules>,
    ) -> anyhow::Result<Prepared> {
        // Before any client reads them: what is replaced meanwhile counts as replaced.
        let credentials = Credentials::of(&self.client);
        let Share { partitions, prefetch_bytes, buffer_bytes } = share;
        let fetch_bytes = share.fetch_bytes();
        tracing::info!(
            pipeline = %settings.name, partitions, prefetch_bytes, fetch_bytes, buffer_bytes, "memory divided"
        );
        // The embedded cluster keeps no topic in one form for good, and nobody else is in its groups.
        let open = || if self.embedded { Ok(None) } else { Control::open(&self.client, settings) };
        let control = open().with_context(|| format!("pipeline {}", settings.name))?;
        let Beginning { plugin, source, configured, epoch } = match &control {
            Some(control) => control.begin(&self.loader, settings)?,
            None => Beginning::configured(&self.loader, settings)?,
        };
        let digest = plugin.digest().to_owned();
        let parts = Parts {
            client: self.client.clone(),
            plugin,
            source,
            epoch,
            grouped: control.is_some(),
            prefetch_bytes,
            fetch_bytes,
            buffer_bytes,
            rules: rules.clone(),
            observer: self.observer.as_ref().map(|make| make(settings)),
        };
        let pipeline = Pipeline::new(settings.clone(), parts).with_context(|| format!("pipeline {}", settings.name))?;
        let task = self.compose(pipeline, control, configured);
        let shared = &task.running().pipeline.shared;
        handler_spec::rehearse(&*shared.deployed().version.handler, settings)
            .with_context(|| format!("pipeline {}: handler {}", settings.name, settings.handler))?;
        tracing::info!(pipeline = %settings.name, group = %settings.group, plugin = digest, "handler loaded");
        let watch = self.watch(task.running(), settings)?;
        Ok(Prepared { task, share, watch, credentials })
    }

    /// Puts above a pipeline what decides which version it runs. `configured`: the digest of the handler that the
    /// configuration names, if it is another one.
    fn compose(&self, pipeline: Pipeline, control: Option<Arc<Control>>, configured: Option<String>) -> Task {
        let Handle { shared, lanes, members, .. } = pipeline.handle();
        let (loader, client) = (self.loader.clone(), self.client.clone());
        let swapper = Swapper::new(shared.clone(), lanes, loader, client, self.state.as_deref(), configured);
        let swapper = Arc::new(swapper);
        let group = control.map(|control| Arc::new(Group::new(control, shared, members, swapper.clone())));
        Task::new(pipeline, swapper, group)
    }

    /// Watches a pipeline's handler, if its settings say so. In `dev` it is the sources that are watched.
    pub fn watch(&self, running: &Running, settings: &config::Pipeline) -> anyhow::Result<Option<Watch>> {
        let wanted = settings.swap.watch && !self.embedded;
        wanted.then(|| watch::start(running.swapper.clone(), &settings.handler)).transpose()
    }

    /// Partitions of all input topics, for the memory budget, and what the output topics refuse; an error names every
    /// topic that is not there. wasmill makes no topics: one made by mistake, with the broker's defaults, is worse than
    /// an error.
    pub fn ask_for_topics(&self, pipelines: &[&config::Pipeline]) -> anyhow::Result<Topics> {
        let mut found = Topics { partitions: Vec::new(), rules: BTreeMap::new() };
        if pipelines.is_empty() {
            return Ok(found);
        }
        let mut missing: Vec<&str> = Vec::new();
        if !self.embedded {
            tracing::info!(bootstrap = %self.client.bootstrap, "looking for the cluster");
            let reached = wasmill_kafka::reach(&self.client, REACH);
            reached.with_context(|| format!("cannot reach kafka at {}", self.client.bootstrap))?;
        }
        let admin = wasmill_kafka::admin::Admin::open(&self.client)?;
        let topics = admin.topics(ASK).with_context(|| {
            format!("cannot reach kafka at {}; hint: see bootstrap in [kafka]", self.client.bootstrap)
        })?;
        for pipeline in pipelines {
            let mut partitions = 0;
            let inputs = pipeline.topics.iter().map(|topic| (topic, true));
            for (topic, input) in inputs.chain(pipeline.output_topics().map(|topic| (topic, false))) {
                match topics.iter().find(|known| known.name == *topic) {
                    Some(known) if input => partitions += known.partitions.len() as u64,
                    Some(_) if self.embedded => {}
                    Some(_) => match admin.topic_config(topic, ASK_RULES) {
                        Ok(entries) => {
                            found.rules.insert(topic.clone(), TopicRules::of(&entries));
                        }
                        // Not allowed to ask, or the broker does not know how to answer: then the broker refuses by itself.
                        Err(error) => tracing::debug!(topic, %error, "the topic's configuration is not to be had"),
                    },
                    None if missing.contains(&topic.as_str()) => {}
                    None => missing.push(topic),
                }
            }
            found.partitions.push(partitions);
        }
        // A list of all topics leaves out what may not be seen.
        for topic in &missing {
            if let Err(error @ ClientError::Denied { .. }) = admin.describe_topic(topic, ASK) {
                return Err(error.into());
            }
        }
        anyhow::ensure!(
            missing.is_empty(),
            "topics that do not exist: {}; hint: wasmill topic create {} --partitions N",
            missing.join(", "),
            missing.first().unwrap_or(&"NAME")
        );
        Ok(found)
    }
}
