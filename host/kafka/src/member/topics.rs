//! Notices that a topic was deleted under us, that it is there again, and that it is another one.
//!
//! librdkafka shows nothing of it for minutes, and a topic that was made again under the same name accepts the old offsets
//! and skips what is below them. So every few seconds the brokers are asked, without waiting, whether the topics that are
//! read are there, and whether those of the partitions held are still the same. A topic that is gone takes its partitions
//! along sooner or later, so the question is not about the topics of partitions alone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::bindings::rd_kafka_resp_err_t as E;

use super::describe::{Described, Question};
use super::event::MemberEvent;
use super::health::Health;
use crate::native::ClientRef;

const TOPIC_CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// A topic of partitions that are held, with the id it had when they came.
pub(super) type Held = (Arc<str>, Option<String>);

pub(super) struct TopicWatch {
    question: Option<Question>,
    next: Option<Instant>,
    judge: Judge,
}

impl TopicWatch {
    pub(super) fn new() -> Self {
        Self { question: None, next: None, judge: Judge::default() }
    }

    /// Takes an answer that has come, asks again when it is time. Never waits. The client outlives the question (`close`).
    /// `topics`: those that are read. `also`: those that are watched for their health alone. `health` hears the answers.
    pub(super) fn step(
        &mut self,
        client: ClientRef<'_>,
        (topics, also): (impl FnOnce() -> Vec<Arc<str>>, &[String]),
        held: impl FnOnce() -> Vec<Held>,
        health: &Mutex<Health>,
        now: Instant,
    ) -> Vec<MemberEvent> {
        if let Some(question) = &self.question {
            let Some(answer) = question.answer(Duration::ZERO) else { return Vec::new() };
            self.question = None;
            self.next = Some(now + TOPIC_CHECK_INTERVAL);
            // A question that failed says nothing about topics.
            let mut answer = match answer {
                Ok(answer) => answer,
                Err(code) => {
                    // Whoever refuses has answered, and so has a broker that does not know the question.
                    if !code.is_transient() {
                        health.lock().hear(&[], now);
                    }
                    return Vec::new();
                }
            };
            health.lock().hear(&answer, now);
            // That a topic is missing which is only written to takes no partition along.
            let read = topics();
            answer.retain(|found| read.contains(&found.topic));
            return self.judge.hear(&held(), &answer);
        }
        if self.next.is_some_and(|next| now < next) {
            return Vec::new();
        }
        let mut asked = topics();
        asked.extend(also.iter().map(|topic| Arc::from(&**topic)));
        asked.sort_unstable();
        asked.dedup();
        self.question = Question::ask(client, &asked);
        self.next = Some(now + TOPIC_CHECK_INTERVAL);
        Vec::new()
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
    /// Topics that were told to be gone and are not there yet.
    gone: HashSet<Arc<str>>,
    /// Topics that were told to be others than those partitions are held of.
    told: HashSet<Held>,
}

impl Judge {
    fn hear(&mut self, held: &[Held], answer: &[Described]) -> Vec<MemberEvent> {
        self.told.retain(|told| held.contains(told));
        let mut events = Vec::new();
        for found in answer {
            let (topic, name) = (&found.topic, || found.topic.to_string());
            if found.err.is(E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
                || found.err.is(E::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
            {
                if !self.missed.insert(topic.clone()) && self.gone.insert(topic.clone()) {
                    events.push(MemberEvent::TopicGone { topic: name() });
                }
                continue;
            }
            if found.err.is_error() {
                continue;
            }
            self.missed.remove(topic);
            if self.gone.remove(topic) {
                events.push(MemberEvent::TopicThere { topic: name() });
                // That it is another one need not be told as well; it is if partitions of the old one are still held later.
                continue;
            }
            let other = |(of, id): &&Held| of == topic && id.is_some() && found.id.is_some() && *id != found.id;
            if let Some(held) = held.iter().find(other)
                && self.told.insert(held.clone())
            {
                events.push(MemberEvent::TopicMadeAgain { topic: name() });
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn held() -> Vec<Held> {
        vec![(Arc::from("orders"), Some("old".to_owned()))]
    }

    fn said(id: Option<&str>, err: E) -> Vec<Described> {
        let (leaders, under_replicated) = ((0..4).map(|partition| (partition, 1)).collect(), Vec::new());
        let (topic, id, err) = (Arc::from("orders"), id.map(str::to_owned), Code(err as i32));
        vec![Described { topic, id, partitions: 4, leaders, under_replicated, err }]
    }

    const MISSING: E = E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    const FINE: E = E::RD_KAFKA_RESP_ERR_NO_ERROR;

    fn gone() -> Vec<MemberEvent> {
        vec![MemberEvent::TopicGone { topic: "orders".into() }]
    }

    fn made_again() -> Vec<MemberEvent> {
        vec![MemberEvent::TopicMadeAgain { topic: "orders".into() }]
    }

    fn there() -> Vec<MemberEvent> {
        vec![MemberEvent::TopicThere { topic: "orders".into() }]
    }

    #[test]
    fn tells_once_of_a_deleted_topic_and_only_when_two_answers_agree() {
        let mut judge = Judge::default();
        assert_eq!(judge.hear(&held(), &said(None, MISSING)), []);
        assert_eq!(judge.hear(&held(), &said(None, MISSING)), gone());
        assert_eq!(judge.hear(&held(), &said(None, MISSING)), []);
    }

    #[test]
    fn tells_of_a_deleted_topic_when_its_partitions_are_gone_already() {
        let mut judge = Judge::default();
        assert_eq!(judge.hear(&held(), &said(None, MISSING)), []);
        assert_eq!(judge.hear(&[], &said(None, MISSING)), gone());
    }

    #[test]
    fn tells_once_that_a_deleted_topic_is_there_again() {
        let mut judge = Judge::default();
        judge.hear(&[], &said(None, MISSING));
        assert_eq!(judge.hear(&[], &said(None, MISSING)), gone());
        assert_eq!(judge.hear(&held(), &said(Some("new"), FINE)), there());
        assert_eq!(judge.hear(&[], &said(Some("new"), FINE)), []);
        assert_eq!(judge.hear(&held(), &said(Some("new"), FINE)), made_again(), "partitions of the old one are held");
        judge.hear(&[], &said(None, MISSING));
        assert_eq!(judge.hear(&[], &said(None, MISSING)), gone(), "and that it is gone once more");
    }

    #[test]
    fn a_broker_that_was_behind_for_a_moment_is_not_believed() {
        let mut judge = Judge::default();
        assert_eq!(judge.hear(&held(), &said(None, MISSING)), []);
        assert_eq!(judge.hear(&held(), &said(Some("old"), FINE)), []);
        assert_eq!(judge.hear(&held(), &said(None, MISSING)), []);
    }

    #[test]
    fn tells_once_of_a_topic_made_again_under_the_same_name() {
        let mut judge = Judge::default();
        assert_eq!(judge.hear(&held(), &said(Some("old"), FINE)), []);
        assert_eq!(judge.hear(&held(), &said(Some("new"), FINE)), made_again());
        assert_eq!(judge.hear(&held(), &said(Some("new"), FINE)), []);
    }

    #[test]
    fn an_answer_that_failed_says_nothing_of_topics() {
        let mut judge = Judge::default();
        for _ in 0..3 {
            assert_eq!(judge.hear(&held(), &[]), []);
            assert_eq!(judge.hear(&held(), &said(None, E::RD_KAFKA_RESP_ERR__TIMED_OUT)), []);
        }
    }
}
