use super::*;

fn copy(partition: i32, number: i64, time: i64) -> Message {
    let value = format!("{partition} {number} {number}");
    Message { timestamp: Some(time), ..Message::new(format!("key-{partition}"), value).on(partition) }
}

fn commit(partition: i32, offset: i64, time: i64) -> Commit {
    Commit { partition, offset, time, metadata: String::new() }
}

fn kill(time: i64) -> Disturbance {
    Disturbance { kind: Kind::Kill, process: Some(0), partitions: vec![0], from: time, to: time }
}

fn verdict(copies: &[Message], commits: &[Commit], disturbances: &[Disturbance], span: u64) -> Verdict {
    let mut book = Book::new(&[3, 1]);
    copies.iter().for_each(|copy| book.enter(copy));
    let at_end = commits.iter().map(|commit| (commit.partition, commit.offset)).collect();
    book.close(commits, &at_end, disturbances, span)
}

fn broken(verdict: &Verdict) -> Vec<&str> {
    verdict.finding_counts.keys().copied().collect()
}

fn all_copies() -> Vec<Message> {
    vec![copy(0, 0, 10), copy(0, 1, 20), copy(0, 2, 30), copy(1, 0, 10)]
}

#[test]
fn everything_once_and_committed_afterwards_holds() {
    let verdict =
        verdict(&all_copies(), &[commit(0, 0, 1), commit(0, 2, 25), commit(0, 3, 30), commit(1, 1, 11)], &[], 0);
    assert!(verdict.holds(), "{verdict:?}");
    assert_eq!((verdict.given, verdict.copies, verdict.lost, verdict.duplicates), (4, 4, 0, 0));
}

#[test]
fn a_message_without_a_copy_is_lost() {
    let mut copies = all_copies();
    copies.remove(1);
    let verdict = verdict(&copies, &[commit(0, 3, 99), commit(1, 1, 99)], &[], 0);
    assert_eq!(broken(&verdict), ["no message is lost", "only what is complete is committed"]);
    assert_eq!(verdict.lost, 1);
}

#[test]
fn a_commit_before_the_delivery_is_found_though_nothing_was_lost() {
    let verdict = verdict(&all_copies(), &[commit(0, 3, 29), commit(1, 1, 99)], &[], 0);
    assert_eq!(broken(&verdict), ["only what is complete is committed"]);
}

#[test]
fn one_more_than_the_watermark_is_found() {
    let verdict = verdict(&all_copies(), &[commit(0, 4, 99), commit(1, 1, 99)], &[], 0);
    assert_eq!(broken(&verdict), ["in the end everything is committed", "only what exists is committed"]);
}

#[test]
fn a_commit_that_goes_back_is_found() {
    let commits = [commit(0, 3, 99), commit(0, 1, 100), commit(0, 3, 101), commit(1, 1, 99)];
    assert_eq!(broken(&verdict(&all_copies(), &commits, &[], 0)), ["a committed offset does not go back"]);
}

#[test]
fn a_first_copy_out_of_order_is_found_and_a_second_one_is_not() {
    let ends = [commit(0, 3, 9_000), commit(1, 1, 9_000)];
    let copies = [copy(0, 1, 10), copy(0, 0, 20), copy(0, 2, 30), copy(1, 0, 10)];
    assert_eq!(broken(&verdict(&copies, &ends, &[], 0)), ["a key's messages come in order"]);
    let mut copies = all_copies();
    copies.push(copy(0, 0, 5_000));
    let verdict = verdict(&copies, &ends, &[kill(1_000)], 1);
    assert!(verdict.holds(), "{verdict:?}");
    assert_eq!((verdict.duplicates, verdict.kills_in_flight), (1, 1));
}

#[test]
fn a_second_copy_needs_a_cause_and_a_kill_has_a_bound() {
    let ends = [commit(0, 3, 90_000), commit(1, 1, 90_000)];
    let mut copies = all_copies();
    copies.extend([copy(0, 0, 50_000), copy(0, 1, 50_001)]);
    assert_eq!(broken(&verdict(&copies, &ends, &[], 9)), ["nothing is handled again without a cause"]);
    assert_eq!(broken(&verdict(&copies, &ends, &[kill(60_000)], 9)), ["nothing is handled again without a cause"]);
    assert!(verdict(&copies, &ends, &[kill(40_000)], 2).holds());
    // Long delivered before the kill, and more than the span.
    let beyond = verdict(&copies, &ends, &[kill(40_000)], 1);
    assert_eq!(broken(&beyond), ["a kill repeats no more than the span and what was not committed yet"]);
    // Delivered just before the kill: the commit may not have been written.
    assert!(verdict(&copies, &ends, &[kill(500)], 0).holds());
}

#[test]
fn a_kill_answers_for_what_the_process_held_when_it_died() {
    let ends = [commit(0, 3, 90_000), commit(1, 1, 90_000)];
    let mut copies = all_copies();
    copies.push(copy(0, 0, 50_000));
    let other = Disturbance { partitions: vec![1], ..kill(400) };
    let verdict = verdict(&copies, &ends, &[other, kill(500), kill(30_000)], 9);
    assert_eq!(verdict.kills.iter().map(|kill| kill.again).collect::<Vec<_>>(), [0, 1, 0]);
}

#[test]
fn what_was_never_given_and_what_moved_is_found() {
    let ends = [commit(0, 3, 99), commit(1, 1, 99)];
    let mut copies = all_copies();
    copies.push(copy(0, 3, 40));
    assert_eq!(broken(&verdict(&copies, &ends, &[], 0)), ["messages come out as they went in"]);
    let mut copies = all_copies();
    copies[3].partition = Some(0);
    assert_eq!(broken(&verdict(&copies, &ends, &[], 0)), ["a key stays on its partition number"]);
}
