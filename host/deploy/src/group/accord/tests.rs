//! Everybody comes to the same, from all records or from what compaction left of them.

use proptest::prelude::*;

use super::*;
use crate::group::record::Answer;

/// A record as the log has it.
#[derive(Clone, Debug)]
enum Record {
    Asked(Asked),
    Decided(Decided),
    Deleted,
    Said(Said),
}

type Log = Vec<(Key, Record)>;

fn apply(accord: &mut Accord, offset: usize, key: &Key, record: &Record) {
    match (key, record.clone()) {
        (Key::Ask(process, number), Record::Asked(asked)) => accord.asked(offset as u64, (process, *number), asked),
        (Key::Decision(_, process), Record::Decided(decided)) => accord.decided(process, decided),
        (Key::Said(process), Record::Said(said)) => accord.said(process, said),
        (key, _) => accord.deleted(key),
    }
    accord.read(offset as u64);
}

/// Reads the records of a log that are left.
fn read(log: &Log, left: impl Fn(usize) -> bool) -> Accord {
    let mut accord = Accord::default();
    for (offset, (key, record)) in log.iter().enumerate().filter(|(offset, _)| left(*offset)) {
        apply(&mut accord, offset, key, record);
    }
    accord
}

fn named(epoch: u64) -> Named {
    Named { epoch, digest: format!("digest-{epoch}"), source: "file".to_owned() }
}

fn standing_of(accord: &Accord) -> Standing {
    accord.standing().cloned().unwrap_or(Standing { current: named(0), previous: None })
}

fn ask(accord: &Accord) -> Record {
    Record::Asked(Asked {
        digest: "wanted".to_owned(),
        source: "file".to_owned(),
        by: "somebody".to_owned(),
        at_ms: 0,
        after: accord.last_decided(),
        standing: standing_of(accord),
    })
}

/// As who asked decides: by what was agreed on when it asked.
fn decision(accord: &Accord, epoch: u64, switched: bool) -> Record {
    let before = accord.open().map_or_else(|| standing_of(accord), |open| open.asked.standing.clone());
    let after = Standing { current: named(epoch), previous: Some(before.current.clone()) };
    let standing = if switched { after } else { before };
    Record::Decided(Decided { epoch, switched, standing, reason: None, at_ms: 0 })
}

/// A process that asks and decides by what it has read, which may be long ago.
#[derive(Clone, Default)]
struct Process {
    read: usize,
    asked: Option<u64>,
    asks: u64,
    decisions: u64,
}

/// One step of one process: how far it reads, and what it does then.
type Step = (usize, prop::sample::Index, u8);

/// A log that three processes write, each by the rules, none knowing how far the others are.
fn written(steps: &[Step]) -> Log {
    // Offset 0 is never an ask: a process says something of itself first.
    let mut log: Log = vec![(Key::Said("p0".to_owned()), Record::Said(Said::default()))];
    let mut processes = vec![Process::default(); 3];
    for (who, how_far, what) in steps {
        let (name, process) = (format!("p{}", who % 3), &mut processes[who % 3]);
        process.read = process.read.max(how_far.index(log.len() + 1));
        let seen = process.read;
        let accord = read(&log, |offset| offset < seen);
        match what % 4 {
            // It waits until its last ask is settled.
            0 | 1 => {
                let settled =
                    process.asked.is_none_or(|asked| !matches!(accord.fate(asked), Fate::Unread | Fate::Open));
                if settled {
                    process.asked = Some(log.len() as u64);
                    process.asks += 1;
                    log.push((Key::Ask(name, process.asks), ask(&accord)));
                }
            }
            2 => {
                let Some(epoch) = accord.open().map(|open| open.epoch) else { continue };
                // The initiator swaps, unless it gives up; others give up. Also again: whether a decision was written is
                // not always known.
                let switched = process.asked == Some(epoch) && what % 8 == 2;
                process.decisions += 1;
                log.push((
                    Key::Decision(epoch, format!("{name}-{}", process.decisions)),
                    decision(&accord, epoch, switched),
                ));
            }
            _ => log.extend(accord.outlived().into_iter().map(|key| (key, Record::Deleted))),
        }
    }
    log
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0_usize..3, any::<prop::sample::Index>(), any::<u8>()), 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn who_reads_what_compaction_left_comes_to_the_same(
        steps in steps(),
        kept in prop::collection::vec(any::<bool>(), 64),
        gone in any::<bool>(),
    ) {
        let log = written(&steps);
        let last = |offset: usize| !log[offset + 1..].iter().any(|(key, _)| *key == log[offset].0);
        // Any record that another one with its key follows may be gone, and in the end the deletion itself.
        let left = |offset: usize| {
            kept[offset % 64] || (last(offset) && !(gone && matches!(log[offset].1, Record::Deleted)))
        };
        // A deletion that is gone has taken all earlier records of its key along.
        let dead = |offset: usize| {
            (offset..log.len()).any(|at| log[at].0 == log[offset].0 && matches!(log[at].1, Record::Deleted) && !left(at))
        };
        let (all, some) = (read(&log, |_| true), read(&log, |offset| left(offset) && !dead(offset)));
        prop_assert_eq!(all.open(), some.open());
        prop_assert_eq!(all.last_decided(), some.last_decided());
        prop_assert_eq!(standing_of(&all), standing_of(&some));
    }

    #[test]
    fn versions_only_go_forward_and_each_is_the_one_that_was_open(steps in steps()) {
        let log = written(&steps);
        let mut accord = Accord::default();
        let mut current = 0;
        for (offset, (key, record)) in log.iter().enumerate() {
            let open = accord.open().map(|open| open.epoch);
            let (before, asked) = (accord.last_decided(), matches!(record, Record::Asked(_)));
            apply(&mut accord, offset, key, record);
            let now = accord.current().map_or(0, |current| current.epoch);
            prop_assert!(now >= current);
            if accord.last_decided() != before {
                prop_assert_eq!(Some(accord.last_decided()), open, "what was not open is not decided");
                prop_assert!(accord.open().is_none());
            } else if let Some(open) = open {
                prop_assert_eq!(accord.open().map(|open| open.epoch), Some(open), "an ask gives way to none");
            } else {
                prop_assert!(accord.open().is_none() || asked);
            }
            current = now;
        }
    }

    #[test]
    fn what_processes_say_counts_in_whatever_order_it_is_read(
        said in prop::collection::vec((0_usize..3, 0_u64..3, 0_i32..3, 0_i64..50), 0..30),
        order in prop::collection::vec(any::<u16>(), 60),
    ) {
        let mut all: Vec<(String, Said)> = Vec::new();
        for (seq, (who, epoch, partition, offset)) in said.into_iter().enumerate() {
            let answer = Some(Answer { epoch, refused: None });
            let firsts = vec![("t".to_owned(), partition, offset)];
            let said = Said { seq: seq as u64 + 1, runs: epoch, answer, firsts, ..Said::default() };
            all.push((format!("p{who}"), said));
        }
        let mut shuffled: Vec<_> = all.iter().chain(&all).cloned().zip(order.iter().cycle()).collect();
        shuffled.sort_by_key(|(_, place)| **place);
        let (mut one, mut other) = (Accord::default(), Accord::default());
        all.iter().for_each(|(process, said)| one.said(process, said.clone()));
        shuffled.iter().for_each(|((process, said), _)| other.said(process, said.clone()));
        prop_assert_eq!(one.all_said(), other.all_said());
        // Of a process's older words the newest may be all that is left; the first offsets of a version are in all of them.
        for epoch in 0..3 {
            for (partition, offset) in other.firsts(epoch).into_iter().flatten() {
                prop_assert!(all.iter().any(|(_, said)| said.runs == epoch && said.firsts[0].1 == partition.1 && said.firsts[0].2 == *offset));
            }
        }
    }
}

