//! Admin calls, each one blocking until answered or until its time is over: topics in `topics.rs`, groups in `group.rs`.

mod group;
mod metadata;
mod topics;

use std::ffi::c_char;
use std::ptr::null;
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_admin_op_t as Op;
use rdkafka::bindings::rd_kafka_resp_err_t as E;

use crate::TopicPartition;
use crate::error::{ClientError, Code, text_of};
use crate::list::list_of;
use crate::native::{AdminOptions, Client, Event, Queue};
use crate::offsets::listed;
use crate::settings::ClientSettings;
use crate::token;
pub use group::{GroupDescription, GroupMember, GroupPartition};
pub use metadata::{PartitionDescription, TopicDescription};
pub use topics::{ConfigEntry, NewTopic};
pub(crate) use topics::{ConfigQuestion, partition_count};

/// How often a request is repeated that has to wait for the cluster, such as for a new topic to be known.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// A client for admin calls.
pub struct Admin {
    client: Client,
}

impl Admin {
    /// Makes the client. No broker is asked yet.
    ///
    /// # Errors
    /// A property that librdkafka refuses.
    pub fn open(settings: &ClientSettings) -> Result<Self, ClientError> {
        let client = token::open(sys::rd_kafka_type_t::RD_KAFKA_PRODUCER, &settings.base(), 0, settings.tokens())?;
        Ok(Self { client })
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

    /// For each partition: the offset that `spec` means there (a time, or a stand-in of `offsets.rs`); None if it has none,
    /// such as no message of that time or later.
    fn offsets(&self, ids: &[TopicPartition], spec: i64, timeout: Duration) -> Result<Vec<Option<i64>>, ClientError> {
        let what = "offsets of partitions";
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let list = list_of(ids.iter().map(|id| (id, spec)))?;
        let answer = self.call(what, Op::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout, |options, queue| {
            // SAFETY: client, options and queue live; the list is copied by the request.
            unsafe { sys::rd_kafka_ListOffsets(self.client.ptr(), list.ptr(), options, queue) }
        })?;
        let mut found = vec![None; ids.len()];
        for row in listed(&answer) {
            check(&format!("offset of {}", row.id), row.err, null())
                .map_err(|error| error.needing("Describe", "topic", &row.id.topic))?;
            if let Some(index) = ids.iter().position(|id| *id == row.id) {
                found[index] = (row.offset >= 0).then_some(row.offset);
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
        let queue = self.client.as_ref().new_queue();
        let options = AdminOptions::new(self.client.as_ref(), op, timeout)?;
        ask(options.ptr(), queue.ptr());
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
                Err(error) if error.is_transient() && Instant::now() + RETRY_DELAY < deadline => {
                    std::thread::sleep(RETRY_DELAY)
                }
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
