//! Making, deleting and describing topics.

use std::ffi::{CString, c_char};
use std::ptr::{NonNull, null};
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_admin_op_t as Op;
use rdkafka::bindings::rd_kafka_resp_err_t as E;

use super::metadata::{Metadata, TopicDescription};
use super::{Admin, RETRY_DELAY, check, slice};
use crate::TopicPartition;
use crate::error::{ClientError, Code, text_of};
use crate::native::{AdminOptions, Client, Event, Queue, c_string, text_in};
use crate::offsets::{EARLIEST, LATEST};

/// A topic to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; absent: the broker's default.
    pub partitions: Option<i32>,
    /// How many replicas; absent: the broker's default.
    pub replication: Option<i32>,
    /// Topic configuration, such as `cleanup.policy`.
    pub config: Vec<(String, String)>,
}

/// One entry of a topic's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name, such as `max.message.bytes`.
    pub name: String,
    /// Its value; absent for a secret.
    pub value: Option<String>,
    /// True if it is set on the topic itself, not inherited from the broker.
    pub set_on_topic: bool,
}

impl Admin {
    /// Makes a topic and waits until it can be used.
    ///
    /// # Errors
    /// `TOPIC_ALREADY_EXISTS`, `POLICY_VIOLATION`, `INVALID_CONFIG` and so on, with the broker's explanation; a timeout.
    pub fn create_topic(&self, topic: &NewTopic, timeout: Duration) -> Result<(), ClientError> {
        let deadline = Instant::now() + timeout;
        let what = || format!("create topic {}", topic.name);
        let new = NativeTopic::of(topic)?;
        let denied = |error: ClientError| error.needing("Create", "topic", &topic.name);
        let answer = self.call(&what(), Op::RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout, |options, queue| {
            // SAFETY: client, options and queue live; the array of one topic is read during the call.
            unsafe { sys::rd_kafka_CreateTopics(self.client.ptr(), &mut new.0.as_ptr(), 1, options, queue) }
        });
        let answer = answer.map_err(denied)?;
        // SAFETY: the event is the answer to this request (checked by `call`), its results live as long as it.
        unsafe {
            let result = sys::rd_kafka_event_CreateTopics_result(answer.ptr());
            let mut count = 0;
            let topics = sys::rd_kafka_CreateTopics_result_topics(result, &mut count);
            topic_results(&what(), topics, count).map_err(denied)?;
        }
        // The controller has it, the broker that is asked next may not yet; and one that knows of it may not lead it yet.
        loop {
            match self.describe_topic(&topic.name, deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() + RETRY_DELAY >= deadline => return Err(error),
                Err(_) => std::thread::sleep(RETRY_DELAY),
            }
        }
    }

    /// Deletes a topic with everything in it.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PART`, `TOPIC_AUTHORIZATION_FAILED` and so on; a timeout.
    pub fn delete_topic(&self, name: &str, timeout: Duration) -> Result<(), ClientError> {
        let what = format!("delete topic {name}");
        let topic = c_string(name, "topic name")?;
        // SAFETY: the name lives during the call; the new value is given back below.
        let mut delete = unsafe { sys::rd_kafka_DeleteTopic_new(topic.as_ptr()) };
        let answer = self.call(&what, Op::RD_KAFKA_ADMIN_OP_DELETETOPICS, timeout, |options, queue| {
            // SAFETY: client, options and queue live; the array of one is read during the call.
            unsafe { sys::rd_kafka_DeleteTopics(self.client.ptr(), &mut delete, 1, options, queue) }
        });
        // SAFETY: made above, copied by the request, given back once.
        unsafe { sys::rd_kafka_DeleteTopic_destroy(delete) };
        let answer = answer?;
        // SAFETY: as in `create_topic`.
        unsafe {
            let result = sys::rd_kafka_event_DeleteTopics_result(answer.ptr());
            let mut count = 0;
            let topics = sys::rd_kafka_DeleteTopics_result_topics(result, &mut count);
            topic_results(&what, topics, count).map_err(|error| error.needing("Delete", "topic", name))
        }
    }

