//! Admin calls, each one blocking until answered or until its time is over: topics here, groups in `group.rs`.

mod group;
mod metadata;

pub use group::{GroupDescription, GroupMember, GroupPartition};

use metadata::Metadata;

use crate::TopicPartition;
use crate::error::{ClientError, Code};
use crate::native::{Client, Event, Queue, c_string, millis, text_in, text_of};
use crate::settings::ClientSettings;
use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use std::ffi::c_char;
use std::ptr::{NonNull, null};
use std::time::{Duration, Instant};
use sys::rd_kafka_admin_op_t as Op;
use sys::rd_kafka_resp_err_t as E;

/// How often a request is repeated that has to wait for the cluster, such as for a new topic to be known.
const AGAIN: Duration = Duration::from_millis(50);

/// A client for admin calls.
pub struct Admin {
    client: Client,
}

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

/// A topic as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its partitions, ascending.
    pub partitions: Vec<PartitionDescription>,
}

impl TopicDescription {
    /// So many offsets before the end of a partition, or its oldest; `None` where its ends are not known.
    fn before_end(&self, partition: i32, count: u64) -> Option<i64> {
        let partition = self.partitions.iter().find(|known| known.id == partition)?;
        Some(partition.high?.saturating_sub_unsigned(count).max(partition.low?))
    }
}

/// A partition as the cluster knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub id: i32,
    /// The broker that leads it, if any does.
    pub leader: Option<i32>,
    /// Brokers that hold it.
    pub replicas: usize,
    /// Those of them that are in sync.
    pub in_sync: usize,
    /// The oldest offset, where it was asked for and answered.
    pub low: Option<i64>,
    /// The offset the next message will get, likewise.
    pub high: Option<i64>,
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
    /// Makes the client. No broker is asked yet.
    ///
    /// # Errors
    /// A property that librdkafka refuses.
    pub fn open(settings: &ClientSettings) -> Result<Self, ClientError> {
        let client = Client::open(sys::rd_kafka_type_t::RD_KAFKA_PRODUCER, &settings.base(), 0)?;
        Ok(Self { client })
    }

    /// Makes a topic and waits until it can be used.
    ///
    /// # Errors
    /// `TOPIC_ALREADY_EXISTS`, `POLICY_VIOLATION`, `INVALID_CONFIG` and so on, with the broker's explanation; a timeout.
    pub fn create_topic(&self, topic: &NewTopic, timeout: Duration) -> Result<(), ClientError> {
        let deadline = Instant::now() + timeout;
        let what = || format!("create topic {}", topic.name);
        let new = NativeTopic::of(topic)?;
        let answer = self.call(&what(), Op::RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout, |options, queue| {
            // SAFETY: client, options and queue live; the array of one topic is read during the call.
            unsafe { sys::rd_kafka_CreateTopics(self.client.ptr(), &mut new.0.as_ptr(), 1, options, queue) }
        })?;
        // SAFETY: the event is the answer to this request (checked by `call`), its results live as long as it.
        unsafe {
            let result = sys::rd_kafka_event_CreateTopics_result(answer.ptr());
            let mut count = 0;
            let topics = sys::rd_kafka_CreateTopics_result_topics(result, &mut count);
            topic_results(&what(), topics, count)?;
        }
        // The controller has it, the broker that is asked next may not yet; and one that knows of it may not lead it yet.
        loop {
            match self.describe_topic(&topic.name, deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() + AGAIN >= deadline => return Err(error),
                Err(_) => std::thread::sleep(AGAIN),
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
            topic_results(&what, topics, count)
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
            let result = sys::rd_kafka_event_DescribeConfigs_result(answer.ptr());
            let mut count = 0;
            let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
            let mut entries = Vec::new();
            for &resource in slice(resources, count) {
                let code = Code(sys::rd_kafka_ConfigResource_error(resource) as i32);
                check(&what, code, sys::rd_kafka_ConfigResource_error_string(resource))?;
                let configs = sys::rd_kafka_ConfigResource_configs(resource, &mut count);
                entries.extend(slice(configs, count).iter().map(|&entry| config_entry(entry)));
            }
            Ok(entries)
        }
    }

    /// For each partition: the offset of its first message of this time or later, in milliseconds since 1970; None if there
    /// is none.
    ///
    /// # Errors
    /// No such partition; no answer in time.
    pub fn offsets_at(
        &self,
        ids: &[TopicPartition],
        time: i64,
        timeout: Duration,
    ) -> Result<Vec<Option<i64>>, ClientError> {
        self.persist(timeout, |left| self.offsets(ids, time.max(0), left))
    }

    /// For each partition: the offset that `spec` means there (a time, [`EARLIEST`] or [`LATEST`]); None if it has none,
    /// such as no message of that time or later.
    fn offsets(&self, ids: &[TopicPartition], spec: i64, timeout: Duration) -> Result<Vec<Option<i64>>, ClientError> {
        let what = "offsets of partitions";
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let list = partition_list(ids.iter().map(|id| (id, spec)))?;
        let answer = self.call(what, Op::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout, |options, queue| {
            // SAFETY: client, options and queue live; the list is copied by the request.
            unsafe { sys::rd_kafka_ListOffsets(self.client.ptr(), list.ptr(), options, queue) }
        })?;
        let mut found = vec![None; ids.len()];
        // SAFETY: as in `create_topic`; each entry and its topic name live as long as the event.
        unsafe {
            let result = sys::rd_kafka_event_ListOffsets_result(answer.ptr());
            let mut count = 0;
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &mut count);
            for &info in slice(infos, count) {
                let entry = Entry::of(sys::rd_kafka_ListOffsetsResultInfo_topic_partition(info));
                check(&format!("offset of {}", entry.id), entry.error, null())?;
                if let Some(index) = ids.iter().position(|id| *id == entry.id) {
                    found[index] = (entry.offset >= 0).then_some(entry.offset);
                }
            }
        }
        Ok(found)
    }

    /// Makes a request and waits for its answer. `ask` gets the options and the queue for it.
    fn call(
        &self,
        what: &str,
        op: Op,
        timeout: Duration,
        ask: impl FnOnce(*mut sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    ) -> Result<Event, ClientError> {
        let queue = self.client.new_queue();
        let options = Options::new(&self.client, op, timeout)?;
        ask(options.0.as_ptr(), queue.ptr());
        self.answer(what, &queue, timeout)
    }

    /// Repeats `attempt` while its error may pass and the time allows: a coordinator that is loading says so for seconds.
    fn persist<T>(
        &self,
        timeout: Duration,
        mut attempt: impl FnMut(Duration) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + timeout;
        loop {
            match attempt(deadline.saturating_duration_since(Instant::now())) {
                Err(error) if error.is_transient() && Instant::now() + AGAIN < deadline => std::thread::sleep(AGAIN),
                other => return other,
            }
        }
    }

    fn answer(&self, what: &str, queue: &Queue, timeout: Duration) -> Result<Event, ClientError> {
        // librdkafka answers by itself when the time of the request is over; the second is for its timers.
        let deadline = Instant::now() + timeout + Duration::from_secs(1);
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            let Some(event) = queue.poll(left) else { continue };
            let (code, text) = event.error();
            if code.is_error() {
                return Err(with_text(ClientError::request(what, code), text));
            }
            return Ok(event);
        }
        Err(ClientError::request(what, Code(E::RD_KAFKA_RESP_ERR__TIMED_OUT as i32)))
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// librdkafka's number for the oldest offset.
const EARLIEST: i64 = sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64;
/// librdkafka's number for the offset after the newest message.
const LATEST: i64 = sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64;

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
    check(&format!("topic {name}"), code, null())?;
    Ok(topic)
}

