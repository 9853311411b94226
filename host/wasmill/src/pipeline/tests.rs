//! What becomes of answers that come late, in pieces or with a refusal.

use std::sync::Arc;

use wasmill_core::{
    CommitMode, CommitNote, Fence, Generation, NextOffset, Offset, RetryNote, RunId, SpanBound, VersionNote,
};
use wasmill_kafka::{DeliveryError, DeliverySink as _, ProduceErrorClass, Report, TopicPartition};

use super::committer::{Dirty, Holdings};
use super::counters::PartitionCounters;
use super::flight::{Flight, TicketId};
use super::partition::{GiveUpStage, Partition, Phase, Start};
use super::seek::{Moved, Sought};
use super::succession::Admit;

const SYNC: CommitMode = CommitMode::Sync;

fn partition(committed: bool, note: CommitNote) -> Arc<Partition> {
    partition_of(committed, note, None)
}

/// `running`: the epoch of the version that the process runs.
fn partition_of(committed: bool, note: CommitNote, running: Option<u64>) -> Arc<Partition> {
    let id = TopicPartition::new("orders", 3);
    let at = NextOffset::at(100);
    let start = Start {
        at,
        committed: committed.then_some(at),
        first_commit: !committed,
        note,
        span: SpanBound { messages: 1000, bytes: 1 << 20 },
        running,
    };
    let counters = PartitionCounters::register("test", &id);
    let dirty: Arc<Dirty> = Arc::default();
    Arc::new(Partition::new(id, 0, (Generation(7), 0), start, Some("id-1".to_owned()), dirty, counters))
}

fn fresh() -> Arc<Partition> {
    partition(true, CommitNote::default())
}

/// Hands over ten messages from `first` on.
fn ten(partition: &Partition, first: i64) -> (Fence, RunId) {
    let mut state = partition.lock();
    let run = state.tracker.hand_over(Offset(first), Offset(first + 9), 10, 1000);
    (state.tracker.fence(), run)
}

fn watermark(partition: &Partition) -> i64 {
    partition.lock().tracker.watermark().get()
}

fn flight() -> Flight {
    Flight::new(Box::new(|_| {}))
}

fn confirmed(ticket: TicketId, first: i64, offsets: std::ops::Range<i64>) -> Vec<Report> {
    offsets.map(|offset| Report { token: ticket.token(first, offset), error: None }).collect()
}

fn refused(code: &str, class: ProduceErrorClass) -> Option<Box<DeliveryError>> {
    Some(Box::new(DeliveryError { class, code: code.to_owned(), text: "no".to_owned() }))
}

#[test]
fn nothing_is_complete_before_every_output_is_confirmed() {
    let (partition, flight) = (fresh(), flight());
    let (fence, run) = ten(&partition, 100);
    let ticket = flight.open(&partition, fence, run, 100);
    // Reports may overtake the sender.
    flight.delivered(&confirmed(ticket, 100, 100..104));
    assert_eq!(watermark(&partition), 100);
    flight.sent(ticket, 10, 109);
    assert_eq!(watermark(&partition), 100);
    flight.delivered(&confirmed(ticket, 100, 104..109));
    assert_eq!(watermark(&partition), 100);
    flight.delivered(&confirmed(ticket, 100, 109..110));
    assert_eq!(watermark(&partition), 110);
    assert!(partition.is_settled());
}

#[test]
fn what_is_confirmed_first_waits_for_what_was_handed_over_first() {
    let (partition, flight) = (fresh(), flight());
    let (fence, first) = ten(&partition, 100);
    let (_, second) = ten(&partition, 110);
    let one = flight.open(&partition, fence, first, 100);
    let two = flight.open(&partition, fence, second, 110);
    flight.sent(one, 1, 109);
    flight.sent(two, 1, 119);
    flight.delivered(&confirmed(two, 110, 110..111));
    assert_eq!(watermark(&partition), 100);
    flight.delivered(&confirmed(one, 100, 100..101));
    assert_eq!(watermark(&partition), 120);
}

#[test]
fn a_report_for_a_closed_generation_counts_for_nothing() {
    let (partition, flight) = (fresh(), flight());
    let (fence, run) = ten(&partition, 100);
    let ticket = flight.open(&partition, fence, run, 100);
    flight.sent(ticket, 1, 109);
    partition.close();
    flight.delivered(&confirmed(ticket, 100, 100..101));
    assert_eq!(watermark(&partition), 100);
    assert_eq!(partition.due(&SYNC, true), None);
}

