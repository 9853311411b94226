//! Exactly once: what becomes of a slice after every way in which its calls can end.

use super::*;

const INTERVAL: u64 = 100;
const DEADLINE: u64 = 5_000;

/// With a client, and no slice.
fn idle() -> Bench {
    let (interval, deadline) = (Duration::from_millis(INTERVAL), Duration::from_millis(DEADLINE));
    let mut bench = Bench::new(Promise::Transaction { interval, deadline });
    let until = bench.in_millis(DEADLINE);
    assert_eq!(bench.tick(), [Action::Init { until }]);
    assert_eq!(bench.answer(Answer::Renewed), []);
    bench
}

/// A slice is open, with a call of `a` in it.
fn open() -> Bench {
    let mut bench = idle();
    assert_eq!(bench.permit('a'), None);
    assert_eq!(bench.tick(), [Action::Begin]);
    assert_eq!(bench.answer(Answer::Begun), [Action::AskAgain]);
    settle(&mut bench, 'a', Work::Whole);
    bench
}

fn settle(bench: &mut Bench, partition: char, work: Work) {
    let permit = bench.permit(partition).expect("a slice is open");
    bench.give_back(permit, work);
}

/// Its interval is over; the outputs are being flushed.
fn flushing() -> Bench {
    let mut bench = open();
    let until = bench.at(INTERVAL).in_millis(DEADLINE);
    assert_eq!(bench.tick(), [Action::Flush { until }]);
    bench
}

/// The offsets are on their way.
fn offsetting() -> Bench {
    let mut bench = flushing();
    let until = bench.in_millis(DEADLINE);
    let list = vec![listed('a', false), listed('b', false)];
    assert_eq!(bench.answer(Answer::Flushed), [Action::SendOffsets { list, until }]);
    bench
}

/// The commit is on its way.
fn committing() -> Bench {
    let mut bench = offsetting();
    let until = bench.in_millis(DEADLINE);
    assert_eq!(bench.answer(Answer::OffsetsSent { marks: vec![('a', 7)] }), [Action::Commit { until }]);
    bench
}

fn abort(bench: &Bench) -> Done {
    vec![Action::Abort { until: bench.in_millis(DEADLINE) }]
}

fn renewal(bench: &Bench) -> Done {
    vec![Action::Discard, Action::Init { until: bench.in_millis(DEADLINE) }]
}

/// `a` does not know where it is; a new client, and it reads again.
fn assert_unknown(bench: &mut Bench, done: Done, also: &[char]) {
    let mut expected = vec![told('a', Outcome::Unknown)];
    expected.extend(also.iter().map(|key| told(*key, Outcome::Unknown)));
    expected.extend(renewal(bench));
    assert_eq!(done, expected);
    assert_eq!(bench.permit('a'), None);
    let unread: Vec<char> = ['a'].into_iter().chain(also.iter().copied()).collect();
    assert_eq!(bench.answer(Answer::Renewed), [Action::Fetch(unread.clone())]);
    assert_eq!(bench.slice.phase(), Phase::Rereading);
    bench.answer(Answer::Fetched { partitions: unread });
    bench.at(2_000).tick();
    assert_eq!(bench.slice.phase(), Phase::Beginning);
}

#[test]
fn a_commit_that_succeeds_is_persisted() {
    let mut bench = committing();
    assert_eq!(bench.answer(Answer::Committed), [told('a', Outcome::Persisted(Some(7)))]);
    assert_eq!((bench.slice.phase(), bench.due()), (Phase::Idle, None));
}

#[test]
fn an_abort_that_succeeds_restores_when_no_commit_was_asked_for() {
    let mut bench = open();
    settle(&mut bench, 'b', Work::Torn);
    let aborting = abort(&bench);
    assert_eq!(bench.tick(), aborting);
    let restored = [told('a', Outcome::Restored), told('b', Outcome::Restored)];
    assert_eq!(bench.answer(Answer::Aborted), restored);
    // It was asked for by ourselves in a healthy state, so the client stays.
    assert_eq!(bench.permit('a'), None);
    assert_eq!(bench.at(50).tick(), [Action::Begin]);
}