fn opened() -> (Accord, u64) {
    let mut accord = Accord::default();
    accord.read(0);
    let Record::Asked(asked) = ask(&accord) else { unreachable!("an ask") };
    accord.asked(1, ("p0", 1), asked);
    accord.read(1);
    (accord, 1)
}

fn says(accord: &mut Accord, process: &str, seq: u64, members: &[&str], answer: Option<Answer>) {
    let members = members.iter().map(|member| (*member).to_owned()).collect();
    accord.said(process, Said { seq, members, answer, ..Said::default() });
}

#[test]
fn a_swap_waits_for_every_member_that_is_there_and_for_none_that_has_gone() {
    let (mut accord, epoch) = opened();
    let ready = Some(Answer { epoch, refused: None });
    says(&mut accord, "p0", 1, &["a", "b"], ready.clone());
    says(&mut accord, "p1", 1, &["c"], None);
    let of = |accord: &Accord, members: &[&str]| accord.readiness(epoch, members.iter().copied());
    let waits = |processes: &[&str], strangers: &[&str]| Readiness::Waits {
        processes: processes.iter().map(|name| (*name).to_owned()).collect(),
        strangers: strangers.iter().map(|name| (*name).to_owned()).collect(),
    };
    assert_eq!(of(&accord, &["a", "b"]), Readiness::Ready);
    assert_eq!(of(&accord, &["a", "b", "c", "d"]), waits(&["p1"], &["d"]));
    says(&mut accord, "p1", 2, &["c"], Some(Answer { epoch: 77, refused: None }));
    assert_eq!(of(&accord, &["c"]), waits(&["p1"], &[]), "an answer to something else");
    says(&mut accord, "p1", 3, &["c", "d"], ready);
    assert_eq!(of(&accord, &["a", "b", "c", "d"]), Readiness::Ready);
    let refused = Refused { gate: "init".to_owned(), reason: "too little memory".to_owned() };
    says(&mut accord, "p2", 1, &[], Some(Answer { epoch, refused: Some(refused.clone()) }));
    assert_eq!(of(&accord, &["a"]), Readiness::Refused("p2".to_owned(), refused), "also of one that is about to join");
}

#[test]
fn the_first_decision_counts_and_an_ask_beside_it_is_passed_over() {
    let (mut accord, epoch) = opened();
    let Record::Asked(beside) = ask(&Accord::default()) else { unreachable!("an ask") };
    accord.asked(2, ("p1", 1), beside);
    accord.read(2);
    assert_eq!((accord.fate(epoch), accord.fate(2), accord.fate(3)), (Fate::Open, Fate::PassedOver, Fate::Unread));
    let (Record::Decided(switched), Record::Decided(refused)) =
        (decision(&accord, epoch, true), decision(&accord, epoch, false))
    else {
        unreachable!("decisions")
    };
    accord.decided("p1", Decided { reason: Some("not in time".to_owned()), ..refused });
    accord.decided("p0", switched);
    assert_eq!(accord.fate(epoch), Fate::Refused("not in time".to_owned()));
    assert_eq!(accord.current(), None);
}
