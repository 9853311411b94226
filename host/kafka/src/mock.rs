//! A mock broker inside this process: librdkafka's own, for tests and for `wasmill dev` without a Kafka.
//!
//! What it is not: it keeps about 5 MB or 100,000 messages of a partition and forgets the rest, makes a topic of 4 partitions
//! of any name it is asked about, checks nothing that a topic's configuration would forbid, knows no TLS, SASL or
//! permissions, and does not answer the admin requests that create, delete or configure topics or describe groups.

use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::config::ClientConfig;

use crate::TopicPartition;
use crate::error::{ClientError, Code, text_of};
use crate::native::{Client, c_string, millis};

/// How long a new group waits for members before it shares out partitions: 3 s in the library, far too long for a test.
const GROUP_DELAY_MS: i32 = 50;

/// Error numbers for [`MockBroker::fail_requests`] and [`MockBroker::topic_error`]; any other of Kafka's will do as well.
pub mod fault {
    /// Ends the connection instead of answering.
    pub const DISCONNECT: i32 = -195;
    /// The topic or partition does not exist.
    pub const UNKNOWN_TOPIC_OR_PART: i32 = 3;
    /// Another broker leads the partition.
    pub const NOT_LEADER: i32 = 6;
    /// The broker took too long.
    pub const REQUEST_TIMED_OUT: i32 = 7;
    /// The batch is too large for the topic.
    pub const MSG_SIZE_TOO_LARGE: i32 = 10;
    /// The coordinator is loading.
    pub const COORDINATOR_LOADING: i32 = 14;
    /// Another broker coordinates the group.
    pub const NOT_COORDINATOR: i32 = 16;
    /// Too few replicas are in sync.
    pub const NOT_ENOUGH_REPLICAS: i32 = 19;
    /// The group is in a newer generation.
    pub const ILLEGAL_GENERATION: i32 = 22;
    /// The group does not know the member.
    pub const UNKNOWN_MEMBER: i32 = 25;
    /// The group shares out partitions anew.
    pub const REBALANCE_IN_PROGRESS: i32 = 27;
    /// No permission for the topic.
    pub const TOPIC_AUTHORIZATION: i32 = 29;
    /// No permission for the group.
    pub const GROUP_AUTHORIZATION: i32 = 30;
    /// No permission for what concerns the whole cluster, such as idempotent producing.
    pub const CLUSTER_AUTHORIZATION: i32 = 31;
    /// The timestamp is out of the topic's bounds.
    pub const INVALID_TIMESTAMP: i32 = 32;
    /// A sequence number is missing: fatal or worked around, as the producer can tell.
    pub const OUT_OF_ORDER_SEQUENCE: i32 = 45;
    /// The producer's id is no longer known.
    pub const UNKNOWN_PRODUCER_ID: i32 = 59;
    /// Another process has the static member's identity.
    pub const FENCED_INSTANCE_ID: i32 = 82;
    /// A message breaks a rule of the topic.
    pub const INVALID_RECORD: i32 = 87;
}

/// A kind of request whose answer can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Api {
    /// Produce.
    Produce = 0,
    /// Fetch.
    Fetch = 1,
    /// First, last and timed offsets.
    ListOffsets = 2,
    /// Topics and their leaders.
    Metadata = 3,
    /// Commit.
    OffsetCommit = 8,
    /// Committed offsets.
    OffsetFetch = 9,
    /// Who coordinates the group.
    FindCoordinator = 10,
    /// Enter the group.
    JoinGroup = 11,
    /// A member's sign of life.
    Heartbeat = 12,
    /// Leave the group.
    LeaveGroup = 13,
    /// Learn the assignment.
    SyncGroup = 14,
    /// The idempotent producer's id.
    InitProducerId = 22,
}

/// A cluster of mock brokers; they stop when it is dropped.
pub struct MockBroker {
    cluster: NonNull<sys::rd_kafka_mock_cluster_t>,
    // The cluster lives on this client's threads; `drop` ends it before the client goes.
    _client: Client,
    bootstrap: String,
}

// SAFETY: every call on a mock cluster is queued to the cluster's own thread or locks the cluster.
unsafe impl Send for MockBroker {}
// SAFETY: as for `Send`.
unsafe impl Sync for MockBroker {}

