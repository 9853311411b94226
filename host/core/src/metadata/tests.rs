//! Notes go through text and back, and no text does harm.

use proptest::prelude::*;

use super::*;

fn full() -> CommitNote {
    let mut done = DoneSet::new();
    for first in [1205, 1300] {
        done.insert(Offset(first), Offset(first + 4));
    }
    CommitNote {
        topic_id: Some("AAECAwQFBgcICQoLDA0ODw".to_owned()),
        retry: Some(RetryNote { offset: 1200, attempts: 3, first_failure_ms: 1_753_000_000_000 }),
        done,
        version: Some(VersionNote { epoch: 4711, first: 1190 }),
    }
}

/// The text of a whole note with the given inside.
fn signed(body: &str) -> String {
    format!("{body};{:08x}", checksum(body))
}

#[test]
fn reads_what_earlier_processes_wrote() {
    // Fixed for good: a process of the next version reads it after an upgrade.
    let text = "w1;t=AAECAwQFBgcICQoLDA0ODw;r=1200,3,1753000000000;d=1205+4,91+4;6ecbb8dd";
    let before = CommitNote { version: None, ..full() };
    assert_eq!(before.encode(), text);
    assert_eq!(CommitNote::decode(text), before);
    let text = "w1;e=4711,1190;t=AAECAwQFBgcICQoLDA0ODw;r=1200,3,1753000000000;d=1205+4,91+4;280a7cd6";
    assert_eq!(full().encode(), text);
    assert_eq!(CommitNote::decode(text), full());
}

#[test]
fn nothing_to_say_is_no_text() {
    assert_eq!(CommitNote::default().encode(), "");
    assert_eq!(CommitNote::decode(""), CommitNote::default());
}

#[test]
fn a_note_that_was_cut_is_no_note() {
    // `d=1205+4,91+4` cut to `d=1205+4,9` or `d=1205+4,91` would name other messages as done: they would be lost.
    let text = full().encode();
    for end in 0..text.len() {
        assert_eq!(CommitNote::decode(&text[..end]), CommitNote::default(), "cut at {end}");
    }
}

#[test]
fn fields_and_versions_that_are_not_known_are_passed_over() {
    let retry = RetryNote { offset: 5, attempts: 1, first_failure_ms: 0 };
    let expected = CommitNote { retry: Some(retry), ..CommitNote::default() };
    assert_eq!(CommitNote::decode(&signed("w1;x=new;r=5,1,0;flag")), expected);
    for other in ["w2;r=5,1,0", "r=5,1,0", "{\"leader\":\"x\"}"] {
        assert_eq!(CommitNote::decode(&signed(other)), CommitNote::default(), "{other}");
    }
}

#[test]
fn a_malformed_list_of_ranges_names_nothing_as_done() {
    for bad in [
        "5",
        "5+",
        "+5",
        "5+1,",
        "5+1,x",
        "-5+1",
        "5+1;d=",
        "9223372036854775807+1",
        "1+18446744073709551615",
        "9223372036854775807+1,9223372036854775813+1",
    ] {
        assert!(CommitNote::decode(&signed(&format!("w1;d={bad}"))).done.is_empty(), "{bad}");
    }
}

#[test]
fn a_topic_id_that_could_be_taken_for_fields_is_left_out_and_the_ranges_with_it() {
    for id in ["", "a;r=1,1,1", "a b", "ä", &"x".repeat(200)] {
        let note = CommitNote { topic_id: Some(id.to_owned()), ..full() };
        let expected = CommitNote { retry: full().retry, version: full().version, ..CommitNote::default() };
        assert_eq!(CommitNote::decode(&note.encode()), expected, "{id}");
    }
}

#[test]
fn a_version_without_an_epoch_or_a_first_message_is_none() {
    for bad in ["", "5", "0,7", "5,", "-1,7", "5,x", "5,7,9"] {
        assert_eq!(CommitNote::decode(&signed(&format!("w1;e={bad}"))), CommitNote::default(), "{bad}");
    }
}

#[test]
fn done_ranges_give_way_first_and_the_version_last() {
    let note = full();
    let mut lost = Vec::new();
    for max_bytes in (0..=note.encode().len()).rev() {
        let text = note.encode_within(max_bytes);
        assert!(text.len() <= max_bytes);
        let read = CommitNote::decode(&text);
        let now = (read.done.len(), read.topic_id.is_some(), read.retry.is_some(), read.version.is_some());
        if lost.last() != Some(&now) {
            lost.push(now);
        }
    }
    let order = [(2, true, true), (1, true, true), (0, true, true), (0, false, true), (0, false, false)];
    let expected: Vec<_> = order.iter().map(|(done, id, retry)| (*done, *id, *retry, true)).collect();
    assert_eq!(lost, [expected, vec![(0, false, false, false)]].concat());
}

