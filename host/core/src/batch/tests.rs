//! The batch against a plain list of messages, read back as a guest reads it: from `data` and `table` alone.

use proptest::prelude::*;

use super::*;

type Bytes = Vec<u8>;

#[derive(Clone, PartialEq, Debug)]
struct Message {
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(Bytes, Option<Bytes>)>,
    offset: i64,
    timestamp: Option<i64>,
    attempt: u32,
}

#[derive(Clone, Debug)]
enum Step {
    Push(Message),
    Pop,
    Seal,
    Clear,
    SetAttempt(usize, u32),
    /// Keeps `data` and `table`, as a call that still runs does.
    Hold,
    /// Takes the content over from a copy of a part of itself.
    CopyFrom(usize, usize),
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..6)
}

fn maybe() -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(bytes())
}

prop_compose! {
    fn message()(
        key in maybe(), value in maybe(), headers in prop::collection::vec((bytes(), maybe()), 0..4),
        offset in any::<i64>(), timestamp in prop::option::of(0..=i64::MAX), attempt in any::<u32>(),
    ) -> Message {
        Message { key, value, headers, offset, timestamp, attempt }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => message().prop_map(Step::Push),
        1 => Just(Step::Pop),
        2 => Just(Step::Seal),
        1 => Just(Step::Clear),
        2 => (any::<usize>(), any::<u32>()).prop_map(|(index, attempt)| Step::SetAttempt(index, attempt)),
        2 => Just(Step::Hold),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(start, end)| Step::CopyFrom(start, end)),
    ]
}

fn push(batch: &mut Batch, message: &Message) -> Result<(), BatchFull> {
    let Message { key, value, headers, offset, timestamp, attempt } = message;
    batch.push(key.as_deref(), value.as_deref(), *offset, *timestamp, *attempt)?;
    headers.iter().try_for_each(|(name, value)| batch.push_header(name, value.as_deref()))
}

fn through_accessors(batch: &Batch) -> Vec<Message> {
    let own = |message: MessageRef<'_>| Message {
        key: message.key().map(<[u8]>::to_vec),
        value: message.value().map(<[u8]>::to_vec),
        headers: message.headers().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect(),
        offset: message.offset,
        timestamp: message.timestamp,
        attempt: message.attempt,
    };
    batch.messages().map(own).collect()
}

/// By the numbers in `wit/handler.wit`, not by the names above.
fn as_a_guest_reads(data: &[u8], table: &[u32], count: usize) -> Vec<Message> {
    let bytes = |start: u32, len: u32| (len != 0xffff_ffff).then(|| data[start as usize..][..len as usize].to_vec());
    let number = |low: u32, high: u32| (u64::from(high) << 32 | u64::from(low)) as i64;
    let header_rows = &table[count * 12..];
    assert_eq!(header_rows.len() % 4, 0);
    let read = |row: &[u32]| Message {
        key: bytes(row[0], row[1]),
        value: bytes(row[2], row[3]),
        headers: (row[4]..row[4] + row[5])
            .map(|header| &header_rows[header as usize * 4..][..4])
            .map(|header| (bytes(header[0], header[1]).unwrap(), bytes(header[2], header[3])))
            .collect(),
        offset: number(row[6], row[7]),
        timestamp: Some(number(row[8], row[9])).filter(|&time| time != -1),
        attempt: row[10],
    };
    table[..count * 12].chunks(12).map(read).collect()
}

fn size(message: &Message) -> usize {
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = message.headers.iter().map(|(name, value)| name.len() + len(value)).sum();
    len(&message.key) + len(&message.value) + headers
}