#[test]
fn a_partition_whose_topic_is_gone_commits_nothing_and_is_not_waited_for() {
    let (partition, flight) = (fresh(), flight());
    let (fence, run) = ten(&partition, 100);
    let (_, second) = ten(&partition, 110);
    partition.complete(fence, run, false);
    assert!(partition.due(&SYNC, false).is_some());
    let ticket = flight.open(&partition, fence, second, 110);
    flight.sent(ticket, 1, 119);
    assert_eq!(partition.is_over(), None);
    partition.orphan("topic orders was deleted");
    assert_eq!(partition.due(&SYNC, true), None);
    assert!(partition.is_settled(), "a revoke would wait for what cannot count any more");
    flight.delivered(&confirmed(ticket, 110, 110..111));
    assert_eq!((watermark(&partition), partition.due(&SYNC, true)), (110, None));
    assert!(matches!(&partition.lock().phase, Phase::Stopped { offset: 120, .. }), "status says that it stands");
    assert_eq!(partition.is_over().as_deref(), Some("topic orders was deleted"));
}

#[test]
fn a_report_for_an_earlier_epoch_counts_for_nothing() {
    let (partition, flight) = (fresh(), flight());
    let (fence, run) = ten(&partition, 100);
    let ticket = flight.open(&partition, fence, run, 100);
    flight.sent(ticket, 1, 109);
    partition.lock().tracker.rewind();
    let (_, again) = ten(&partition, 100);
    flight.delivered(&confirmed(ticket, 100, 100..101));
    assert_eq!(watermark(&partition), 100);
    let now = partition.lock().tracker.fence();
    partition.complete(now, again, false);
    assert_eq!(watermark(&partition), 110);
}

#[test]
fn a_purged_output_is_nobodys_fault_and_nobodys_completion() {
    let (partition, flight) = (fresh(), flight());
    let (fence, run) = ten(&partition, 100);
    let ticket = flight.open(&partition, fence, run, 100);
    flight.sent(ticket, 1, 109);
    flight.delivered(&[Report {
        token: ticket.token(100, 100),
        error: refused("_PURGE_QUEUE", ProduceErrorClass::Purged),
    }]);
    assert_eq!(watermark(&partition), 100);
    assert!(partition.is_settled());
    assert!(partition.lock().refused.is_empty());
}

#[test]
fn a_refused_output_is_given_up_when_it_comes_round_and_its_neighbours_are_not_handled_again() {
    let (partition, flight) = (fresh(), flight());
    let (fence, run) = ten(&partition, 100);
    let ticket = flight.open(&partition, fence, run, 100);
    flight.sent(ticket, 10, 109);
    flight.delivered(&confirmed(ticket, 100, 100..104));
    flight.delivered(&[Report {
        token: ticket.token(100, 104),
        error: refused("MSG_SIZE_TOO_LARGE", ProduceErrorClass::Message),
    }]);
    flight.delivered(&confirmed(ticket, 100, 105..110));
    let mut state = partition.lock();
    assert!(state.must_rewind);
    assert_eq!(state.refused.get(&104).expect("noted").stage, None);
    assert_eq!(state.tracker.watermark().get(), 100, "the run is not complete");
    let to = state.tracker.rewind();
    for (first, last) in std::mem::take(&mut state.complete_beside_refused) {
        state.tracker.remember_done(Offset(first), Offset(last));
    }
    assert_eq!(to.get(), 100);
    let again: Vec<i64> = (100..110).filter(|&offset| !state.tracker.is_done(Offset(offset))).collect();
    assert_eq!(again, [104]);
}

#[test]
fn a_refusal_behind_the_last_settled_message_marks_nothing_complete() {
    let (partition, flight) = (fresh(), flight());
    let (fence, run) = ten(&partition, 100);
    let ticket = flight.open(&partition, fence, run, 100);
    // The call stopped at 105 after an output of 107 had gone out.
    let rest = partition.lock().tracker.split(run, Offset(104), 5, 500);
    flight.sent(ticket, 2, 104);
    flight.delivered(&confirmed(ticket, 100, 100..101));
    flight.delivered(&[Report {
        token: ticket.token(100, 107),
        error: refused("MSG_SIZE_TOO_LARGE", ProduceErrorClass::Message),
    }]);
    assert_eq!(watermark(&partition), 105);
    assert!(!partition.lock().must_rewind);
    assert!(!partition.lock().tracker.is_done(Offset(106)));
    partition.complete(fence, rest, false);
    assert_eq!(watermark(&partition), 110);
}