#[test]
fn offsets_that_kafka_does_not_have_are_left_out() {
    let mut note = full();
    note.done.insert(Offset(i64::MIN), Offset(-2));
    assert_eq!(CommitNote::decode(&note.encode()), full());
}

#[test]
fn the_lowest_ranges_are_kept() {
    let mut note = full();
    for index in 0..1000_i64 {
        note.done.insert(Offset(1_000_000_000 + index * 1000), Offset(1_000_000_000 + index * 1000));
    }
    let text = note.encode();
    assert!(text.len() <= CommitNote::MAX_BYTES && text.len() > CommitNote::MAX_BYTES - 20);
    let read = CommitNote::decode(&text);
    let kept: Vec<_> = read.done.ranges().collect();
    assert!(kept.len() > 500);
    assert_eq!(kept, note.done.ranges().take(kept.len()).collect::<Vec<_>>());
    assert_eq!((read.retry, read.topic_id), (note.retry, note.topic_id));
}

fn notes() -> impl Strategy<Value = CommitNote> {
    let offset = prop_oneof![0_i64..200, 0..=i64::MAX, (i64::MAX - 50)..=i64::MAX];
    let ranges = prop::collection::vec((offset, 0_i64..20), 0..300);
    let retry = (any::<i64>(), any::<u32>(), any::<i64>());
    let version = prop::option::of((1..=u64::MAX, any::<i64>()));
    ("[A-Za-z0-9_-]{0,24}", prop::option::of(retry), ranges, version).prop_map(|(id, retry, ranges, version)| {
        let mut done = DoneSet::new();
        for (first, more) in ranges {
            done.insert(Offset(first), Offset(first.saturating_add(more)));
        }
        let retry = retry.map(|(offset, attempts, first_failure_ms)| RetryNote { offset, attempts, first_failure_ms });
        let version = version.map(|(epoch, first)| VersionNote { epoch, first });
        CommitNote { topic_id: Some(id).filter(|id| !id.is_empty()), retry, done, version }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_note_comes_back_whole_but_for_its_highest_ranges(note in notes(), max_bytes in 0_usize..5000) {
        for text in [note.encode(), note.encode_within(max_bytes.max(200))] {
            prop_assert!(text.len() <= CommitNote::MAX_BYTES.max(max_bytes));
            let read = CommitNote::decode(&text);
            prop_assert_eq!(&read.topic_id, &note.topic_id);
            prop_assert_eq!((read.retry, read.version), (note.retry, note.version));
            let kept: Vec<_> = read.done.ranges().collect();
            prop_assert_eq!(&kept, &note.done.ranges().take(kept.len()).collect::<Vec<_>>());
            let all = kept.len() == note.done.len();
            prop_assert!(all || text.len() + 50 > max_bytes.clamp(200, CommitNote::MAX_BYTES));
        }
        prop_assert!(note.encode_within(max_bytes).len() <= max_bytes);
    }

    #[test]
    fn text_of_others_is_an_empty_note(text in any::<String>(), tail in "[0-9a-f]{8}") {
        prop_assert_eq!(CommitNote::decode(&text), CommitNote::default());
        prop_assert_eq!(CommitNote::decode(&format!("w1;{text}")), CommitNote::default());
        prop_assert_eq!(CommitNote::decode(&format!("w1;d=5+5;{tail}")), CommitNote::default());
    }

    #[test]
    fn no_field_makes_reading_fail(fields in "(;[trdex]?=?[-+,0-9a]{0,24}){0,6}", text in any::<String>()) {
        for body in [format!("w1{fields}"), format!("w1;d={text}"), text] {
            let read = CommitNote::decode(&signed(&body));
            prop_assert_eq!(CommitNote::decode(&read.encode()), read);
        }
    }

    #[test]
    fn one_wrong_byte_is_noticed(place in any::<prop::sample::Index>(), byte in b' '..b'~') {
        let mut text = full().encode().into_bytes();
        let place = place.index(text.len());
        prop_assume!(text[place] != byte);
        text[place] = byte;
        let read = CommitNote::decode(std::str::from_utf8(&text).unwrap());
        // Hexadecimal digits of the checksum may change their case and say the same.
        prop_assert!(read == CommitNote::default() || byte.eq_ignore_ascii_case(&full().encode().as_bytes()[place]));
    }
}
