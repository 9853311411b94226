//! Changes of a topic that is there.

use anyhow::Result;
use serde_json::json;

use super::Eye;

impl Eye {
    /// Sets a property of a topic.
    ///
    /// # Errors
    /// What Kafka says.
    pub fn alter_topic(&self, topic: &str, name: &str, value: &str) -> Result<()> {
        self.call("alter_topic", json!({ "topic": topic, "name": name, "value": value })).map(drop)
    }
}
