//! A pipeline of one test: topics that no other test uses, a group, and the table that joins them.

use anyhow::Result;

use crate::eye::{Eye, Message, Offsets};
use crate::mill::{Options, guest};
use crate::shared::unique;

/// Topics of one test, and the pipeline between them. Pipeline and group have one name.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name of pipeline and group.
    pub name: String,
    /// The topic that is consumed.
    pub input: String,
    /// The topic that is granted, of one partition.
    pub output: String,
    /// The topic of the dead letters, of one partition.
    pub dead: String,
}

impl Case {
    /// Makes the topics.
    ///
    /// # Errors
    /// Kafka refuses.
    pub fn new(eye: &Eye, name: &str, partitions: u32) -> Result<Self> {
        Self::with_output(eye, name, partitions, &[])
    }

    /// Makes the topics, the output topic with these properties.
    ///
    /// # Errors
    /// Kafka refuses.
    pub fn with_output(eye: &Eye, name: &str, partitions: u32, output: &[(&str, &str)]) -> Result<Self> {
        let case = Self::named(name);
        eye.create_topic(&case.input, partitions, &[])?;
        eye.create_topic(&case.output, 1, output)?;
        eye.create_topic(&case.dead, 1, &[])?;
        Ok(case)
    }

    /// The names alone: on a cluster where [`Eye`] can make no topics.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let name = unique(name);
        let topic = |of: &str| format!("{name}-{of}");
        Self { input: topic("in"), output: topic("out"), dead: topic("dead"), name: name.clone() }
    }

    /// A process with this pipeline alone. `lines` are more keys of its table, those of its tables with their dots:
    /// `commit.mode = "auto"`. Unless they say otherwise, messages given up go to the dead letters, no breaker opens and
    /// a session ends after six seconds.
    ///
    /// # Errors
    /// The handler was not built.
    pub fn options(&self, bootstrap: &str, handler: &str, lines: &str) -> Result<Options> {
        Ok(Options::new(bootstrap, self.table(handler, lines)?))
    }

    /// The pipeline's table by itself, for a file with several.
    ///
    /// # Errors
    /// The handler was not built.
    pub fn table(&self, handler: &str, lines: &str) -> Result<String> {
        let Self { name, input, output, dead } = self;
        let handler = guest(handler)?;
        let mut text = format!(
            "[pipelines.{name}]\ntopics = [\"{input}\"]\ngroup = \"{name}\"\nhandler = \"{handler}\"\noutput.topic = \"{output}\"\n"
        );
        let defaults = [
            ("on_exhausted", format!("dead_letter = \"{dead}\"\n")),
            ("breaker", "breaker = false\n".to_owned()),
            ("session_timeout", "session_timeout = \"6s\"\n".to_owned()),
        ];
        for (key, line) in defaults {
            let replaced = key == "on_exhausted" && lines.contains("dead_letter");
            if !lines.contains(key) && !replaced {
                text.push_str(&line);
            }
        }
        text.push_str(lines);
        text.push('\n');
        Ok(text)
    }

    /// The values in the output topic, in the order of their offsets.
    ///
    /// # Errors
    /// Kafka cannot be read.
    pub fn outputs(&self, eye: &Eye) -> Result<Vec<String>> {
        values(eye, &self.output)
    }

    /// The dead letters, in the order of their offsets.
    ///
    /// # Errors
    /// Kafka cannot be read.
    pub fn dead_letters(&self, eye: &Eye) -> Result<Vec<Message>> {
        eye.read(&self.dead, &Offsets::new())
    }
}

/// The values of all messages of a topic.
///
/// # Errors
/// Kafka cannot be read.
pub fn values(eye: &Eye, topic: &str) -> Result<Vec<String>> {
    Ok(eye.read(topic, &Offsets::new())?.iter().map(Message::text).collect())
}
