use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, Mutex};

use rdkafka::bindings as sys;
use wasmill_core::Position;

use super::*;
use crate::mock::{Api, MockBroker, fault};
use crate::plain::{PlainConsumer, PlainMessage};
use crate::produce_error::ProduceErrorClass;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Keeps what it is told, and lets a test wait for it.
#[derive(Default)]
struct Kept {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    reports: Vec<Report>,
    fatal: Vec<String>,
    held: Option<Producer>,
    panic_once: bool,
    drop_took: Option<Duration>,
}

impl DeliverySink for Kept {
    fn delivered(&self, reports: &[Report]) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.reports.extend_from_slice(reports);
        let held = state.held.take();
        let panics = std::mem::take(&mut state.panic_once);
        drop(state);
        self.changed.notify_all();
        if let Some(held) = held {
            let start = std::time::Instant::now();
            drop(held);
            self.state.lock().unwrap().drop_took = Some(start.elapsed());
            self.changed.notify_all();
        }
        assert!(!panics, "as the test asked");
    }

    fn fatal(&self, text: &str) {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fatal.push(text.into());
        self.changed.notify_all();
    }
}

impl Kept {
    /// Waits until `done` says so of the state.
    fn until(&self, done: impl Fn(&State) -> bool) -> std::sync::MutexGuard<'_, State> {
        let state = self.state.lock().unwrap();
        let (state, timeout) = self.changed.wait_timeout_while(state, TIMEOUT, |state| !done(state)).unwrap();
        assert!(!timeout.timed_out(), "only {} reports came", state.reports.len());
        state
    }

    /// Waits for that many reports; how often each code was reported, and that no token was reported twice.
    fn codes(&self, count: usize) -> BTreeMap<String, usize> {
        let state = self.until(|state| state.reports.len() >= count);
        let mut tokens: Vec<u64> = state.reports.iter().map(|report| report.token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), state.reports.len(), "a message was reported twice");
        let mut codes = BTreeMap::new();
        for report in &state.reports {
            let code = report.error.as_ref().map_or("ok".to_owned(), |error| error.code.clone());
            *codes.entry(code).or_default() += 1;
        }
        codes
    }
}

pub(super) struct Fixture {
    broker: MockBroker,
    sink: Arc<Kept>,
    pub(super) producer: Producer,
    pub(super) topic: OutputTopic,
}

fn client(broker: &MockBroker) -> ClientSettings {
    // A quick return of brokers, so that outages in tests are short.
    let properties = [("reconnect.backoff.ms", "10"), ("reconnect.backoff.max.ms", "50"), ("retry.backoff.ms", "10")];
    let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    ClientSettings { bootstrap: broker.bootstrap().to_owned(), client_id: "test".into(), properties, token: None }
}

fn settings(broker: &MockBroker) -> ProducerSettings {
    ProducerSettings {
        client: client(broker),
        linger: Duration::from_millis(5),
        compression: None,
        buffer_bytes: 32 << 20,
        buffer_messages: 10_000,
        restamps: true,
    }
}

pub(super) fn fixture(change: impl FnOnce(&mut ProducerSettings)) -> Fixture {
    let broker = MockBroker::start(1).unwrap();
    broker.create_topic("out", 1).unwrap();
    let mut settings = settings(&broker);
    change(&mut settings);
    let sink = Arc::new(Kept::default());
    let producer = Producer::open(&settings, sink.clone()).unwrap();
    let topic = producer.topic("out").unwrap();
    // Known metadata, so that a batch is one batch from the first message on.
    assert_eq!(producer.partitions("out").unwrap(), 1);
    Fixture { broker, sink, producer, topic }
}

impl Fixture {
    pub(super) fn outgoing<'a>(&'a self, value: &'a [u8], token: u64) -> Outgoing<'a> {
        Outgoing {
            topic: &self.topic,
            partition: None,
            key: None,
            value: Some(value),
            headers: &[],
            timestamp: None,
            token,
        }
    }