#[test]
fn a_fatal_error_of_a_commit_leaves_the_outcome_unknown() {
    let mut bench = committing();
    let done = bench.fail(Call::Commit, CallError::Fatal);
    assert_unknown(&mut bench, done, &[]);
}

#[test]
fn an_abortable_error_of_a_commit_leaves_the_outcome_unknown_and_is_not_followed_by_an_abort() {
    let mut bench = committing();
    let done = bench.fail(Call::Commit, CallError::Abortable);
    assert_unknown(&mut bench, done, &[]);
}

#[test]
fn a_commit_that_timed_out_leaves_the_outcome_unknown() {
    let mut bench = committing();
    let done = bench.fail(Call::Commit, CallError::TimedOut);
    assert_unknown(&mut bench, done, &[]);
}

#[test]
fn an_abort_that_failed_leaves_the_outcome_unknown() {
    for error in [CallError::Abortable, CallError::Fatal, CallError::TimedOut] {
        let mut bench = flushing();
        bench.event(Event::ReportFailed);
        bench.answer(Answer::Flushed);
        let done = bench.fail(Call::Abort, error);
        assert_unknown(&mut bench, done, &[]);
    }
}

#[test]
fn a_fatal_error_before_the_commit_leaves_the_outcome_unknown() {
    let mut bench = flushing();
    let done = bench.fail(Call::Flush, CallError::Fatal);
    assert_unknown(&mut bench, done, &[]);
    // Offsets of whoever was asked may be in the transaction.
    let mut bench = offsetting();
    let done = bench.fail(Call::SendOffsets, CallError::Fatal);
    assert_unknown(&mut bench, done, &['b']);
}

#[test]
fn an_abortable_error_before_the_commit_aborts_restores_and_replaces_the_client() {
    for (mut bench, call, error) in [
        (flushing(), Call::Flush, CallError::Abortable),
        (flushing(), Call::Flush, CallError::TimedOut),
        (offsetting(), Call::SendOffsets, CallError::Abortable),
        (offsetting(), Call::SendOffsets, CallError::TimedOut),
    ] {
        let aborting = abort(&bench);
        assert_eq!(bench.fail(call, error), aborting);
        let done = bench.answer(Answer::Aborted);
        assert_eq!(done[0], told('a', Outcome::Restored));
        assert_eq!(done[done.len() - 2..], renewal(&bench));
        // What is known need not be read.
        assert_eq!(bench.answer(Answer::Renewed), []);
        assert_eq!(bench.slice.phase(), Phase::Idle);
    }
}

#[test]
fn a_retriable_error_leads_to_the_same_call_again() {
    for (mut bench, call) in [(offsetting(), Call::SendOffsets), (committing(), Call::Commit)] {
        assert_eq!(bench.fail(call, CallError::Retriable), []);
        assert_eq!(bench.due(), Some(INTERVAL + 50));
        assert_eq!(bench.at(INTERVAL + 50).tick(), [Action::Again(call)]);
    }
}

#[test]
fn retries_end_at_the_deadline_with_an_abort_before_a_commit_and_as_unknown_after_it() {
    let mut bench = offsetting();
    bench.at(INTERVAL + DEADLINE - 1).fail(Call::SendOffsets, CallError::Retriable);
    let aborting = abort(bench.at(INTERVAL + DEADLINE));
    assert_eq!(bench.tick(), aborting);

    let mut bench = committing();
    bench.at(INTERVAL + DEADLINE - 1).fail(Call::Commit, CallError::Retriable);
    let done = bench.at(INTERVAL + DEADLINE).tick();
    assert_unknown_late(&mut bench, done);
}

fn assert_unknown_late(bench: &mut Bench, done: Done) {
    let mut expected = vec![told('a', Outcome::Unknown)];
    expected.extend(renewal(bench));
    assert_eq!(done, expected);
}

#[test]
fn a_refused_output_aborts_the_slice_and_replaces_the_client() {
    let mut bench = open();
    bench.event(Event::ReportFailed);
    assert_eq!(bench.permit('b'), None);
    let aborting = abort(&bench);
    assert_eq!(bench.tick(), aborting);
    let mut done = vec![told('a', Outcome::Restored)];
    done.extend(renewal(&bench));
    assert_eq!(bench.answer(Answer::Aborted), done);
}

