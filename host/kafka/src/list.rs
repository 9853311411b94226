//! Lists of partitions as librdkafka passes them around, read without trusting what is in them.
//!
//! rust-rdkafka's own reader makes a slice of an empty list's NULL, and panics when a foreign client's metadata is not
//! UTF-8; both would happen inside a rebalance callback, where a panic hangs the process.

use rdkafka::bindings as sys;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::TopicPartition;
use crate::error::{ClientError, Code, text_of};

/// One entry of a list.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: TopicPartition,
    /// An offset, or one of librdkafka's negative stand-ins.
    pub(crate) offset: i64,
    pub(crate) note: String,
    pub(crate) err: Code,
}

/// Copies the entries of `list`; NULL is an empty list.
///
/// # Safety
/// `list` is NULL or a list that nobody changes or frees during the call.
pub(crate) unsafe fn rows(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<Row> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: not NULL and alive, says the caller.
    let (elements, count) = unsafe { ((*list).elems, (*list).cnt) };
    if elements.is_null() {
        return Vec::new();
    }
    (0..usize::try_from(count).unwrap_or(0))
        .map(|index| {
            // SAFETY: `index` is below the list's count, so this is one of its elements.
            let element = unsafe { elements.add(index) };
            // SAFETY: the element is alive as long as its list.
            unsafe { row(element) }
        })
        .collect()
}

/// # Safety
/// `element` points to an element of a live list.
pub(crate) unsafe fn row(element: *const sys::rd_kafka_topic_partition_t) -> Row {
    // SAFETY: the element is alive; its topic is a NUL-terminated string of its own; its metadata is NULL or as long as
    // it says.
    unsafe {
        let (metadata, len) = ((*element).metadata as *const u8, (*element).metadata_size);
        let note = if metadata.is_null() || len == 0 {
            String::new()
        } else {
            String::from_utf8_lossy(std::slice::from_raw_parts(metadata, len)).into_owned()
        };
        Row {
            id: TopicPartition::new(text_of((*element).topic), (*element).partition),
            offset: (*element).offset,
            note,
            err: Code::read(&raw const (*element).err),
        }
    }
}

/// Copies the entries of a list of rust-rdkafka's.
pub(crate) fn rows_of(list: &TopicPartitionList) -> Vec<Row> {
    // SAFETY: the reference keeps the list alive and unchanged.
    unsafe { rows(list.ptr()) }
}

/// A new list of these partitions and offsets. Offsets below zero are librdkafka's stand-ins.
pub(crate) fn list_of<'a>(
    entries: impl IntoIterator<Item = (&'a TopicPartition, i64)>,
) -> Result<TopicPartitionList, ClientError> {
    let mut list = TopicPartitionList::new();
    for (id, offset) in entries {
        add(&mut list, id, offset, "")?;
    }
    Ok(list)
}

/// Adds an entry. `note` travels as the metadata of a commit.
pub(crate) fn add(
    list: &mut TopicPartitionList,
    id: &TopicPartition,
    offset: i64,
    note: &str,
) -> Result<(), ClientError> {
    // rust-rdkafka panics on a NUL byte.
    if id.topic.contains('\0') {
        return Err(ClientError::Nul { what: "a topic name" });
    }
    let mut element = list.add_partition(&id.topic, id.partition);
    // `Offset::Offset` is written as it is, stand-ins included: all of them are negative numbers of librdkafka's.
    element
        .set_offset(raw(offset))
        .map_err(|error| ClientError::from_rdkafka(format!("offset {offset} of {id}"), &error))?;
    if !note.is_empty() {
        element.set_metadata(note);
    }
    Ok(())
}

fn raw(offset: i64) -> Offset {
    Offset::from_raw(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_empty_list() {
        assert!(rows_of(&TopicPartitionList::new()).is_empty());
        // SAFETY: NULL is allowed.
        assert!(unsafe { rows(std::ptr::null()) }.is_empty());
    }

    #[test]
    fn reads_back_offsets_and_notes() {
        let mut list = TopicPartitionList::new();
        add(&mut list, &TopicPartition::new("orders", 3), 17, "v1;x").unwrap();
        add(&mut list, &TopicPartition::new("orders", 4), -2, "").unwrap();
        let rows = rows_of(&list);
        assert_eq!((rows[0].offset, rows[0].note.as_str(), rows[0].id.partition), (17, "v1;x", 3));
        assert_eq!((rows[1].offset, rows[1].note.as_str()), (-2, ""));
    }

    #[test]
    fn refuses_a_topic_with_a_nul_byte_instead_of_panicking() {
        assert!(list_of([(&TopicPartition::new("a\0b", 0), 1)]).is_err());
    }
}