    fn send(&self, tokens: std::ops::Range<u64>) {
        for token in tokens {
            self.producer.send(&self.outgoing(token.to_string().as_bytes(), token)).unwrap();
        }
    }

    fn written(&self) -> Vec<PlainMessage> {
        let settings = client(&self.broker);
        let mut consumer = PlainConsumer::open(&settings, "out", &[], Position::Earliest, TIMEOUT).unwrap();
        consumer.read_to_end(usize::MAX, TIMEOUT).unwrap()
    }

    fn values(&self) -> Vec<String> {
        let text = |message: PlainMessage| String::from_utf8(message.value.unwrap()).unwrap();
        self.written().into_iter().map(text).collect()
    }
}

fn codes(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|&(code, count)| (code.to_owned(), count)).collect()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn reports_each_accepted_message_once_and_writes_them_in_order() {
    let f = fixture(|_| {});
    f.send(0..1000);
    assert_eq!(f.sink.codes(1000), codes(&[("ok", 1000)]));
    assert!(f.producer.flush(TIMEOUT));
    assert_eq!(f.producer.in_flight(), 0);
    assert_eq!(f.values(), numbers(0..1000));
}

#[test]
fn absent_is_not_empty_and_headers_keep_order_and_repeats() {
    let f = fixture(|_| {});
    let headers: [(&[u8], Option<&[u8]>); 4] =
        [(b"a", Some(b"1")), (b"a", None), (b"", Some(b"")), (b"b", Some(b"with\0nul"))];
    let full = Outgoing { key: Some(b""), headers: &headers, timestamp: Some(1_234), ..f.outgoing(b"", 0) };
    f.producer.send(&full).unwrap();
    f.producer.send(&Outgoing { key: None, value: None, timestamp: Some(0), token: 1, ..full }).unwrap();
    f.producer.send(&Outgoing { headers: &[], token: 2, ..full }).unwrap();
    f.sink.codes(3);
    let written = f.written();
    assert_eq!((written[0].key.as_deref(), written[0].value.as_deref()), (Some(&b""[..]), Some(&b""[..])));
    let expected: Vec<_> = headers
        .iter()
        .map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.map(<[u8]>::to_vec)))
        .collect();
    assert_eq!(written[0].headers, expected);
    assert_eq!(written[0].timestamp, Some(1_234));
    assert_eq!((&written[1].key, &written[1].value), (&None, &None));
    // librdkafka would write the present time for 0.
    assert_eq!(written[1].timestamp, Some(1));
    assert!(written[2].headers.is_empty());
}

#[test]
fn a_key_goes_to_the_partition_that_java_clients_choose() {
    // Hashes of Java's murmur2 of these texts, as Kafka's own clients compute them.
    let hashes: [(&str, i32); 4] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("abc", 479_470_107),
        ("a-little-bit-long-string", -985_981_536),
    ];
    let f = fixture(|_| {});
    f.broker.create_topic("wide", 97).unwrap();
    let wide = f.producer.topic("wide").unwrap();
    for (key, _) in hashes {
        let message = Outgoing { topic: &wide, key: Some(key.as_bytes()), ..f.outgoing(b"", 0) };
        f.producer.send(&message).unwrap();
    }
    drop(f.sink.until(|state| state.reports.len() == hashes.len()));
    let mut consumer = PlainConsumer::open(&client(&f.broker), "wide", &[], Position::Earliest, TIMEOUT).unwrap();
    let found: HashMap<_, _> = consumer
        .read_to_end(usize::MAX, TIMEOUT)
        .unwrap()
        .into_iter()
        .map(|message| (String::from_utf8(message.key.unwrap()).unwrap(), message.partition))
        .collect();
    let expected = hashes.map(|(key, hash)| (key.to_owned(), (hash & i32::MAX) % 97));
    assert_eq!(found, expected.into());
}