#[test]
fn after_a_doubtful_call_the_client_is_replaced_although_it_committed() {
    let mut bench = committing();
    bench.event(Event::Doubtful);
    let mut done = vec![told('a', Outcome::Persisted(Some(7)))];
    done.extend(renewal(&bench));
    assert_eq!(bench.answer(Answer::Committed), done);
}

#[test]
fn a_slice_with_outputs_of_a_partition_that_was_lost_is_aborted_whole() {
    let mut bench = open();
    settle(&mut bench, 'b', Work::Whole);
    bench.event(Event::Lost { partitions: vec!['b'] });
    let aborting = abort(&bench);
    assert_eq!(bench.tick(), aborting);
    let restored = [told('a', Outcome::Restored), told('b', Outcome::Restored)];
    assert_eq!(bench.answer(Answer::Aborted), restored);
}

#[test]
fn a_loss_while_the_offsets_are_on_their_way_aborts_before_the_commit() {
    let mut bench = offsetting();
    bench.event(Event::Lost { partitions: vec!['a'] });
    let aborting = abort(&bench);
    assert_eq!(bench.answer(Answer::OffsetsSent { marks: vec![('a', 7)] }), aborting);
}

#[test]
fn the_loss_of_a_partition_that_has_nothing_in_the_slice_ends_nothing() {
    let mut bench = offsetting();
    bench.event(Event::Lost { partitions: vec!['b'] });
    let until = bench.in_millis(DEADLINE);
    assert_eq!(bench.answer(Answer::OffsetsSent { marks: vec![('a', 7)] }), [Action::Commit { until }]);
}

#[test]
fn a_new_generation_alone_ends_nothing_but_none_at_all_aborts() {
    let mut bench = offsetting();
    bench.event(Event::GenerationChanged { valid: true });
    let until = bench.in_millis(DEADLINE);
    assert_eq!(bench.answer(Answer::OffsetsSent { marks: vec![('a', 7)] }), [Action::Commit { until }]);

    for mut bench in [flushing(), offsetting()] {
        bench.event(Event::GenerationChanged { valid: false });
        let (aborting, flushing) = (abort(&bench), bench.slice.phase() == Phase::Ending);
        let answer = if flushing { Answer::Flushed } else { Answer::OffsetsSent { marks: vec![('a', 7)] } };
        assert_eq!(bench.answer(answer), aborting);
    }
}

#[test]
fn a_loss_after_the_commit_was_asked_for_waits_for_its_answer() {
    let mut bench = committing();
    bench.event(Event::Lost { partitions: vec!['a'] });
    assert_eq!(bench.tick(), []);
    assert_eq!(bench.answer(Answer::Committed), [told('a', Outcome::Persisted(Some(7)))]);
}

#[test]
fn a_permit_holds_up_the_end_and_none_is_granted_meanwhile() {
    let mut bench = open();
    let permit = bench.permit('b').expect("open");
    bench.event(Event::EndAsked(Why::Window));
    assert_eq!(bench.event(Event::PermitAsked { partition: 'a' }), [Action::Wait { partition: 'a' }]);
    assert_eq!(bench.tick(), []);
    bench.give_back(permit, Work::Whole);
    let until = bench.in_millis(DEADLINE);
    assert_eq!(bench.tick(), [Action::Flush { until }]);
}

#[test]
fn a_permit_that_is_kept_past_the_deadline_aborts_and_nothing_begins_before_it_is_back() {
    let mut bench = open();
    let permit = bench.permit('b').expect("open");
    bench.event(Event::EndAsked(Why::Window));
    bench.tick();
    let aborting = abort(bench.at(DEADLINE));
    assert_eq!(bench.tick(), aborting);
    let done = bench.answer(Answer::Aborted);
    assert_eq!(done[..2], [told('a', Outcome::Restored), told('b', Outcome::Restored)]);
    bench.answer(Answer::Renewed);
    assert_eq!(bench.permit('a'), None);
    assert_eq!(bench.at(2 * DEADLINE).tick(), []);
    bench.give_back(permit, Work::Whole);
    assert_eq!(bench.tick(), [Action::Begin]);
}