#[test]
fn a_refused_dead_letter_goes_on_with_headers_only() {
    let (partition, flight) = (fresh(), flight());
    let (fence, run) = ten(&partition, 100);
    let ticket = flight.open(&partition, fence, run, 100);
    partition.giving_up(103, GiveUpStage::Whole);
    flight.sent(ticket, 1, 109);
    flight.delivered(&[Report {
        token: ticket.token(100, 103),
        error: refused("MSG_SIZE_TOO_LARGE", ProduceErrorClass::Message),
    }]);
    assert_eq!(partition.lock().refused.get(&103).expect("noted").stage, Some(GiveUpStage::Whole));
}

#[test]
fn a_committer_that_was_stopped_runs_again_for_the_next_client() {
    let holdings = Holdings::new("test");
    holdings.stop();
    assert!(holdings.is_stopped());
    holdings.start();
    assert!(!holdings.is_stopped());
}

#[test]
fn the_first_position_is_committed_before_anything_is_handed_over() {
    let partition = partition(false, CommitNote::default());
    assert_eq!(partition.lock().phase, Phase::Starting);
    let due = partition.due(&SYNC, false).expect("due at once");
    assert_eq!(due.next.get(), 100);
    partition.confirmed(&due);
    assert_eq!(partition.lock().phase, Phase::Running);
    assert_eq!(partition.due(&SYNC, false), None);
}

#[test]
fn a_note_of_a_topic_that_was_made_again_is_not_believed() {
    let mut note = CommitNote { topic_id: Some("id-0".to_owned()), ..CommitNote::default() };
    note.done.insert(Offset(105), Offset(107));
    assert!(!partition(true, note.clone()).lock().tracker.is_done(Offset(106)));
    note.topic_id = Some("id-1".to_owned());
    assert!(partition(true, note).lock().tracker.is_done(Offset(106)));
}

/// Asks for the next message on behalf of a version.
fn admit(partition: &Partition, running: u64) -> Admit {
    let mut state = partition.lock();
    let (next, in_flight) = (state.tracker.position().get(), state.tickets > 0);
    state.succession.as_mut().expect("a control topic").admit(running, next, in_flight)
}

/// The lane's part: a new note is to be committed.
fn note(partition: &Partition, running: u64) {
    assert_eq!(admit(partition, running), Admit::Noted(true));
    partition.lock().note_dirty = true;
}

fn version(epoch: u64, first: i64) -> Option<VersionNote> {
    Some(VersionNote { epoch, first })
}

#[test]
fn a_version_gets_its_first_message_after_its_note_is_confirmed_and_an_earlier_commit_does_not_count() {
    let partition = partition_of(true, CommitNote::default(), Some(0));
    assert_eq!(admit(&partition, 0), Admit::Now);
    let (fence, run) = ten(&partition, 100);
    partition.complete(fence, run, false);
    let on_its_way = partition.due(&SYNC, false).expect("the watermark");
    note(&partition, 7);
    // It was sent before the swap: who takes over after a crash would find nothing of the new version in it.
    partition.confirmed(&on_its_way);
    assert_eq!(admit(&partition, 7), Admit::Noted(false));
    assert!(partition.waits_for_commit());
    let due = partition.due(&SYNC, false).expect("the note, though the watermark stands");
    assert_eq!((due.next.get(), CommitNote::decode(&due.note).version), (110, version(7, 110)));
    partition.confirmed(&due);
    assert_eq!((admit(&partition, 7), partition.waits_for_commit()), (Admit::Now, false));
    assert_eq!(partition.lock().succession.expect("a control topic").serving(), version(7, 110));
}

#[test]
fn every_later_commit_names_the_version_too() {
    let partition = partition_of(true, CommitNote { version: version(7, 90), ..CommitNote::default() }, Some(7));
    assert_eq!(admit(&partition, 7), Admit::Now);
    let (fence, run) = ten(&partition, 100);
    partition.complete(fence, run, false);
    for closing in [false, true] {
        let due = partition.due(&SYNC, closing).expect("the watermark");
        assert_eq!(CommitNote::decode(&due.note).version, version(7, 90));
    }
}

#[test]
fn a_new_version_waits_until_everything_of_the_one_before_is_confirmed() {
    let (partition, flight) = (partition_of(true, CommitNote::default(), Some(0)), flight());
    let (fence, run) = ten(&partition, 100);
    let ticket = flight.open(&partition, fence, run, 100);
    assert_eq!(admit(&partition, 7), Admit::Drained);
    assert_eq!(partition.lock().succession.expect("a control topic").note(), None, "the boundary is not known yet");
    flight.delivered(&confirmed(ticket, 100, 100..101));
    flight.sent(ticket, 1, 109);
    note(&partition, 7);
    let due = partition.due(&SYNC, false).expect("the note");
    assert_eq!((due.next.get(), CommitNote::decode(&due.note).version), (110, version(7, 110)));
}