#[test]
fn an_outage_is_back_pressure_and_nothing_else() {
    let f = fixture(|settings| settings.buffer_messages = 100);
    f.broker.down(None).unwrap();
    f.send(0..100);
    let refused = f.producer.send(&f.outgoing(b"100", 100));
    assert_eq!(refused, Err(SendError::QueueFull));
    assert!(!f.producer.wait_room(Duration::from_millis(50)));
    assert!(f.sink.state.lock().unwrap().reports.is_empty());
    f.broker.up(None).unwrap();
    assert!(f.producer.wait_room(TIMEOUT));
    while let Err(error) = f.producer.send(&f.outgoing(b"100", 100)) {
        assert_eq!(error, SendError::QueueFull);
        assert!(f.producer.wait_room(TIMEOUT));
    }
    assert_eq!(f.sink.codes(101), codes(&[("ok", 101)]));
    assert_eq!(f.values(), numbers(0..101));
}

#[test]
fn errors_that_may_pass_never_reach_a_report() {
    let f = fixture(|_| {});
    for error in [
        fault::DISCONNECT,
        fault::UNKNOWN_TOPIC_OR_PART,
        fault::NOT_LEADER,
        fault::REQUEST_TIMED_OUT,
        fault::NOT_ENOUGH_REPLICAS,
    ] {
        f.broker.fail_requests(Api::Produce, &[error]);
        let sent = f.sink.state.lock().unwrap().reports.len();
        f.send(sent as u64..sent as u64 + 10);
        assert_eq!(f.sink.codes(sent + 10), codes(&[("ok", sent + 10)]), "error {error}");
    }
    assert_eq!(f.values(), numbers(0..50));
}

#[test]
fn messages_refused_in_company_are_sent_again_alone() {
    let f = fixture(|settings| settings.linger = Duration::from_millis(200));
    // The whole batch is refused; each message alone is taken, but for the third of them.
    f.broker.fail_requests(Api::Produce, &[fault::MSG_SIZE_TOO_LARGE, 0, 0, fault::INVALID_RECORD]);
    let headers: [(&[u8], Option<&[u8]>); 1] = [(b"kept", Some(b"yes"))];
    for token in 0..10 {
        let value = token.to_string();
        let message = f.outgoing(value.as_bytes(), token);
        f.producer.send(&Outgoing { key: Some(b"k"), headers: &headers, timestamp: Some(77), ..message }).unwrap();
    }
    assert_eq!(f.sink.codes(10), codes(&[("INVALID_RECORD", 1), ("ok", 9)]));
    let written = f.written();
    assert_eq!(written.len(), 9);
    for message in &written {
        assert_eq!((message.key.as_deref(), message.timestamp), (Some(&b"k"[..]), Some(77)));
        assert_eq!(message.headers, [("kept".to_owned(), Some(b"yes".to_vec()))]);
    }
    // Both clients have nothing left.
    assert!(f.producer.flush(TIMEOUT));
    assert_eq!(f.producer.in_flight(), 0);
}

#[test]
fn a_message_refused_alone_is_reported_with_the_reason() {
    let f = fixture(|_| {});
    f.broker.fail_requests(Api::Produce, &[fault::MSG_SIZE_TOO_LARGE]);
    f.send(0..1);
    assert_eq!(f.sink.codes(1), codes(&[("MSG_SIZE_TOO_LARGE", 1)]));
    let error = f.sink.state.lock().unwrap().reports[0].error.clone().unwrap();
    assert_eq!(error.class, ProduceErrorClass::Message, "{error:?}");
    assert!(error.text.contains("max.message.bytes"), "{error:?}");
    f.send(1..2);
    assert_eq!(f.sink.codes(2), codes(&[("MSG_SIZE_TOO_LARGE", 1), ("ok", 1)]));
}

