//! Questions about offsets, each one request for all partitions: what a group has committed, where partitions begin and end,
//! what is there at a time.

use crate::TopicPartition;
use crate::commit::{Answer, ReplyQueue};
use crate::error::{ClientError, Code};
use crate::list::{self, Row, list_of};
use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use std::ptr::{NonNull, null};
use std::time::{Duration, Instant};

/// Stand-ins of librdkafka's, both as offsets and as times to look up.
pub(crate) const EARLIEST: i64 = sys::RD_KAFKA_OFFSET_BEGINNING as i64;
pub(crate) const LATEST: i64 = sys::RD_KAFKA_OFFSET_END as i64;

/// The group's committed offsets, below zero where there are none, with their metadata.
///
/// # Safety
/// `client` is a live consumer.
pub(crate) unsafe fn committed(
    client: NonNull<sys::rd_kafka_t>,
    ids: &[TopicPartition],
    timeout: Duration,
) -> Result<Vec<Row>, ClientError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let list = list_of(ids.iter().map(|id| (id, i64::from(sys::RD_KAFKA_OFFSET_INVALID))))?;
    // SAFETY: the client is alive, the list lives through the call, which fills it in.
    let err = unsafe { sys::rd_kafka_committed(client.as_ptr(), list.ptr(), millis(timeout)) };
    answered("committed offsets", Code(err as i32))?;
    Ok(list::rows_of(&list))
}

/// Offsets at times in milliseconds, or at `EARLIEST` or `LATEST`.
///
/// # Safety
/// `client` is a live consumer.
pub(crate) unsafe fn offsets_at<'a>(
    client: NonNull<sys::rd_kafka_t>,
    times: impl IntoIterator<Item = (&'a TopicPartition, i64)>,
    timeout: Duration,
) -> Result<Vec<Row>, ClientError> {
    let list = list_of(times)?;
    // SAFETY: the client is alive, the list lives through the call, which fills it in.
    let err = unsafe { sys::rd_kafka_offsets_for_times(client.as_ptr(), list.ptr(), millis(timeout)) };
    answered("offsets", Code(err as i32))?;
    Ok(list::rows_of(&list))
}

/// The ends of partitions, open transactions included.
///
/// # Safety
/// `client` is a live consumer.
pub(crate) unsafe fn high_watermarks(
    client: NonNull<sys::rd_kafka_t>,
    ids: &[&TopicPartition],
    timeout: Duration,
) -> Result<Vec<Row>, ClientError> {
    let list = list_of(ids.iter().map(|id| (*id, LATEST)))?;
    // SAFETY: the client is alive and outlives the queue, which ends here. The list is copied; without options the request
    // is made as for a reader of uncommitted messages (`rd_kafka_ListOffsetsRequest_admin`).
    let queue = unsafe { ReplyQueue::new(client) }.ok_or(ClientError::Closed)?;
    // SAFETY: as above.
    unsafe { sys::rd_kafka_ListOffsets(client.as_ptr(), list.ptr(), null(), queue.as_ptr()) };
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match queue.poll(left) {
            Some(answer) if answer.kind() == sys::RD_KAFKA_EVENT_LISTOFFSETS_RESULT => {
                answered("ends of partitions", answer.code())?;
                // SAFETY: the event is of this kind and alive.
                return Ok(unsafe { listed(&answer) });
            }
            None if left.is_zero() => answered("ends of partitions", Code(E::RD_KAFKA_RESP_ERR__TIMED_OUT as i32))?,
            _ => {}
        }
    }
}

/// # Safety
/// `answer` is of kind ListOffsets.
unsafe fn listed(answer: &Answer) -> Vec<Row> {
    let mut count = 0;
    // SAFETY: of this kind, says the caller; what comes out belongs to the event. A result's partition is a list element
    // of its own.
    unsafe {
        let result = sys::rd_kafka_event_ListOffsets_result(answer.as_ptr());
        if result.is_null() {
            return Vec::new();
        }
        let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        (0..count)
            .map(|index| list::row(sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index))))
            .collect()
    }
}

fn answered(what: &str, code: Code) -> Result<(), ClientError> {
    if code.is_error() { Err(ClientError::request(what, code)) } else { Ok(()) }
}

fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}
