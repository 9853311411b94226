//! Notices that a topic was deleted under us.
//!
//! librdkafka shows nothing of it for minutes, and a topic that was made again under the same name accepts the old offsets
//! and skips what is below them. So every few seconds the brokers are asked, without waiting, whether the topics of the
//! partitions held are still there and still the same.

use super::MemberEvent;
use super::describe::{Described, Question};
use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use std::collections::{HashMap, HashSet};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(3);

/// Topics with the id each had when its partitions came.
type Topics = [(Arc<str>, Option<String>)];

pub(super) struct TopicWatch {
    question: Option<Question>,
    next: Option<Instant>,
    judge: Judge,
}

impl TopicWatch {
    pub(super) fn new() -> Self {
        Self { question: None, next: None, judge: Judge::default() }
    }

    /// Takes an answer that has come, asks again when it is time. Never waits.
    ///
    /// # Safety
    /// `client` is alive and outlives the watch's question (`close`).
    pub(super) unsafe fn step(
        &mut self,
        client: NonNull<sys::rd_kafka_t>,
        held: &Topics,
        now: Instant,
    ) -> Option<MemberEvent> {
        if let Some(question) = &self.question {
            let answer = question.answer(Duration::ZERO)?;
            self.question = None;
            self.next = Some(now + INTERVAL);
            // A question that failed says nothing about topics.
            return self.judge.hear(held, &answer.unwrap_or_default());
        }
        if held.is_empty() || self.next.is_some_and(|next| now < next) {
            return None;
        }
        let topics: Vec<_> = held.iter().map(|(topic, _)| topic.clone()).collect();
        // SAFETY: alive and outliving, says the caller.
        self.question = unsafe { Question::ask(client, &topics) };
        self.next = Some(now + INTERVAL);
        None
    }

    /// Gives the queue of a question under way back to librdkafka; the client is about to be destroyed.
    pub(super) fn close(&mut self) {
        self.question = None;
    }
}

#[derive(Default)]
struct Judge {
    /// Topics that one answer did not know. A single broker may be behind.
    missed: HashSet<Arc<str>>,
    /// Topics that were told of, with the id that partitions had then.
    told: HashMap<Arc<str>, Option<String>>,
}

impl Judge {
    fn hear(&mut self, held: &Topics, answer: &[Described]) -> Option<MemberEvent> {
        self.told.retain(|topic, id| held.iter().any(|(held, held_id)| held == topic && held_id == id));
        for (topic, id) in held {
            let Some(found) = answer.iter().find(|described| described.topic == *topic) else { continue };
            let gone = if found.err.is(E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
                || found.err.is(E::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
            {
                !self.missed.insert(topic.clone())
            } else {
                self.missed.remove(topic);
                !found.err.is_error() && id.is_some() && found.id.is_some() && found.id != *id
            };
            if gone && !self.told.contains_key(topic) {
                self.told.insert(topic.clone(), id.clone());
                return Some(MemberEvent::TopicGone { topic: topic.to_string() });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn held() -> Vec<(Arc<str>, Option<String>)> {
        vec![(Arc::from("orders"), Some("old".to_owned()))]
    }

    fn said(id: Option<&str>, err: E) -> Vec<Described> {
        vec![Described { topic: Arc::from("orders"), id: id.map(str::to_owned), partitions: 4, err: Code(err as i32) }]
    }

    const GONE: E = E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    const FINE: E = E::RD_KAFKA_RESP_ERR_NO_ERROR;

    #[test]
    fn tells_once_of_a_deleted_topic_and_only_when_two_answers_agree() {
        let mut judge = Judge::default();
        assert_eq!(judge.hear(&held(), &said(None, GONE)), None);
        assert!(matches!(judge.hear(&held(), &said(None, GONE)), Some(MemberEvent::TopicGone { .. })));
        assert_eq!(judge.hear(&held(), &said(None, GONE)), None);
    }

    #[test]
    fn a_broker_that_was_behind_for_a_moment_is_not_believed() {
        let mut judge = Judge::default();
        assert_eq!(judge.hear(&held(), &said(None, GONE)), None);
        assert_eq!(judge.hear(&held(), &said(Some("old"), FINE)), None);
        assert_eq!(judge.hear(&held(), &said(None, GONE)), None);
    }

    #[test]
    fn tells_of_a_topic_made_again_under_the_same_name() {
        let mut judge = Judge::default();
        assert_eq!(judge.hear(&held(), &said(Some("old"), FINE)), None);
        assert!(matches!(judge.hear(&held(), &said(Some("new"), FINE)), Some(MemberEvent::TopicGone { .. })));
    }

    #[test]
    fn an_answer_that_failed_says_nothing_of_topics() {
        let mut judge = Judge::default();
        for _ in 0..3 {
            assert_eq!(judge.hear(&held(), &[]), None);
            assert_eq!(judge.hear(&held(), &said(None, E::RD_KAFKA_RESP_ERR__TIMED_OUT)), None);
        }
    }
}
