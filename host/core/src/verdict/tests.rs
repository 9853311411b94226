//! The table of verdicts, row by row, and against a plain reading of it.

use proptest::prelude::*;

use super::*;

const POLICY: RetryPolicy =
    RetryPolicy { attempts: 3, backoff: Duration::from_millis(100), max_delay: Duration::from_secs(1) };

fn fail(message: u32, kind: FailureKind, reason: &str) -> Failure {
    Failure { message, retry_after: None, kind, reason: reason.to_owned() }
}

fn retry(message: u32) -> Failure {
    fail(message, FailureKind::Retry, "busy")
}

fn reject(message: u32) -> Failure {
    fail(message, FailureKind::Reject, "bad")
}

fn given_up(message: usize, attempts: u32, class: ErrorClass, reason: &str) -> GivenUp {
    GivenUp { message, attempts, class, reason: reason.to_owned() }
}

fn again(delay_ms: u64, next_attempt: u32) -> Option<Rest> {
    Some(Rest::Retry { delay: Duration::from_millis(delay_ms), next_attempt, reason: "busy".to_owned() })
}

#[test]
fn acknowledges_what_was_reached_and_hands_the_rest_over_again_with_its_attempt() {
    let all = judge(5, 5, &[], 1, &POLICY);
    assert_eq!(all, Judgement { settled: 5, given_up: vec![], rest: None });
    let some = judge(5, 2, &[], 1, &POLICY);
    assert_eq!(some, Judgement { settled: 2, given_up: vec![], rest: Some(Rest::Unreached) });
}

#[test]
fn a_rejected_message_is_given_up_and_those_behind_it_count() {
    let judgement = judge(4, 4, &[reject(1), reject(3)], 2, &POLICY);
    let expected = vec![given_up(1, 1, ErrorClass::Rejected, "bad"), given_up(3, 1, ErrorClass::Rejected, "bad")];
    assert_eq!(judgement, Judgement { settled: 4, given_up: expected, rest: None });
    assert_eq!((0..5).map(|m| judgement.publishes(m)).collect::<Vec<_>>(), [true, false, true, false, false]);
}

#[test]
fn discards_all_that_was_said_behind_the_first_retry() {
    let judgement = judge(6, 6, &[reject(4), retry(2), reject(0), retry(5)], 1, &POLICY);
    let expected = vec![given_up(0, 1, ErrorClass::Rejected, "bad")];
    assert_eq!(judgement, Judgement { settled: 2, given_up: expected, rest: again(100, 2) });
    assert_eq!((0..6).map(|m| judgement.publishes(m)).collect::<Vec<_>>(), [false, true, false, false, false, false]);
}

#[test]
fn the_first_message_goes_on_from_its_attempt_and_a_later_one_begins() {
    assert_eq!(judge(3, 1, &[retry(0)], 2, &POLICY).rest, again(200, 3));
    assert_eq!(judge(3, 2, &[retry(1)], 2, &POLICY).rest, again(100, 2));
}

#[test]
fn the_last_attempt_ends_in_giving_up_and_the_messages_behind_are_not_reached() {
    let judgement = judge(4, 4, &[retry(0), reject(2)], 3, &POLICY);
    let expected = vec![given_up(0, 3, ErrorClass::RetriesExhausted, "busy")];
    assert_eq!(judgement, Judgement { settled: 1, given_up: expected, rest: Some(Rest::Unreached) });
    assert_eq!(judge(1, 1, &[retry(0)], 3, &POLICY).rest, None);
}

#[test]
fn one_attempt_and_none_both_mean_no_second_one() {
    for attempts in [0, 1] {
        let policy = RetryPolicy { attempts, ..POLICY };
        let judgement = judge(3, 3, &[retry(1)], 1, &policy);
        assert_eq!(judgement.given_up, [given_up(1, 1, ErrorClass::RetriesExhausted, "busy")]);
        assert_eq!((judgement.settled, judgement.rest), (2, Some(Rest::Unreached)));
        assert_eq!(after_crash(1, true, 1, &policy), AfterCrash::GiveUp { attempts: 1 });
    }
}

#[test]
fn a_call_that_says_nothing_counts_an_attempt_of_the_first_message() {
    let Judgement { settled: 0, given_up: none, rest: Some(Rest::Retry { delay, next_attempt: 2, .. }) } =
        judge(3, 0, &[], 1, &POLICY)
    else {
        panic!("not a retry")
    };
    assert_eq!((delay, none), (POLICY.backoff, vec![]));

    let last = judge(3, 0, &[], 3, &POLICY);
    assert_eq!((last.settled, last.rest), (1, Some(Rest::Unreached)));
    assert_eq!((last.given_up[0].class, last.given_up[0].attempts), (ErrorClass::NoProgress, 3));
    assert_eq!(judge(1, 0, &[], 3, &POLICY).rest, None);
}

