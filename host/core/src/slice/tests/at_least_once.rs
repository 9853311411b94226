//! At least once: when the consumer commits, and for whom.

use super::*;

const SPACING: u64 = 50;

fn manual() -> Bench {
    Bench::new(Promise::AtLeastOnce(CommitMode::Manual { min_interval: Duration::from_millis(SPACING) }))
}

fn interval() -> Bench {
    Bench::new(Promise::AtLeastOnce(CommitMode::Interval(Duration::from_millis(1000))))
}

fn auto() -> Bench {
    Bench::new(Promise::AtLeastOnce(CommitMode::Auto(Duration::from_millis(1000))))
}

const BOTH: [char; 2] = ['a', 'b'];

fn persist(partitions: &[char], closing: bool) -> Done {
    vec![Action::Persist(partitions.iter().map(|key| listed(*key, closing)).collect())]
}

fn mark(bench: &mut Bench, urgent: bool) {
    assert_eq!(bench.event(Event::Marked { urgent }), [], "a mark is not the thread's that commits");
}

fn ok(bench: &mut Bench) -> Done {
    bench.answer(Answer::Persisted { results: vec![('a', Ok(7))], waiting: false })
}

fn refused(bench: &mut Bench, refusal: Refusal, waiting: bool) -> Done {
    bench.answer(Answer::Persisted { results: vec![('a', Err(refusal))], waiting })
}

#[test]
fn nothing_is_due_until_something_is_marked() {
    let mut bench = manual();
    assert_eq!(bench.at(5_000).due(), None);
    mark(&mut bench, false);
    assert_eq!(bench.due(), Some(5_000));
    assert_eq!(bench.tick(), persist(&BOTH, false));
    assert_eq!(bench.due(), None);
}

#[test]
fn manual_commits_are_a_spacing_apart_from_start_to_start() {
    let mut bench = manual();
    mark(&mut bench, false);
    bench.tick();
    bench.at(20);
    assert_eq!(ok(&mut bench), [told('a', Outcome::Persisted(Some(7)))]);
    mark(&mut bench, false);
    assert_eq!(bench.due(), Some(SPACING));
    assert_eq!(bench.at(SPACING - 1).tick(), []);
    assert_eq!(bench.at(SPACING).tick(), persist(&BOTH, false));
}

#[test]
fn sync_commits_follow_each_other_at_once() {
    let mut bench = Bench::new(Promise::AtLeastOnce(CommitMode::Sync));
    mark(&mut bench, false);
    assert_eq!(bench.tick(), persist(&BOTH, false));
    mark(&mut bench, false);
    let mut after = vec![told('a', Outcome::Persisted(Some(7)))];
    after.extend(persist(&BOTH, false));
    assert_eq!(ok(&mut bench), after);
}

#[test]
fn an_interval_is_waited_out_whatever_is_marked_meanwhile() {
    let mut bench = interval();
    mark(bench.at(10), false);
    assert_eq!(bench.due(), Some(1000));
    bench.at(1000).tick();
    ok(bench.at(1100));
    // The next one counts from the answer; one with nothing marked passes unused.
    mark(bench.at(2_500), false);
    assert_eq!(bench.due(), Some(3_100));
}

#[test]
fn auto_commits_once_an_interval_though_nothing_is_marked() {
    let mut bench = auto();
    assert_eq!(bench.due(), Some(1000));
    assert_eq!(bench.at(1000).tick(), persist(&BOTH, false));
    ok(bench.at(1010));
    assert_eq!(bench.due(), Some(2010));
}

#[test]
fn an_urgent_mark_waits_neither_for_an_interval_nor_for_a_pause() {
    for mut bench in [manual(), interval(), auto()] {
        mark(bench.at(1), true);
        assert_eq!(bench.tick(), persist(&BOTH, false));
        refused(&mut bench, Refusal::Again, false);
        mark(bench.at(2), true);
        assert_eq!(bench.tick(), persist(&BOTH, false));
    }
}

#[test]
fn what_was_refused_is_committed_again_after_a_pause() {
    for (refusal, pause) in [(Refusal::Again, 50), (Refusal::Other, 50), (Refusal::Closed, 200)] {
        let mut bench = Bench::new(Promise::AtLeastOnce(CommitMode::Sync));
        mark(&mut bench, false);
        bench.tick();
        assert_eq!(refused(bench.at(10), refusal, false), [told('a', Outcome::Refused(refusal))]);
        assert_eq!(bench.due(), Some(10 + pause), "{refusal:?}");
        // A mark that is not urgent does not shorten it.
        mark(bench.at(20), false);
        assert_eq!(bench.due(), Some(10 + pause));
        assert_eq!(bench.at(10 + pause).tick(), persist(&BOTH, false));
    }
}

#[test]
fn what_a_partition_waits_for_is_urgent_again_after_the_pause() {
    for (waiting, due) in [(true, 60), (false, 1060)] {
        let mut bench = interval();
        mark(&mut bench, true);
        bench.tick();
        refused(bench.at(10), Refusal::Again, waiting);
        assert_eq!(bench.due(), Some(due));
    }
}

#[test]
fn a_revoke_commits_at_once_and_only_for_what_leaves() {
    let mut bench = interval();
    let deadline = bench.in_millis(500);
    assert_eq!(bench.event(Event::Revoke { partitions: vec!['b'], deadline }), []);
    assert_eq!(bench.tick(), persist(&['b'], true));
    let answer = Answer::Persisted { results: vec![('b', Ok(3))], waiting: false };
    let left = Action::Left { partitions: vec!['b'], settled: true };
    assert_eq!(bench.answer(answer), [told('b', Outcome::Persisted(Some(3))), left]);
    mark(&mut bench, true);
    assert_eq!(bench.tick(), persist(&['a'], false));
}