#[test]
fn a_partition_that_a_later_version_had_is_not_handed_to_an_earlier_one() {
    let partition = partition_of(true, CommitNote { version: version(9, 80), ..CommitNote::default() }, Some(7));
    assert_eq!(admit(&partition, 7), Admit::Behind);
    assert_eq!(partition.lock().succession.expect("a control topic").behind(), Some(9));
    // Its commits still name the later one.
    partition.lock().note_dirty = true;
    let due = partition.due(&SYNC, true).expect("a commit");
    assert_eq!(CommitNote::decode(&due.note).version, version(9, 80));
    // The process has caught up: nothing is left to commit, and the boundary is the one that the first owner noted.
    assert_eq!(admit(&partition, 9), Admit::Now);
    assert_eq!(partition.lock().succession.expect("a control topic").serving(), version(9, 80));
}

#[test]
fn a_note_of_another_control_topic_or_another_topic_holds_nobody_up() {
    let noted = CommitNote { version: version(9, 80), ..CommitNote::default() };
    let partition = partition_of(true, noted.clone(), Some(7));
    assert_eq!(admit(&partition, 7), Admit::Behind);
    partition.lock().succession.as_mut().expect("a control topic").disown(9);
    note(&partition, 7);
    let made_again = partition_of(true, CommitNote { topic_id: Some("id-0".to_owned()), ..noted.clone() }, Some(0));
    assert_eq!(admit(&made_again, 0), Admit::Now);
    let without = partition_of(true, noted, None);
    without.lock().note_dirty = true;
    let due = without.due(&SYNC, false).expect("a commit");
    assert_eq!(CommitNote::decode(&due.note).version, None);
}

#[test]
fn a_first_position_is_committed_with_the_version_that_runs() {
    let partition = partition_of(false, CommitNote::default(), Some(7));
    assert_eq!(admit(&partition, 7), Admit::Noted(false));
    let due = partition.due(&SYNC, false).expect("due at once");
    assert_eq!((due.epoch, CommitNote::decode(&due.note).version), (7, version(7, 100)));
    partition.confirmed(&due);
    assert_eq!(admit(&partition, 7), Admit::Now);
}

#[test]
fn a_commit_that_was_on_its_way_when_a_partition_was_moved_does_not_let_it_go_on() {
    let partition = fresh();
    let (fence, run) = ten(&partition, 100);
    partition.complete(fence, run, false);
    let old = partition.due(&SYNC, false).expect("what is complete is due");
    let (done, mut answer) = tokio::sync::oneshot::channel();
    let sought = Sought { from: 110, to: 50, dropped: 0 };
    {
        let mut state = partition.lock();
        state.tracker.seek(NextOffset::at(50));
        state.forget_all();
        state.first_commit = true;
        state.phase = Phase::Starting;
        state.moved = Some(Moved { done, sought: sought.clone() });
    }
    partition.confirmed(&old);
    assert!(partition.lock().first_commit && answer.try_recv().is_err(), "50 is committed by nobody yet");
    assert!(!partition.is_committed());
    let due = partition.due(&SYNC, false).expect("the new position is due, although it is the lower one");
    assert_eq!(due.next, NextOffset::at(50));
    partition.confirmed(&due);
    assert_eq!(partition.lock().phase, Phase::Running);
    assert_eq!(answer.try_recv(), Ok(Ok(sought)));
    assert_eq!(partition.due(&SYNC, true), None);
}

#[test]
fn what_was_known_of_messages_before_a_move_counts_for_nothing_after_it() {
    let (partition, flight) = (fresh(), flight());
    let (fence, run) = ten(&partition, 100);
    let ticket = flight.open(&partition, fence, run, 100);
    flight.sent(ticket, 1, 109);
    {
        let mut state = partition.lock();
        state.retry = Some(RetryNote { offset: 120, attempts: 3, first_failure_ms: 0 });
        state.tracker.seek(NextOffset::at(50));
        state.forget_all();
    }
    let mut reports = confirmed(ticket, 100, 100..101);
    reports[0].error = refused("MSG_SIZE_TOO_LARGE", ProduceErrorClass::Message);
    flight.delivered(&reports);
    let state = partition.lock();
    assert!(!state.must_rewind && state.refused.is_empty() && state.retry.is_none(), "a late refusal counted");
    assert_eq!((state.tickets, state.tracker.watermark()), (0, NextOffset::at(50)));
}
