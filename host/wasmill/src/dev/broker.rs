//! The embedded broker of `wasmill dev`.

use std::collections::BTreeMap;

use wasmill_config as config;
use wasmill_kafka::mock::MockBroker;

/// Starts a broker with every topic of the configuration, and points the configuration at it.
pub(super) fn embed(config: &mut config::Config) -> anyhow::Result<MockBroker> {
    let broker = MockBroker::start(1)?;
    let mut topics: BTreeMap<&str, u32> = BTreeMap::new();
    for pipeline in &config.pipelines {
        let dead_letters = match &pipeline.on_exhausted {
            config::OnExhausted::DeadLetter(topic) => Some(topic),
            config::OnExhausted::Stop | config::OnExhausted::Skip => None,
        };
        let outputs = pipeline.output.default.iter().chain(&pipeline.output.granted);
        for topic in pipeline.topics.iter().chain(outputs).chain(dead_letters) {
            let count = topics.entry(topic).or_default();
            *count = (*count).max(pipeline.dev.partitions);
        }
    }
    for (topic, partitions) in topics {
        broker.create_topic(topic, partitions)?;
    }
    broker.bootstrap().clone_into(&mut config.kafka.bootstrap);
    // What is needed to reach the real cluster would only be in the way of reaching this one.
    config.kafka.properties = without_security(&config.kafka.properties);
    for pipeline in &mut config.pipelines {
        // What is saved takes over, whatever it does: whoever saved it looks on.
        pipeline.swap.rollout = config::Rollout::All;
        pipeline.swap.rollback = None;
        pipeline.properties = without_security(&pipeline.properties);
        pipeline.output.properties = without_security(&pipeline.output.properties);
    }
    if let Some(admin) = &mut config.admin {
        admin.listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    }
    Ok(broker)
}

fn without_security(properties: &config::Properties) -> config::Properties {
    let secure = |name: &str| ["security.", "sasl.", "ssl."].iter().any(|prefix| name.starts_with(prefix));
    let kept = properties.iter().filter(|(name, _)| !secure(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}