#[test]
fn a_missing_permission_is_of_the_topic_not_of_the_message() {
    for (error, name) in [
        (fault::TOPIC_AUTHORIZATION, "TOPIC_AUTHORIZATION_FAILED"),
        (fault::CLUSTER_AUTHORIZATION, "CLUSTER_AUTHORIZATION_FAILED"),
    ] {
        let f = fixture(|settings| settings.linger = Duration::from_millis(100));
        f.broker.fail_requests(Api::Produce, &[error]);
        f.send(0..5);
        assert_eq!(f.sink.codes(5), codes(&[(name, 5)]));
        let state = f.sink.state.lock().unwrap();
        assert!(state.reports.iter().all(|report| report.error.as_ref().unwrap().class == ProduceErrorClass::Topic));
    }
}

#[test]
fn a_missing_permission_that_shows_at_the_send_is_of_the_topic_too() {
    let f = fixture(|_| {});
    f.broker.create_topic("closed", 1).unwrap();
    f.broker.topic_error("closed", fault::TOPIC_AUTHORIZATION).unwrap();
    let closed = f.producer.topic("closed").unwrap();
    assert!(f.producer.partitions("closed").is_err(), "the client has learnt of it");
    let sent = f.producer.send(&Outgoing { topic: &closed, ..f.outgoing(b"x", 0) });
    assert!(matches!(sent, Err(SendError::Refused { class: ProduceErrorClass::Topic, .. })), "{sent:?}");
}