#[test]
fn a_revoke_waits_for_the_commit_that_is_on_its_way_and_follows_it() {
    let mut bench = manual();
    mark(&mut bench, false);
    bench.tick();
    let deadline = bench.in_millis(500);
    bench.event(Event::Revoke { partitions: vec!['a'], deadline });
    assert_eq!(bench.tick(), []);
    let mut after = vec![told('a', Outcome::Persisted(Some(7)))];
    after.extend(persist(&['a'], true));
    assert_eq!(ok(bench.at(40)), after);
}

#[test]
fn a_revoke_does_not_outlive_its_deadline_though_a_commit_has_no_answer() {
    let mut bench = manual();
    mark(&mut bench, false);
    bench.tick();
    let deadline = bench.in_millis(500);
    bench.event(Event::Revoke { partitions: vec!['a'], deadline });
    assert_eq!(bench.due(), Some(500));
    let left = Action::Left { partitions: vec!['a'], settled: false };
    assert_eq!(bench.at(500).event(Event::TimedOut), [left]);
    // No second commit for it, and what stays goes on.
    assert_eq!(ok(bench.at(600)), [told('a', Outcome::Persisted(Some(7)))]);
    mark(&mut bench, false);
    assert_eq!(bench.tick(), persist(&['b'], false));
}

#[test]
fn a_revoke_whose_commit_is_refused_is_an_ordinary_end() {
    let mut bench = manual();
    let deadline = bench.in_millis(500);
    bench.event(Event::Revoke { partitions: vec!['a'], deadline });
    bench.tick();
    let left = Action::Left { partitions: vec!['a'], settled: false };
    assert_eq!(refused(&mut bench, Refusal::Again, false), [told('a', Outcome::Refused(Refusal::Again)), left]);
    assert_eq!(bench.due(), None);
}

#[test]
fn what_is_lost_is_not_committed() {
    let mut bench = manual();
    mark(&mut bench, false);
    bench.event(Event::Lost { partitions: vec!['a'] });
    assert_eq!(bench.tick(), persist(&['b'], false));
    bench.event(Event::Lost { partitions: vec!['b'] });
    let nothing = Answer::Persisted { results: vec![], waiting: false };
    assert_eq!(bench.answer(nothing), []);
    mark(&mut bench, true);
    assert_eq!(bench.tick(), []);
}

#[test]
fn a_loss_answers_the_revoke_that_it_overtakes() {
    let mut bench = manual();
    mark(&mut bench, false);
    bench.tick();
    let deadline = bench.in_millis(500);
    bench.event(Event::Revoke { partitions: vec!['a'], deadline });
    let left = Action::Left { partitions: vec!['a'], settled: false };
    assert_eq!(bench.event(Event::Lost { partitions: vec!['a'] }), [left]);
}

#[test]
fn without_a_generation_nothing_is_committed_but_what_leaves() {
    let mut bench = manual();
    bench.event(Event::GenerationChanged { valid: false });
    mark(&mut bench, true);
    assert_eq!((bench.due(), bench.tick()), (None, vec![]));
    let deadline = bench.in_millis(500);
    bench.event(Event::Revoke { partitions: vec!['a'], deadline });
    assert_eq!(bench.tick(), persist(&['a'], true));
}

#[test]
fn a_shutdown_commits_everything_for_the_last_time_and_stops() {
    let mut bench = auto();
    let deadline = bench.in_millis(500);
    bench.event(Event::Shutdown { deadline });
    assert_eq!(bench.tick(), persist(&BOTH, true));
    let left = Action::Left { partitions: BOTH.to_vec(), settled: true };
    assert_eq!(ok(&mut bench), [told('a', Outcome::Persisted(Some(7))), left, Action::Stopped]);
    assert_eq!((bench.slice.phase(), bench.due()), (Phase::Dead, None));
}

#[test]
fn permits_are_granted_while_a_partition_is_held_and_end_nothing() {
    let mut bench = manual();
    let permit = bench.permit('a').expect("held");
    mark(&mut bench, false);
    assert_eq!(bench.tick(), persist(&BOTH, false));
    bench.give_back(permit, Work::Whole);
    bench.event(Event::Lost { partitions: vec!['a'] });
    assert_eq!(bench.event(Event::PermitAsked { partition: 'a' }), [Action::Gone { partition: 'a' }]);
}

#[test]
fn what_belongs_to_transactions_is_an_error_and_changes_nothing() {
    let mut bench = manual();
    let mut actions = Vec::new();
    mark(&mut bench, false);
    bench.tick();
    let stray = Event::Answered(Answer::Persisted { results: vec![('z', Ok(1))], waiting: false });
    let unasked = Impossible::Unasked { answered: Call::Commit, awaited: Some(Call::Persist) };
    for (event, error) in [
        (Event::ReportFailed, Impossible::NoTransaction("a failed report")),
        (Event::Answered(Answer::Committed), unasked),
        (stray, Impossible::Unlisted(Call::Persist)),
    ] {
        assert_eq!(bench.slice.apply(event, bench.now, &mut actions), Err(error));
    }
    assert_eq!(actions, []);
    assert_eq!(ok(&mut bench), [told('a', Outcome::Persisted(Some(7)))]);
}