#[test]
fn a_revoke_ends_the_slice_and_lets_go_after_the_commit() {
    let mut bench = open();
    let deadline = bench.in_millis(1000);
    bench.event(Event::Revoke { partitions: vec!['a'], deadline });
    assert_eq!(bench.permit('a'), None);
    assert_eq!(bench.tick(), [Action::Flush { until: deadline }]);
    let list = vec![listed('a', true), listed('b', false)];
    assert_eq!(bench.answer(Answer::Flushed), [Action::SendOffsets { list, until: deadline }]);
    bench.answer(Answer::OffsetsSent { marks: vec![('a', 7)] });
    let left = Action::Left { partitions: vec!['a'], settled: true };
    assert_eq!(bench.answer(Answer::Committed), [told('a', Outcome::Persisted(Some(7))), left]);
}

#[test]
fn a_revoke_of_what_has_nothing_in_the_slice_does_not_end_it() {
    let mut bench = idle();
    let deadline = bench.in_millis(1000);
    bench.event(Event::Revoke { partitions: vec!['b'], deadline });
    assert_eq!(bench.tick(), [Action::Left { partitions: vec!['b'], settled: true }]);
}

#[test]
fn a_revoke_that_cannot_be_persisted_lets_go_with_the_abort_or_at_its_deadline() {
    let unsettled = Action::Left { partitions: vec!['a'], settled: false };
    let mut bench = flushing();
    let deadline = bench.in_millis(1000);
    bench.event(Event::Revoke { partitions: vec!['a'], deadline });
    bench.event(Event::ReportFailed);
    bench.answer(Answer::Flushed);
    assert_eq!(bench.answer(Answer::Aborted)[..2], [told('a', Outcome::Restored), unsettled.clone()]);

    let mut bench = flushing();
    bench.event(Event::Revoke { partitions: vec!['a'], deadline: bench.in_millis(1000) });
    assert_eq!(bench.at(INTERVAL + 1000).event(Event::TimedOut), [unsettled]);
    // What it had in the slice must not be committed any more.
    let aborting = abort(&bench);
    assert_eq!(bench.answer(Answer::Flushed), aborting);
}

#[test]
fn a_call_that_does_not_come_back_abandons_the_member() {
    let mut bench = committing();
    assert_eq!(bench.due(), Some(INTERVAL + DEADLINE + 1000));
    let done = bench.at(INTERVAL + DEADLINE + 1000).event(Event::TimedOut);
    let abandoned = Action::Abandon(vec![('a', FIRST), ('b', FIRST)]);
    assert_eq!(done, [told('a', Outcome::Unknown), abandoned]);
    assert_eq!(bench.event(Event::PermitAsked { partition: 'a' }), [Action::Gone { partition: 'a' }]);
    let deadline = bench.in_millis(1000);
    let left = Action::Left { partitions: vec!['a'], settled: false };
    assert_eq!(bench.event(Event::Revoke { partitions: vec!['a'], deadline }), [left]);
    assert_eq!(bench.answer(Answer::Committed), [Action::Discard]);
    assert_eq!((bench.slice.phase(), bench.due()), (Phase::Dead, None));
}

#[test]
fn notes_and_idle_positions_wait_for_outputs_or_five_seconds() {
    let mut bench = idle();
    bench.event(Event::Marked { urgent: false });
    assert_eq!(bench.due(), Some(5_000));
    assert_eq!(bench.at(5_000).tick(), [Action::Begin]);
    // Offsets alone: nothing to flush.
    let (list, until) = (vec![listed('a', false), listed('b', false)], bench.in_millis(DEADLINE));
    assert_eq!(bench.answer(Answer::Begun), [Action::SendOffsets { list, until }]);
}

