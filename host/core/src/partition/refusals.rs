//! What the broker refused after the batch had left the lane.
//!
//! The bytes of everything in flight are not kept for this rare case. The partition drains, goes back to its watermark,
//! passes over what is complete, and settles the refused message when it comes round again.

use std::collections::BTreeMap;

use crate::messages::Messages;

/// How far the dead letter of a message has come. Each refusal by the broker moves it one on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeadLetterStage {
    /// With the original key, value and headers.
    Whole,
    /// With provenance and reason only: the whole one was refused.
    HeadersOnly,
}

/// An output or dead letter that the broker refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The message it came of.
    pub offset: i64,
    /// The topic takes nothing: this says nothing about the message.
    pub topic_wide: bool,
    /// Nobody refused it, and it is not there: the message is delivered again.
    pub again: bool,
    /// The broker's reason.
    pub reason: String,
}

/// A message whose output or dead letter was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What was refused: `None` an output, else the dead letter of that stage.
    pub stage: Option<DeadLetterStage>,
    /// The broker's reason.
    pub reason: String,
}

/// The refusals of a partition that are not settled yet.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Refusals {
    messages: BTreeMap<i64, Refusal>,
    /// Dead letters on their way.
    dead_letters: BTreeMap<i64, DeadLetterStage>,
    /// Messages of calls with a refusal that were not refused themselves.
    complete: Vec<(i64, i64)>,
    /// The first message that was refused because a topic takes nothing, and why.
    topic: Option<(i64, String)>,
}

impl Refusals {
    /// True if no message is to be settled when it comes round.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The refusal of a message.
    pub fn get(&self, offset: i64) -> Option<&Refusal> {
        self.messages.get(&offset)
    }

    /// Takes the refusal of this message, if there is one.
    pub(super) fn take(&mut self, offset: i64) -> Option<Refusal> {
        self.messages.remove(&offset)
    }

    /// A dead letter of that stage is on its way. Those of messages below the watermark are forgotten.
    pub(super) fn dead_letter(&mut self, offset: i64, stage: DeadLetterStage, watermark: i64) {
        self.dead_letters = self.dead_letters.split_off(&watermark);
        self.dead_letters.insert(offset, stage);
    }

    /// The broker refused some of what came of a call's messages.
    pub(super) fn note(&mut self, call: &Messages, refused: Vec<Refused>) {
        self.complete.extend(call.complete_beside(refused.iter().map(|one| one.offset)));
        for Refused { offset, topic_wide, again, reason } in refused {
            let stage = self.dead_letters.remove(&offset);
            if again {
                continue;
            }
            if topic_wide {
                // To fail message after message would only move all of them to the dead letters.
                if self.topic.as_ref().is_none_or(|(first, _)| offset < *first) {
                    let topic = if stage.is_some() { "dead-letter" } else { "output" };
                    self.topic = Some((offset, format!("the {topic} topic takes nothing: {reason}")));
                }
                continue;
            }
            self.messages.entry(offset).or_insert(Refusal { stage, reason });
        }
    }

    /// What is complete although its call is not, at a rewind.
    pub(super) fn take_complete(&mut self) -> Vec<(i64, i64)> {
        self.dead_letters.clear();
        std::mem::take(&mut self.complete)
    }

    /// The topic that takes nothing, at a rewind.
    pub(super) fn take_topic(&mut self) -> Option<(i64, String)> {
        self.topic.take()
    }
}