proptest! {
    #[test]
    fn holds_what_was_put_into_it_through_every_reuse(steps in prop::collection::vec(step(), 0..40)) {
        let mut batch = Batch::new();
        let mut model: Vec<Message> = Vec::new();
        let mut held = Vec::new();
        for step in steps {
            match step {
                Step::Push(message) => {
                    push(&mut batch, &message).unwrap();
                    model.push(message);
                }
                Step::Pop => {
                    batch.pop();
                    model.pop();
                }
                Step::Seal => batch.seal(),
                Step::Clear => {
                    batch.clear();
                    model.clear();
                }
                Step::SetAttempt(index, attempt) if !model.is_empty() => {
                    let index = index % model.len();
                    batch.set_attempt(index, attempt);
                    model[index].attempt = attempt;
                }
                Step::Hold => {
                    batch.seal();
                    held.push((Arc::clone(batch.data()), Arc::clone(batch.table()), model.clone()));
                }
                Step::CopyFrom(start, end) => {
                    let start = start % (model.len() + 1);
                    let end = start + end % (model.len() + 1 - start);
                    let mut copy = Batch::new();
                    copy.copy_from(&batch, start..end);
                    prop_assert_eq!(copy.data().len(), copy.bytes());
                    batch.copy_from(&copy, 0..copy.len());
                    model = model[start..end].to_vec();
                }
                Step::SetAttempt(..) => {}
            }
            prop_assert_eq!(through_accessors(&batch), model.clone());
            prop_assert_eq!(batch.len(), model.len());
            prop_assert_eq!(batch.is_empty(), model.is_empty());
            prop_assert_eq!(batch.bytes(), model.iter().map(size).sum::<usize>());
            prop_assert_eq!(batch.header_rows(), model.iter().map(|message| message.headers.len()).sum::<usize>());
            let sizes: Vec<_> = batch.messages().map(|message| message.bytes()).collect();
            prop_assert_eq!(sizes, model.iter().map(size).collect::<Vec<_>>());
        }
        batch.seal();
        held.push((Arc::clone(batch.data()), Arc::clone(batch.table()), model));
        for (data, table, model) in held {
            prop_assert_eq!(as_a_guest_reads(&data, &table, model.len()), model);
        }
    }
}

fn filled() -> Batch {
    let mut batch = Batch::new();
    for offset in 0..100 {
        batch.push(Some(b"key"), Some(&[7; 100]), offset, Some(1), 1).unwrap();
        batch.push_header(b"name", None).unwrap();
    }
    batch.seal();
    batch
}

#[test]
fn reuse_takes_no_new_memory() {
    let mut batch = filled();
    let before = (batch.data().as_ptr(), batch.table().as_ptr(), Arc::as_ptr(batch.data()));
    for round in 0..3 {
        batch.clear();
        for offset in 0..100 {
            batch.push(Some(b"key"), Some(&[round; 100]), offset, None, 1).unwrap();
            batch.push_header(b"name", None).unwrap();
        }
        batch.seal();
        assert_eq!((batch.data().as_ptr(), batch.table().as_ptr(), Arc::as_ptr(batch.data())), before);
    }
}

#[test]
fn clearing_leaves_what_somebody_still_holds_as_it_is_and_keeps_the_size() {
    let mut batch = filled();
    let (data, table) = (Arc::clone(batch.data()), Arc::clone(batch.table()));
    let (old_data, old_table) = (data.to_vec(), table.to_vec());
    let capacity = data.capacity();
    batch.clear();
    batch.push(None, Some(b"new"), 7, None, 1).unwrap();
    assert!(batch.open_data.capacity() >= capacity);
    batch.seal();
    assert_eq!((&*data, &*table), (&old_data, &old_table));
    assert_eq!(batch.message(0).value(), Some(&b"new"[..]));
}

#[test]
fn an_absent_key_or_value_is_not_an_empty_one() {
    let mut batch = Batch::new();
    batch.push(None, None, 0, None, 1).unwrap();
    batch.push(Some(b""), Some(b""), 1, None, 1).unwrap();
    batch.push_header(b"h", None).unwrap();
    batch.push_header(b"h", Some(b"")).unwrap();
    assert_eq!((batch.message(0).key(), batch.message(0).value()), (None, None));
    assert_eq!((batch.message(1).key(), batch.message(1).value()), (Some(&b""[..]), Some(&b""[..])));
    let headers: Vec<_> = batch.message(1).headers().collect();
    assert_eq!(headers, [(&b"h"[..], None), (&b"h"[..], Some(&b""[..]))]);
}