    /// All topics that may be seen, by name; offsets are not asked for.
    ///
    /// # Errors
    /// No broker answered in time.
    pub fn topics(&self, timeout: Duration) -> Result<Vec<TopicDescription>, ClientError> {
        let metadata = Metadata::ask(&self.client, None, timeout)?;
        let mut topics: Vec<_> = metadata.topics().map(|(topic, _)| topic).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// One topic with the offsets of its partitions. It is not made by being asked for.
    ///
    /// # Errors
    /// It does not exist or may not be seen; no broker answered in time.
    pub fn describe_topic(&self, name: &str, timeout: Duration) -> Result<TopicDescription, ClientError> {
        let deadline = Instant::now() + timeout;
        let mut topic = describe(&self.client, name, timeout)?;
        let ids: Vec<_> = topic.partitions.iter().map(|partition| TopicPartition::new(name, partition.id)).collect();
        let left = || deadline.saturating_duration_since(Instant::now());
        let low = self.offsets(&ids, EARLIEST, left())?;
        let high = self.offsets(&ids, LATEST, left())?;
        for (index, partition) in topic.partitions.iter_mut().enumerate() {
            (partition.low, partition.high) = (low[index], high[index]);
        }
        Ok(topic)
    }

    /// A topic's configuration, inherited values included.
    ///
    /// # Errors
    /// No such topic, no permission to see it (`TOPIC_AUTHORIZATION_FAILED`), or no answer in time.
    pub fn topic_config(&self, name: &str, timeout: Duration) -> Result<Vec<ConfigEntry>, ClientError> {
        let what = format!("configuration of topic {name}");
        let topic = c_string(name, "topic name")?;
        let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
        // SAFETY: the name lives during the call; the new value is given back below.
        let mut resource = unsafe { sys::rd_kafka_ConfigResource_new(kind, topic.as_ptr()) };
        let answer = self.call(&what, Op::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout, |options, queue| {
            // SAFETY: client, options and queue live; the array of one is read during the call.
            unsafe { sys::rd_kafka_DescribeConfigs(self.client.ptr(), &mut resource, 1, options, queue) }
        });
        // SAFETY: made above, copied by the request, given back once.
        unsafe { sys::rd_kafka_ConfigResource_destroy(resource) };
        let answer = answer?;
        // SAFETY: as in `create_topic`; entries and their texts live as long as the event.
        unsafe {
            let mut entries = Vec::new();
            for resource in config_resources(&answer) {
                let code = Code(sys::rd_kafka_ConfigResource_error(resource) as i32);
                check(&what, code, sys::rd_kafka_ConfigResource_error_string(resource))
                    .map_err(|error| error.needing("DescribeConfigs", "topic", name))?;
                entries.extend(config_entries(resource));
            }
            Ok(entries)
        }
    }
}

/// A question for the configuration of some topics, under way. Nobody waits for the answer: it is there or not yet.
pub(crate) struct ConfigQuestion(Queue);

impl ConfigQuestion {
    /// Asks. `timeout`: how long brokers may take.
    pub(crate) fn ask(client: &Client, names: &[String], timeout: Duration) -> Result<Self, ClientError> {
        let names: Vec<_> = names.iter().map(|name| c_string(name, "topic name")).collect::<Result<_, _>>()?;
        let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
        let queue = client.as_ref().new_queue();
        let options = AdminOptions::new(client.as_ref(), Op::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout)?;
        // SAFETY: each name lives during its call.
        let new = |name: &CString| unsafe { sys::rd_kafka_ConfigResource_new(kind, name.as_ptr()) };
        let mut resources: Vec<_> = names.iter().map(new).collect();
        // SAFETY: client, options and queue live; the request copies the resources, which are ours and given back once.
        unsafe {
            sys::rd_kafka_DescribeConfigs(
                client.ptr(),
                resources.as_mut_ptr(),
                resources.len(),
                options.ptr(),
                queue.ptr(),
            );
            sys::rd_kafka_ConfigResource_destroy_array(resources.as_mut_ptr(), resources.len());
        }
        Ok(Self(queue))
    }

    /// The configuration of each topic that may be seen; `None` while there is no answer.
    pub(crate) fn answer(&self) -> Option<Vec<(String, Vec<ConfigEntry>)>> {
        let answer = self.0.poll(Duration::ZERO)?;
        if answer.error().0.is_error() {
            return Some(Vec::new());
        }
        // SAFETY: the event is the answer to `ask`; what is in it lives as long.
        let seen = unsafe {
            let fine = |resource: &*const sys::rd_kafka_ConfigResource_t| {
                !Code(sys::rd_kafka_ConfigResource_error(*resource) as i32).is_error()
            };
            let named = |resource| (text_of(sys::rd_kafka_ConfigResource_name(resource)), config_entries(resource));
            config_resources(&answer).into_iter().filter(fine).map(named).collect()
        };
        Some(seen)
    }
}

/// # Safety
/// `answer` is one to DescribeConfigs; the pointers are good as long as it.
unsafe fn config_resources(answer: &Event) -> Vec<*const sys::rd_kafka_ConfigResource_t> {
    // SAFETY: promised by the caller.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConfigs_result(answer.ptr());
        let mut count = 0;
        let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
        slice(resources, count).to_vec()
    }
}