#[test]
fn an_urgent_mark_begins_and_ends_a_slice_at_once() {
    let mut bench = idle();
    bench.event(Event::Marked { urgent: true });
    assert_eq!(bench.tick(), [Action::Begin]);
    assert!(matches!(bench.answer(Answer::Begun)[..], [Action::SendOffsets { .. }]));

    let mut bench = open();
    bench.event(Event::Marked { urgent: true });
    assert!(matches!(bench.tick()[..], [Action::Flush { .. }]));
}

#[test]
fn what_was_marked_in_a_slice_that_was_aborted_is_still_due() {
    let mut bench = idle();
    bench.event(Event::Marked { urgent: true });
    bench.tick();
    bench.answer(Answer::Begun);
    bench.event(Event::GenerationChanged { valid: false });
    bench.answer(Answer::OffsetsSent { marks: vec![('a', 7)] });
    bench.event(Event::GenerationChanged { valid: true });
    assert_eq!(bench.answer(Answer::Aborted), [told('a', Outcome::Refused(Refusal::Again))]);
    assert_eq!(bench.due(), Some(50));
}

#[test]
fn at_most_a_fifth_of_the_time_goes_into_ending_until_the_interval_is_a_second() {
    for (took, interval) in [(10, 100), (100, 400), (3_000, 1_000)] {
        let mut bench = committing();
        let end = INTERVAL + took;
        bench.at(end).answer(Answer::Committed);
        bench.permit('a');
        bench.tick();
        bench.answer(Answer::Begun);
        settle(&mut bench, 'a', Work::Whole);
        assert_eq!(bench.due(), Some(end + interval), "{took} ms");
    }
}

#[test]
fn a_shutdown_ends_the_slice_and_then_stops() {
    let mut bench = open();
    bench.event(Event::Shutdown { deadline: bench.in_millis(1000) });
    assert!(matches!(bench.tick()[..], [Action::Flush { .. }]));
    bench.answer(Answer::Flushed);
    bench.answer(Answer::OffsetsSent { marks: vec![('a', 7)] });
    let left = Action::Left { partitions: vec!['a', 'b'], settled: true };
    let done = [told('a', Outcome::Persisted(Some(7))), left, Action::Discard, Action::Stopped];
    assert_eq!(bench.answer(Answer::Committed), done);
}

#[test]
fn a_client_that_cannot_be_made_is_made_again_after_ever_longer_pauses() {
    let mut bench = idle();
    bench.event(Event::Doubtful);
    let mut at = 0;
    for pause in [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
        let renewing = renewal(&bench);
        assert_eq!(bench.tick(), renewing);
        bench.fail(Call::Init, CallError::Fatal);
        at += pause;
        assert_eq!(bench.due(), Some(at));
        bench.at(at);
    }
}

#[test]
fn the_coordinator_is_asked_again_for_what_it_did_not_tell() {
    let mut bench = committing();
    bench.fail(Call::Commit, CallError::Fatal);
    bench.answer(Answer::Renewed);
    bench.fail(Call::Fetch, CallError::Retriable);
    assert_eq!(bench.due(), Some(INTERVAL + 200));
    assert_eq!(bench.at(INTERVAL + 200).tick(), [Action::Fetch(vec!['a'])]);
    bench.answer(Answer::Fetched { partitions: vec![] });
    assert_eq!(bench.at(INTERVAL + 250).tick(), [Action::Fetch(vec!['a'])]);
    assert_eq!(bench.answer(Answer::Fetched { partitions: vec!['a'] }), []);
    assert_eq!(bench.slice.phase(), Phase::Idle);
}

#[test]
fn an_answer_that_nobody_asked_for_is_an_error_and_changes_nothing() {
    let mut bench = flushing();
    let mut actions = Vec::new();
    let answer = Event::Answered(Answer::Committed);
    let error = Impossible::Unasked { answered: Call::Commit, awaited: Some(Call::Flush) };
    assert_eq!(bench.slice.apply(answer, bench.now, &mut actions), Err(error));
    let twice = Event::PermitReturned { permit: PermitId(0), work: Work::Whole };
    assert_eq!(bench.slice.apply(twice, bench.now, &mut actions), Err(Impossible::NoSuchPermit(PermitId(0))));
    assert_eq!((actions, bench.slice.phase()), (vec![], Phase::Ending));
}