#[test]
fn a_full_batch_is_as_it_was_and_takes_the_message_after_it_was_handed_over() {
    let mut batch = Batch { limit_bytes: 200, ..Batch::new() };
    batch.push(Some(b"k"), Some(&[1; 120]), 1, None, 1).unwrap();
    assert_eq!(batch.push(Some(b"k"), Some(&[2; 80]), 2, None, 1), Err(BatchFull));
    assert_eq!(batch.len(), 1);
    assert_eq!(batch.bytes(), 121);
    batch.clear();
    batch.push(Some(b"k"), Some(&[2; 80]), 2, None, 1).unwrap();
}

#[test]
fn a_message_whose_headers_do_not_fit_can_be_taken_out_again() {
    let mut batch = Batch { limit_bytes: 200, ..Batch::new() };
    batch.push(None, Some(&[1; 100]), 1, None, 1).unwrap();
    batch.push_header(b"first", None).unwrap();
    batch.push(None, Some(&[2; 50]), 2, None, 1).unwrap();
    batch.push_header(b"second", None).unwrap();
    assert_eq!(batch.push_header(b"second", Some(&[3; 50])), Err(BatchFull));
    batch.pop();
    batch.seal();
    assert_eq!(batch.len(), 1);
    assert_eq!(batch.header_rows(), 1);
    assert_eq!(batch.bytes(), 105);
}

#[test]
fn rows_are_bounded_too_not_only_bytes() {
    let mut batch = Batch { limit_bytes: 200, ..Batch::new() };
    let pushed = (0..100).take_while(|&offset| batch.push(None, None, offset, None, 1).is_ok()).count();
    assert_eq!(pushed, 200 / (STRIDE * 4));
    let pushed = (0..100).take_while(|_| batch.push_header(b"", None).is_ok()).count();
    assert_eq!(pushed, 0, "4 rows of 48 bytes leave 8");
}

#[test]
fn the_limit_leaves_numbers_for_outputs() {
    assert!(LIMIT_BYTES + (1 << 30) <= u32::MAX as usize + 1);
}

#[test]
#[should_panic = "seal the batch"]
fn an_open_batch_cannot_be_handed_over() {
    let mut batch = filled();
    batch.clear();
    batch.push(None, None, 0, None, 1).unwrap();
    batch.data();
}

#[test]
#[should_panic = "no message 1 in a batch of 1"]
fn header_words_cannot_be_taken_for_an_attempt() {
    let mut batch = Batch::new();
    batch.push(None, None, 0, None, 1).unwrap();
    for _ in 0..10 {
        batch.push_header(b"h", None).unwrap();
    }
    batch.seal();
    batch.set_attempt(1, 9);
}

#[test]
fn longer_rows_hold_the_same_messages() {
    let fill = |mut batch: Batch| {
        batch.push(Some(b"k"), Some(b"v"), 7, None, 1).unwrap();
        batch.push(None, None, 8, Some(5), 2).unwrap();
        batch.push_header(b"name", Some(b"value")).unwrap();
        batch.push(Some(b"popped"), None, 9, None, 1).unwrap();
        batch.pop();
        batch.set_attempt(0, 3);
        batch
    };
    let mut wide = fill(Batch::with_stride(STRIDE + 4));
    let mut again = Batch::with_stride(STRIDE + 4);
    again.copy_from(&wide, 1..2);
    let told = |batch: &Batch| {
        batch
            .messages()
            .map(|one| {
                format!(
                    "{:?} {:?} {} {:?} {} {:?}",
                    one.key(),
                    one.value(),
                    one.offset,
                    one.timestamp,
                    one.attempt,
                    one.headers().collect::<Vec<_>>()
                )
            })
            .collect::<Vec<_>>()
    };
    let expected = told(&fill(Batch::new()));
    assert_eq!(told(&wide), expected);
    assert_eq!(told(&again), expected[1..]);
    wide.seal();
    assert_eq!(wide.table().len(), 2 * (STRIDE + 4) + HEADER_STRIDE);
    assert_eq!(wide.table()[2 * (STRIDE + 4)..][1], 4, "the header's name, behind all rows");
}
