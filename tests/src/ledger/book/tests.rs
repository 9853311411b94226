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

/// A copy that says which process made it.
fn copy_by(by: usize, partition: i32, number: i64, time: i64) -> Message {
    copy(partition, number, time).header("by", by.to_string())
}

#[test]
fn a_second_copy_needs_a_cause_and_a_kill_has_a_bound() {
    let ends = [commit(0, 3, 90_000), commit(1, 1, 90_000)];
    let mut copies = vec![copy_by(0, 0, 0, 10), copy_by(0, 0, 1, 20), copy_by(0, 0, 2, 30), copy(1, 0, 10)];
    copies.extend([copy_by(1, 0, 0, 50_000), copy_by(1, 0, 1, 50_001)]);
    assert_eq!(broken(&verdict(&copies, &ends, &[], 9)), ["nothing is handled again without a cause"]);
    assert_eq!(broken(&verdict(&copies, &ends, &[kill(60_000)], 9)), ["nothing is handled again without a cause"]);
    let early = [commit(0, 0, 39_000), ends[0].clone(), ends[1].clone()];
    assert!(verdict(&copies, &early, &[kill(40_000)], 2).holds());
    // They came out after it.
    let late = [commit(0, 0, 5), ends[0].clone(), ends[1].clone()];
    assert!(verdict(&copies, &late, &[kill(40_000)], 0).holds());
}

#[test]
fn a_kill_that_repeats_more_than_its_bound_is_found() {
    let ends = [commit(0, 1, 30_001), commit(0, 3, 90_000), commit(1, 1, 90_000)];
    // Two came out before the one that the last commit waited for, and come out again after the kill.
    let mut copies = vec![copy_by(0, 0, 1, 10), copy_by(0, 0, 2, 20), copy_by(0, 0, 0, 30_000), copy(1, 0, 10)];
    copies.extend([copy_by(1, 0, 1, 50_000), copy_by(1, 0, 2, 50_001)]);
    let promise = "a kill repeats no more than the span and what came out since the last commit";
    assert!(broken(&verdict(&copies, &ends, &[kill(40_000)], 0)).contains(&promise));
    assert!(!broken(&verdict(&copies, &ends, &[kill(40_000)], 1)).contains(&promise));
}

#[test]
fn what_was_committed_before_a_kill_does_not_come_again() {
    let commits = [commit(0, 1, 35_000), commit(0, 3, 90_000), commit(1, 1, 90_000)];
    let mut copies = all_copies();
    copies.push(copy(0, 1, 50_000));
    assert!(verdict(&copies, &commits, &[kill(40_000)], 9).holds());
    copies.push(copy(0, 0, 50_001));
    let promise = "nothing below a committed offset is handled again after a kill";
    assert_eq!(broken(&verdict(&copies, &commits, &[kill(40_000)], 9)), [promise]);
}

#[test]
fn a_kill_answers_for_what_the_process_had_handled() {
    let ends = [commit(0, 3, 90_000), commit(1, 1, 90_000)];
    let mut copies = vec![copy_by(7, 0, 0, 10), copy_by(7, 0, 1, 20), copy_by(7, 0, 2, 30), copy_by(8, 1, 0, 10)];
    copies.push(copy_by(9, 0, 0, 50_000));
    let of = |process, time| Disturbance { process: Some(process), ..kill(time) };
    let kills = [of(8, 400), of(7, 500), of(9, 30_000)];
    let found = verdict(&copies, &ends, &kills, 9);
    assert_eq!(found.kills.iter().map(|kill| kill.again).collect::<Vec<_>>(), [0, 1, 0]);
    // Without it, the change of the group is what is left.
    let joined = Disturbance { kind: Kind::Join, ..of(9, 600) };
    let found = verdict(&copies, &ends, &[of(8, 400), joined], 9);
    assert_eq!(found.duplicates_by_cause, BTreeMap::from([("Join".to_owned(), 1)]));
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

#[test]
fn what_waited_for_the_broker_is_not_charged_to_a_later_kill_unless_its_maker_came_after_the_outage() {
    let by = |copy: Message, process: &str| copy.header("by", process);
    let copies = [
        by(copy(0, 0, 230), "17"),
        by(copy(0, 1, 231), "17"),
        by(copy(0, 2, 232), "17"),
        by(copy(1, 0, 10), "17"),
        by(copy(0, 0, 300), "9"),
    ];
    let commits = [commit(1, 1, 20), commit(0, 3, 240)];
    let outage = Disturbance { kind: Kind::BrokerKill, process: None, partitions: vec![], from: 100, to: 200 };
    let killed = Disturbance { process: Some(17), ..kill(250) };
    let joined = |time: i64| Disturbance { kind: Kind::Join, process: Some(9), ..kill(time) };
    let before = verdict(&copies, &commits, &[joined(5), outage.clone(), killed.clone()], 0);
    assert!(before.holds(), "{before:?}");
    let after = verdict(&copies, &commits, &[outage, killed, joined(260)], 0);
    assert!(broken(&after).contains(&"nothing below a committed offset is handled again after a kill"), "{after:?}");
}