#[test]
fn no_messages_have_no_progress_to_make() {
    assert_eq!(judge(0, 0, &[], 1, &POLICY), Judgement { settled: 0, given_up: vec![], rest: None });
    assert_eq!(judge(0, 7, &[reject(0)], 1, &POLICY), Judgement { settled: 0, given_up: vec![], rest: None });
}

#[test]
fn the_first_of_two_verdicts_for_a_message_counts() {
    let judgement = judge(2, 2, &[retry(1), reject(0), reject(1), retry(0)], 1, &POLICY);
    assert_eq!(judgement.given_up, [given_up(0, 1, ErrorClass::Rejected, "bad")]);
    assert_eq!((judgement.settled, judgement.rest), (1, again(100, 2)));
}

#[test]
fn a_failure_reaches_the_message_it_stops_at_and_none_beyond() {
    // `return k` after `fail(k)`: message k was reached.
    assert_eq!(judge(3, 0, &[retry(0)], 1, &POLICY).rest, again(100, 2));
    let stopped = judge(4, 1, &[reject(1)], 1, &POLICY);
    assert_eq!((stopped.settled, stopped.given_up.len(), stopped.rest), (2, 1, Some(Rest::Unreached)));
    // What lies beyond is handed over again: to believe it would pass over message 1.
    let beyond = judge(4, 1, &[reject(2), retry(3)], 1, &POLICY);
    assert_eq!(beyond, Judgement { settled: 1, given_up: vec![], rest: Some(Rest::Unreached) });
}

#[test]
fn numbers_beyond_the_batch_settle_nothing_that_was_not_handed_over() {
    let judgement = judge(2, u32::MAX, &[reject(2), retry(u32::MAX)], 1, &POLICY);
    assert_eq!(judgement, Judgement { settled: 2, given_up: vec![], rest: None });
}

#[test]
fn waits_for_what_is_longer_and_never_beyond_the_longest() {
    let delay = |attempt, asked_ms: u64| POLICY.delay(attempt, Some(Duration::from_millis(asked_ms))).as_millis();
    assert_eq!((delay(1, 0), delay(2, 0), delay(3, 0), delay(4, 0), delay(5, 0)), (100, 200, 400, 800, 1000));
    assert_eq!((delay(1, 700), delay(4, 700), delay(1, 5000)), (700, 800, 1000));
    assert_eq!(POLICY.delay(u32::MAX, None), POLICY.max_delay);
    assert_eq!(POLICY.delay(0, Some(Duration::MAX)), POLICY.max_delay);
    let waits: Vec<_> = (1..200).map(|attempt| POLICY.delay(attempt, None)).collect();
    assert!(waits.is_sorted());
    let failure = Failure { retry_after: Some(Duration::from_millis(700)), ..retry(0) };
    assert_eq!(judge(1, 1, &[failure], 1, &POLICY).rest, again(700, 2));
}

#[test]
fn only_a_crash_alone_on_a_fresh_instance_counts_an_attempt() {
    assert_eq!(after_crash(5, false, 3, &POLICY), AfterCrash::ReplayAlone);
    assert_eq!(after_crash(5, true, 3, &POLICY), AfterCrash::ReplayAlone);
    assert_eq!(after_crash(1, false, 3, &POLICY), AfterCrash::ReplayAlone);
    let delay = Duration::from_millis(200);
    assert_eq!(after_crash(1, true, 2, &POLICY), AfterCrash::Again { delay, next_attempt: 3 });
    assert_eq!(after_crash(1, true, 3, &POLICY), AfterCrash::GiveUp { attempts: 3 });
}

#[test]
fn a_lane_halves_its_batch_after_a_crash_and_grows_it_back_slowly() {
    let mut bound = BatchBound::new(512);
    bound.halve();
    assert_eq!(bound.get(), 256);
    for _ in 0..20 {
        bound.halve();
    }
    assert_eq!(bound.get(), 1);
    let mut sizes = vec![];
    for _ in 0..8 * (1 + 2 + 4) {
        bound.grew(1);
        sizes.push(bound.get());
    }
    assert_eq!((sizes[6], sizes[7], sizes[22], sizes[23], sizes[55]), (1, 2, 2, 4, 8));
    bound.halve();
    for _ in 0..10_000 {
        bound.grew(bound.get());
    }
    assert_eq!(bound.get(), 512);
    let mut bound = BatchBound::new(500);
    (0..3).for_each(|_| bound.halve());
    (0..100).for_each(|_| bound.grew(500));
    assert_eq!(bound.get(), 500);
    assert_eq!(BatchBound::new(0).get(), 1);
}

