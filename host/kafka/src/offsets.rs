//! Questions about offsets, each one request for all partitions: what a group has committed, where partitions begin and end,
//! what is there at a time.

use std::ptr::null;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as E;

use crate::TopicPartition;
use crate::error::{ClientError, Code};
use crate::list::{self, Row, list_of};
use crate::native::{ClientRef, Event, millis};

/// A stand-in of librdkafka's for the first offset, both as an offset and as a time to look up.
pub(crate) const EARLIEST: i64 = sys::RD_KAFKA_OFFSET_BEGINNING as i64;
/// The same for the end.
pub(crate) const LATEST: i64 = sys::RD_KAFKA_OFFSET_END as i64;
/// Where no offset is meant.
pub(crate) const INVALID: i64 = sys::RD_KAFKA_OFFSET_INVALID as i64;

/// The group's committed offsets, below zero where there are none, with their metadata. `client` is a consumer.
pub(crate) fn committed(
    client: ClientRef<'_>,
    ids: &[TopicPartition],
    timeout: Duration,
) -> Result<Vec<Row>, ClientError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let list = list_of(ids.iter().map(|id| (id, INVALID)))?;
    // SAFETY: the client is alive, the list lives through the call, which fills it in.
    let err = unsafe { sys::rd_kafka_committed(client.ptr(), list.ptr(), millis(timeout)) };
    answered("committed offsets", Code(err as i32))?;
    Ok(list::rows_of(&list))
}

/// Offsets at times in milliseconds, or at `EARLIEST` or `LATEST`.
pub(crate) fn offsets_at<'a>(
    client: ClientRef<'_>,
    times: impl IntoIterator<Item = (&'a TopicPartition, i64)>,
    timeout: Duration,
) -> Result<Vec<Row>, ClientError> {
    let list = list_of(times)?;
    // SAFETY: the client is alive, the list lives through the call, which fills it in.
    let err = unsafe { sys::rd_kafka_offsets_for_times(client.ptr(), list.ptr(), millis(timeout)) };
    answered("offsets", Code(err as i32))?;
    Ok(list::rows_of(&list))
}

/// The ends of partitions, open transactions included.
pub(crate) fn high_watermarks(
    client: ClientRef<'_>,
    ids: &[&TopicPartition],
    timeout: Duration,
) -> Result<Vec<Row>, ClientError> {
    let list = list_of(ids.iter().map(|id| (*id, LATEST)))?;
    let queue = client.new_queue();
    // SAFETY: client and queue are alive. The list is copied; without options the request is made as for a reader of
    // uncommitted messages (`rd_kafka_ListOffsetsRequest_admin`).
    unsafe { sys::rd_kafka_ListOffsets(client.ptr(), list.ptr(), null(), queue.ptr()) };
    let Some(answer) = queue.wait(sys::RD_KAFKA_EVENT_LISTOFFSETS_RESULT, timeout) else {
        return Err(ClientError::request("ends of partitions", Code(E::RD_KAFKA_RESP_ERR__TIMED_OUT as i32)));
    };
    answered("ends of partitions", answer.error().0)?;
    Ok(listed(&answer))
}

/// What the answer to a `ListOffsets` request says.
pub(crate) fn listed(answer: &Event) -> Vec<Row> {
    let mut count = 0;
    // SAFETY: the event is alive, and librdkafka answers NULL for one of another kind. What comes out belongs to the event:
    // an array of `count` results, whose partitions are list elements of their own.
    unsafe {
        let result = sys::rd_kafka_event_ListOffsets_result(answer.ptr());
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