impl MockBroker {
    /// Starts a cluster of that many brokers, with ids from 1, on free ports of the loopback interface.
    ///
    /// # Errors
    /// No client or no sockets.
    pub fn start(brokers: u32) -> Result<Self, ClientError> {
        let client = Client::open(sys::rd_kafka_type_t::RD_KAFKA_PRODUCER, &ClientConfig::new(), 0)?;
        let count = i32::try_from(brokers).unwrap_or(i32::MAX);
        // SAFETY: the client is alive and outlives the cluster.
        let cluster = unsafe { sys::rd_kafka_mock_cluster_new(client.ptr(), count) };
        let Some(cluster) = NonNull::new(cluster) else {
            return Err(ClientError::Open(format!("a mock cluster of {brokers} brokers did not start")));
        };
        // SAFETY: the cluster was just made; its bootstrap text lives as long as it.
        let bootstrap = unsafe {
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster.as_ptr(), GROUP_DELAY_MS);
            text_of(sys::rd_kafka_mock_cluster_bootstraps(cluster.as_ptr()))
        };
        Ok(Self { cluster, _client: client, bootstrap })
    }

    /// The `bootstrap.servers` of the cluster.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Makes a topic with one replica.
    ///
    /// # Errors
    /// It exists, or a count of 0.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<(), ClientError> {
        let topic = c_string(name, "topic name")?;
        let count = i32::try_from(partitions).unwrap_or(i32::MAX);
        // SAFETY: the cluster is alive, the name lives during the call, as in every call below.
        let code = unsafe { sys::rd_kafka_mock_topic_create(self.cluster.as_ptr(), topic.as_ptr(), count, 1) as i32 };
        answer(format!("mock topic {name}"), code)
    }

    /// The next requests of this kind fail, one for each number (see [`fault`]), whichever broker gets them.
    pub fn fail_requests(&self, api: Api, errors: &[i32]) {
        // SAFETY: the cluster is alive; the array is read during the call, and librdkafka's enum is a C int.
        unsafe {
            sys::rd_kafka_mock_push_request_errors_array(
                self.cluster.as_ptr(),
                api as i16,
                errors.len(),
                errors.as_ptr().cast(),
            );
        }
    }

    /// Forgets what [`MockBroker::fail_requests`] still has in store.
    pub fn clear_failures(&self, api: Api) {
        // SAFETY: the cluster is alive.
        unsafe { sys::rd_kafka_mock_clear_request_errors(self.cluster.as_ptr(), api as i16) }
    }

    /// What metadata requests are told of a topic from now on; 0: all is well.
    ///
    /// # Errors
    /// A name with a NUL byte.
    pub fn topic_error(&self, name: &str, error: i32) -> Result<(), ClientError> {
        let topic = c_string(name, "topic name")?;
        let error = sys::rd_kafka_resp_err_t::try_from(error)
            .map_err(|_| ClientError::Open(format!("librdkafka knows no error {error}")))?;
        // SAFETY: the cluster is alive and the name lives during the call.
        unsafe { sys::rd_kafka_mock_topic_set_error(self.cluster.as_ptr(), topic.as_ptr(), error) };
        Ok(())
    }

    /// Cuts a broker's connections and takes no new ones; None: all brokers.
    ///
    /// # Errors
    /// No such broker.
    pub fn down(&self, broker: Option<i32>) -> Result<(), ClientError> {
        // SAFETY: the cluster is alive.
        answer("broker down", unsafe { sys::rd_kafka_mock_broker_set_down(self.cluster.as_ptr(), id(broker)) } as i32)
    }

    /// Takes connections again.
    ///
    /// # Errors
    /// No such broker.
    pub fn up(&self, broker: Option<i32>) -> Result<(), ClientError> {
        // SAFETY: the cluster is alive.
        answer("broker up", unsafe { sys::rd_kafka_mock_broker_set_up(self.cluster.as_ptr(), id(broker)) } as i32)
    }

    /// Delays every answer of a broker.
    ///
    /// # Errors
    /// No such broker.
    pub fn round_trip(&self, broker: Option<i32>, delay: Duration) -> Result<(), ClientError> {
        // SAFETY: the cluster is alive.
        let code = unsafe { sys::rd_kafka_mock_broker_set_rtt(self.cluster.as_ptr(), id(broker), millis(delay)) };
        answer("broker delay", code as i32)
    }

    /// Makes a broker the coordinator of a group.
    ///
    /// # Errors
    /// A name with a NUL byte.
    pub fn coordinator(&self, group: &str, broker: i32) -> Result<(), ClientError> {
        let key = c_string(group, "group")?;
        // SAFETY: the cluster is alive, both texts live during the call.
        let code = unsafe {
            sys::rd_kafka_mock_coordinator_set(self.cluster.as_ptr(), c"group".as_ptr(), key.as_ptr(), broker)
        };
        answer(format!("coordinator of {group}"), code as i32)
    }

    /// What a group has committed for partitions of a topic, asked by a client of its own that does not join: a test must
    /// not take the word of the client it tests.
    ///
    /// # Errors
    /// The request failed or was not answered within `timeout`.
    pub fn committed(
        &self,
        group: &str,
        topic: &str,
        partitions: u32,
        timeout: Duration,
    ) -> Result<Vec<Option<i64>>, ClientError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("group.id", group);
        let client = Client::open(sys::rd_kafka_type_t::RD_KAFKA_CONSUMER, &config, 0)?;
        let ids: Vec<_> =
            (0..partitions).map(|partition| TopicPartition::new(topic, partition.cast_signed())).collect();
        let rows = crate::offsets::committed(client.as_ref(), &ids, timeout)?;
        rows.into_iter()
            .map(|row| {
                answer(format!("committed offset of {}", row.id), row.err.0)?;
                Ok((row.offset >= 0).then_some(row.offset))
            })
            .collect()
    }

    /// Makes a broker the leader of a partition; None: it has no leader.
    ///
    /// # Errors
    /// No such topic or partition.
    pub fn leader(&self, topic: &str, partition: i32, broker: Option<i32>) -> Result<(), ClientError> {
        let name = c_string(topic, "topic name")?;
        // SAFETY: the cluster is alive and the name lives during the call.
        let code = unsafe {
            sys::rd_kafka_mock_partition_set_leader(self.cluster.as_ptr(), name.as_ptr(), partition, id(broker))
        };
        answer(format!("leader of {topic}/{partition}"), code as i32)
    }
}

impl Drop for MockBroker {
    fn drop(&mut self) {
        // SAFETY: ours since `start`, ended once, before the client that it lives on.
        unsafe { sys::rd_kafka_mock_cluster_destroy(self.cluster.as_ptr()) }
    }
}

impl std::fmt::Debug for MockBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MockBroker").field(&self.bootstrap).finish()
    }
}

fn id(broker: Option<i32>) -> i32 {
    broker.unwrap_or(-1)
}

fn answer(what: impl Into<String>, code: i32) -> Result<(), ClientError> {
    let code = Code(code);
    if code.is_error() { Err(ClientError::request(what, code)) } else { Ok(()) }
}