#[test]
fn what_can_never_be_sent_is_refused_before_it_spoils_a_batch() {
    let f = fixture(|settings| {
        settings.client.properties.insert("message.max.bytes".into(), "1000000".into());
    });
    let code = |message: &Outgoing<'_>| match f.producer.send(message) {
        Err(SendError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    let plain = f.outgoing(b"x", 0);
    // -1 would mean "any" to librdkafka.
    assert_eq!(code(&Outgoing { partition: Some(-1), ..plain }), "_UNKNOWN_PARTITION");
    assert_eq!(code(&Outgoing { partition: Some(1), ..plain }), "_UNKNOWN_PARTITION");
    assert_eq!(code(&Outgoing { timestamp: Some(-5), ..plain }), "INVALID_TIMESTAMP");
    let large = vec![0; 1_000_001];
    assert_eq!(code(&f.outgoing(&large, 0)), "MSG_SIZE_TOO_LARGE");
    assert_eq!(f.producer.in_flight(), 0);
}

#[test]
fn a_larger_message_passes_if_the_user_says_so_and_fits_whatever_the_buffer() {
    let f = fixture(|settings| {
        settings.client.properties.insert("message.max.bytes".into(), "3000000".into());
        settings.buffer_bytes = 1;
    });
    let large = vec![0; 2_900_000];
    f.producer.send(&f.outgoing(&large, 0)).unwrap();
    assert_eq!(f.sink.codes(1), codes(&[("ok", 1)]));
}

#[test]
fn flush_ends_linger() {
    let f = fixture(|settings| settings.linger = Duration::from_secs(600));
    f.send(0..3);
    assert!(f.producer.flush(TIMEOUT));
    assert_eq!(f.sink.codes(3), codes(&[("ok", 3)]));
}

#[test]
fn purge_reports_what_it_dropped_as_nobodys_fault() {
    let f = fixture(|_| {});
    f.broker.down(None).unwrap();
    f.send(0..5);
    assert!(!f.producer.close(Duration::from_millis(50)));
    assert_eq!(f.sink.codes(5).values().sum::<usize>(), 5);
    let state = f.sink.state.lock().unwrap();
    assert!(
        state.reports.iter().all(|report| report.error.as_ref().unwrap().class == ProduceErrorClass::Purged),
        "{:?}",
        state.reports
    );
}

#[test]
fn dropping_everything_reports_what_was_left() {
    let Fixture { broker, sink, producer, topic } = fixture(|_| {});
    broker.down(None).unwrap();
    for token in 0..5 {
        let message =
            Outgoing { topic: &topic, partition: None, key: None, value: None, headers: &[], timestamp: None, token };
        producer.send(&message).unwrap();
    }
    drop(producer);
    drop(topic);
    // The drop has waited for the delivery thread: nothing more can come.
    let state = sink.state.lock().unwrap();
    assert_eq!(state.reports.len(), 5);
    assert!(state.reports.iter().all(|report| report.error.as_ref().unwrap().class == ProduceErrorClass::Purged));
    assert_eq!(Arc::strong_count(&sink), 1, "the client is gone and with it the sink");
}

#[test]
fn a_sink_that_drops_the_last_producer_does_not_wait_for_itself() {
    let Fixture { broker, sink, producer, topic } = fixture(|_| {});
    broker.down(None).unwrap();
    let message =
        Outgoing { topic: &topic, partition: None, key: None, value: None, headers: &[], timestamp: None, token: 1 };
    producer.send(&message).unwrap();
    drop(topic);
    sink.state.lock().unwrap().held = Some(producer);
    // Nothing was reported yet, so the drop happens in the sink.
    broker.up(None).unwrap();
    let took = sink.until(|state| state.drop_took.is_some()).drop_took;
    assert!(took < Some(CLOSE_TIMEOUT), "{took:?}");
}

#[test]
fn a_fatal_error_is_told_once_and_blames_no_message() {
    let f = fixture(|_| {});
    f.broker.down(None).unwrap();
    f.send(0..5);
    let err = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    for _ in 0..2 {
        // SAFETY: the client lives; the text is a C string.
        unsafe { sys::rd_kafka_test_fatal_error(f.producer.client().ptr(), err, c"said the test".as_ptr()) };
    }
    let told = f.sink.until(|state| !state.fatal.is_empty()).fatal.clone();
    assert!(told[0].contains("said the test"), "{told:?}");
    assert!(matches!(f.producer.send(&f.outgoing(b"x", 9)), Err(SendError::Fatal { .. })));
    drop(f.sink.until(|state| state.reports.len() == 5));
    let state = f.sink.state.lock().unwrap();
    assert!(state.reports.iter().all(|report| report.error.as_ref().unwrap().class == ProduceErrorClass::Purged));
    assert_eq!(state.fatal.len(), 1);
}

#[test]
fn a_sink_that_panics_is_told_that_the_producer_is_of_no_use() {
    let f = fixture(|_| {});
    f.sink.state.lock().unwrap().panic_once = true;
    f.send(0..1);
    let told = f.sink.until(|state| !state.fatal.is_empty()).fatal.clone();
    assert!(told[0].contains("panicked"), "{told:?}");
    // The thread lives on.
    f.send(1..2);
    drop(f.sink.until(|state| state.reports.len() == 2));
}

#[test]
fn a_property_that_librdkafka_refuses_is_named() {
    let broker = MockBroker::start(1).unwrap();
    let mut settings = settings(&broker);
    settings.client.properties.insert("batch.size".into(), "many".into());
    let error = Producer::open(&settings, Arc::new(Kept::default())).unwrap_err();
    assert!(matches!(&error, ClientError::Property { key, .. } if key == "batch.size"), "{error:?}");
}

#[test]
fn what_wasmill_owns_cannot_be_overridden() {
    let broker = MockBroker::start(1).unwrap();
    let mut settings = settings(&broker);
    for (key, value) in [("acks", "0"), ("message.timeout.ms", "1"), ("partitioner", "random")] {
        settings.client.properties.insert(key.into(), value.into());
    }
    let native = settings.config().create_native_config().unwrap();
    for (key, value) in
        [("acks", "-1"), ("message.timeout.ms", "0"), ("partitioner", "murmur2_random"), ("enable.idempotence", "true")]
    {
        assert_eq!(native.get(key).unwrap(), value, "{key}");
    }
}