/// Options of one request.
struct Options(NonNull<sys::rd_kafka_AdminOptions_t>);

impl Options {
    fn new(client: &Client, op: Op, timeout: Duration) -> Result<Self, ClientError> {
        // SAFETY: the client lives; the new value is given back by `drop`.
        let options = unsafe { sys::rd_kafka_AdminOptions_new(client.ptr(), op) };
        let options = NonNull::new(options).map(Self).ok_or_else(|| ClientError::Open("no admin options".into()))?;
        let mut text = [0 as c_char; 256];
        let limit = millis(timeout.min(Duration::from_secs(3600))).max(1);
        // SAFETY: the options are ours and `text` as long as is said.
        let code = unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(options.0.as_ptr(), limit, text.as_mut_ptr(), text.len())
        };
        if code as i32 == 0 { Ok(options) } else { Err(ClientError::Open(text_in(&text))) }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: ours since `new`; requests copy what they need of it.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) }
    }
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

/// One line of librdkafka's partition lists, copied.
struct Entry {
    id: TopicPartition,
    offset: i64,
    error: Code,
}

impl Entry {
    /// # Safety
    /// `entry` points to an entry that lives during the call.
    unsafe fn of(entry: *const sys::rd_kafka_topic_partition_t) -> Self {
        // SAFETY: promised by the caller. The error is read as a number.
        unsafe {
            Self {
                id: TopicPartition::new(text_of((*entry).topic), (*entry).partition),
                offset: (*entry).offset,
                error: Code((&raw const (*entry).err).cast::<i32>().read()),
            }
        }
    }
}

/// Copies a partition list.
///
/// # Safety
/// `list` is NULL or a list that lives during the call.
unsafe fn entries(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<Entry> {
    // SAFETY: promised by the caller; elements and count belong together.
    unsafe {
        if list.is_null() {
            return Vec::new();
        }
        let elements = slice((*list).elems, (*list).cnt as usize);
        elements.iter().map(|entry| Entry::of(entry)).collect()
    }
}

fn partition_list<'a>(ids: impl Iterator<Item = (&'a TopicPartition, i64)>) -> Result<TopicPartitionList, ClientError> {
    let list = TopicPartitionList::new();
    for (id, offset) in ids {
        let topic = c_string(&id.topic, "topic name")?;
        // SAFETY: the list is ours, the name is copied, and the new entry is written before the list changes again. Set
        // directly, because the numbers of `ListOffsets` are not those that rust-rdkafka's offsets stand for.
        unsafe {
            let entry = sys::rd_kafka_topic_partition_list_add(list.ptr(), topic.as_ptr(), id.partition);
            (*entry).offset = offset;
        }
    }
    Ok(list)
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

/// The error of an answer, with the broker's text where it gave one (`text` may be NULL, or lives during the call).
fn check(what: &str, code: Code, text: *const c_char) -> Result<(), ClientError> {
    if !code.is_error() {
        return Ok(());
    }
    // SAFETY: see above.
    Err(with_text(ClientError::request(what, code), unsafe { text_of(text) }))
}

fn with_text(mut error: ClientError, said: String) -> ClientError {
    if let ClientError::Transient { text, .. } | ClientError::Refused { text, .. } = &mut error
        && !said.is_empty()
    {
        *text = said;
    }
    error
}

/// An array of librdkafka as a slice; NULL is an empty one.
///
/// # Safety
/// `items` is NULL or points to `count` items that live as long as the slice is used.
unsafe fn slice<'a, T>(items: *const T, count: usize) -> &'a [T] {
    if items.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(items, count) }
}

#[cfg(test)]
mod tests;
