//! What the delivery thread tells.

use crate::produce_error::DeliveryError;

/// The header of a message with the timestamp that its topic did not take.
pub const TIMESTAMP_HEADER: &str = "wasmill.timestamp";

/// Who gets the reports. Both calls come from the delivery thread and must not block: no report is read meanwhile.
pub trait DeliverySink: Send + Sync + 'static {
    /// A batch of reports, in the order in which the client settled them.
    fn delivered(&self, reports: &[Report]);
    /// The client can do nothing any more. Called once; what was not confirmed is reported as purged. Make a new producer.
    fn fatal(&self, text: &str);
    /// A topic did not take the timestamp of a message: it goes out with the present time and that one in a header. Called
    /// by who sends, too.
    fn restamped(&self, topic: &str, timestamp: i64) {
        let _ = (topic, timestamp);
    }
    /// The client is in trouble that may pass, such as `_ALL_BROKERS_DOWN` or `_AUTHENTICATION`. Repeats itself.
    fn trouble(&self, code: &str, text: &str) {
        let _ = (code, text);
    }
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The token it was sent with.
    pub token: u64,
    /// Why it is not there; absent: confirmed by all in-sync replicas.
    pub error: Option<Box<DeliveryError>>,
}