#[test]
fn classes_are_kebab_case_and_told_apart() {
    use ErrorClass::*;
    let all =
        [Rejected, RetriesExhausted, NoProgress, Trap, Deadline, Memory, Refused, OutputLimit, Protocol, Cancelled];
    let names: std::collections::BTreeSet<_> = all.iter().map(|class| class.to_string()).collect();
    assert_eq!(names.len(), all.len());
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    assert_eq!((OutputLimit.as_str(), RetriesExhausted.as_str()), ("output-limit", "retries-exhausted"));
}

/// The table read message by message: what becomes of message `m`, given that all before it are finished.
#[derive(PartialEq, Debug)]
enum Fate {
    Acknowledged,
    GivenUp(ErrorClass, u32),
    Later,
}

fn fates(handed: usize, reached: usize, failures: &[Failure], attempt: u32, policy: &RetryPolicy) -> Vec<Fate> {
    let mut fates = Vec::new();
    let mut stopped = false;
    for m in 0..handed {
        let attempt = if m == 0 { attempt } else { 1 };
        let last = attempt >= policy.attempts;
        let said = failures.iter().find(|failure| failure.message as usize == m).map(|failure| failure.kind);
        let said = said.filter(|_| m <= reached);
        fates.push(match said {
            _ if stopped => Fate::Later,
            Some(FailureKind::Reject) => Fate::GivenUp(ErrorClass::Rejected, attempt),
            Some(FailureKind::Retry) if last => Fate::GivenUp(ErrorClass::RetriesExhausted, attempt),
            Some(FailureKind::Retry) => Fate::Later,
            None if m < reached => Fate::Acknowledged,
            None if m == 0 && last => Fate::GivenUp(ErrorClass::NoProgress, attempt),
            None => Fate::Later,
        });
        stopped |= said == Some(FailureKind::Retry) || m >= reached;
    }
    fates
}

proptest! {
    #[test]
    fn every_message_has_the_fate_of_the_table(
        handed in 0_usize..8,
        reached in 0_u32..10,
        said in prop::collection::vec((0_u32..10, any::<bool>()), 0..8),
        attempt in 1_u32..5,
        attempts in 0_u32..5,
    ) {
        let policy = RetryPolicy { attempts, ..POLICY };
        let failures: Vec<_> = said.iter().map(|&(m, again)| if again { retry(m) } else { reject(m) }).collect();
        let judgement = judge(handed, reached, &failures, attempt, &policy);
        let expected = fates(handed, reached as usize, &failures, attempt, &policy);

        let fate = |m: usize| match judgement.given_up.iter().find(|given_up| given_up.message == m) {
            Some(given_up) => Fate::GivenUp(given_up.class, given_up.attempts),
            None if m < judgement.settled => Fate::Acknowledged,
            None => Fate::Later,
        };
        prop_assert_eq!((0..handed).map(fate).collect::<Vec<_>>(), expected);
        prop_assert!(judgement.given_up.windows(2).all(|pair| pair[0].message < pair[1].message));
        prop_assert!(judgement.given_up.iter().all(|given_up| given_up.message < judgement.settled));
        prop_assert_eq!(judgement.rest.is_none(), judgement.settled == handed);
        for m in 0..handed {
            prop_assert_eq!(judgement.publishes(m), fate(m) == Fate::Acknowledged);
        }
    }

    #[test]
    fn no_handler_keeps_a_batch_for_ever(
        handed in 1_usize..6,
        attempts in 0_u32..5,
        calls in prop::collection::vec((0_u32..7, prop::collection::vec((0_u32..7, any::<bool>()), 0..4)), 64),
    ) {
        let policy = RetryPolicy { attempts, ..POLICY };
        let (mut left, mut attempt, mut made) = (handed, 1, 0);
        for (reached, said) in calls {
            if left == 0 {
                break;
            }
            let failures: Vec<_> = said.iter().map(|&(m, again)| if again { retry(m) } else { reject(m) }).collect();
            let judgement = judge(left, reached, &failures, attempt, &policy);
            left -= judgement.settled;
            attempt = match judgement.rest {
                Some(Rest::Retry { next_attempt, .. }) => next_attempt,
                _ => 1,
            };
            made += 1;
        }
        prop_assert_eq!(left, 0);
        prop_assert!(made <= handed * attempts.max(1) as usize);
    }
}