/// # Safety
/// `resource` lives during the call.
unsafe fn config_entries(resource: *const sys::rd_kafka_ConfigResource_t) -> Vec<ConfigEntry> {
    // SAFETY: promised by the caller.
    unsafe {
        let mut count = 0;
        let configs = sys::rd_kafka_ConfigResource_configs(resource, &mut count);
        slice(configs, count).iter().map(|&entry| config_entry(entry)).collect()
    }
}

/// How many partitions a topic has.
pub(crate) fn partition_count(client: &Client, topic: &str, timeout: Duration) -> Result<i32, ClientError> {
    let topic = describe(client, topic, timeout)?;
    Ok(topic.partitions.len().try_into().unwrap_or(i32::MAX))
}

/// A topic without offsets.
fn describe(client: &Client, name: &str, timeout: Duration) -> Result<TopicDescription, ClientError> {
    let handle = client.topic(name)?;
    let metadata = Metadata::ask(client, Some(&handle), timeout)?;
    let unknown = Code(E::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC as i32);
    let (topic, code) =
        metadata.topics().next().ok_or_else(|| ClientError::request(format!("topic {name}"), unknown))?;
    check(&format!("topic {name}"), code, null()).map_err(|error| error.needing("Describe", "topic", name))?;
    Ok(topic)
}

/// The topic of a request to make it.
struct NativeTopic(NonNull<sys::rd_kafka_NewTopic_t>);

impl NativeTopic {
    fn of(topic: &NewTopic) -> Result<Self, ClientError> {
        let name = c_string(&topic.name, "topic name")?;
        let mut text = [0 as c_char; 256];
        let (partitions, replicas) = (topic.partitions.unwrap_or(-1), topic.replication.unwrap_or(-1));
        // SAFETY: the name lives during the call, `text` is as long as is said; the new value is given back by `drop`.
        let new =
            unsafe { sys::rd_kafka_NewTopic_new(name.as_ptr(), partitions, replicas, text.as_mut_ptr(), text.len()) };
        let new = NonNull::new(new).map(Self).ok_or_else(|| ClientError::Refused {
            what: format!("create topic {}", topic.name),
            code: "_INVALID_ARG".into(),
            text: text_in(&text),
        })?;
        for (key, value) in &topic.config {
            let (key, value) = (c_string(key, "topic configuration")?, c_string(value, "topic configuration")?);
            // SAFETY: the topic is ours; both texts are copied.
            unsafe { sys::rd_kafka_NewTopic_set_config(new.0.as_ptr(), key.as_ptr(), value.as_ptr()) };
        }
        Ok(new)
    }
}

impl Drop for NativeTopic {
    fn drop(&mut self) {
        // SAFETY: ours since `of`; the request copies it.
        unsafe { sys::rd_kafka_NewTopic_destroy(self.0.as_ptr()) }
    }
}

/// # Safety
/// `entry` lives during the call.
unsafe fn config_entry(entry: *const sys::rd_kafka_ConfigEntry_t) -> ConfigEntry {
    // SAFETY: promised by the caller.
    unsafe {
        let value = sys::rd_kafka_ConfigEntry_value(entry);
        let source = sys::rd_kafka_ConfigEntry_source(entry);
        ConfigEntry {
            name: text_of(sys::rd_kafka_ConfigEntry_name(entry)),
            value: (!value.is_null()).then(|| text_of(value)),
            set_on_topic: source == sys::rd_kafka_ConfigSource_t::RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG,
        }
    }
}

/// # Safety
/// The results live during the call.
unsafe fn topic_results(
    what: &str,
    topics: *mut *const sys::rd_kafka_topic_result_t,
    count: usize,
) -> Result<(), ClientError> {
    // SAFETY: promised by the caller.
    unsafe {
        for &topic in slice(topics, count) {
            let code = Code(sys::rd_kafka_topic_result_error(topic) as i32);
            check(what, code, sys::rd_kafka_topic_result_error_string(topic))?;
        }
    }
    Ok(())
}
