//! What a SIGKILL costs in each commit mode: the rows of the README's table, several kills each.
//!
//! Every count is made from the topics alone (`tests/src/cost.rs`). A *storm* kills a pipeline again and again while
//! messages flow. Beside it stand cases that are arranged so that a kill must cost what its row allows: a bound that
//! nothing ever comes near would hold by itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wasmill_tests::case::Case;
use wasmill_tests::cost::{Account, BROKER_TIME, Kills};
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::Mill;
use wasmill_tests::shared::{Shared, shared};

const SOON: Duration = Duration::from_secs(60);
/// `span.messages` and `batch.messages` of every pipeline here.
const SPAN: usize = 100;
const BATCH: usize = 20;
/// A static member: its successor need not wait until the group has noticed the death.
const BOUNDS: &str = "instance_id = \"only\"\nspan.messages = 100\nbatch.messages = 20\n";
/// How many there are in each test; in a storm, until one caught something that was out and not committed.
const KILLS: i64 = 4;
const MOST_KILLS: i64 = 40;

/// Reads `value` until it is as wanted.
fn wait<T: std::fmt::Debug>(what: &str, value: impl Fn() -> Result<T>, wanted: impl Fn(&T) -> bool) -> Result<T> {
    let end = Instant::now() + SOON;
    loop {
        let seen = value()?;
        if wanted(&seen) {
            return Ok(seen);
        }
        ensure!(Instant::now() < end, "{what}: not within {SOON:?}, Kafka has {seen:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the group has committed another offset for both partitions, twice.
fn two_commits(shared: &Shared, case: &Case) -> Result<()> {
    let committed = || shared.eye.committed_offsets(&case.name, &case.input);
    let mut seen = committed()?;
    for _ in 0..2 {
        let moved = |now: &Offsets| now.len() == 2 && now.iter().all(|(one, offset)| seen.get(one) != Some(offset));
        seen = wait("another commit for each partition", committed, moved)?;
    }
    Ok(())
}

/// Kills a pipeline of two partitions again and again while messages flow, lets it catch up, and reads what it cost.
/// Each kill comes a little later behind a commit than the one before.
fn storm(name: &str, lines: &str) -> Result<Account> {
    let shared = &shared()?;
    let case = &Case::with_output(&shared.eye, name, 2, &[BROKER_TIME])?;
    // Says in each copy which process made it. Nothing begins with that prefix, so nothing is retried.
    let options = |session: i64| {
        let by = format!("config = {{ when = \"value-prefix\", prefix = \"none\", by = \"{session}\" }}\n");
        case.options(&shared.broker.bootstrap(), "retry", &format!("{BOUNDS}{by}{lines}"))
    };
    shared.eye.start_stream(&case.input, 2, 20, 4000)?;
    let mut kills = Kills::default();
    let (mut caught, mut session) = (false, 0);
    for later in 1..=MOST_KILLS {
        if later > KILLS && caught {
            break;
        }
        let mut mill = Mill::start(&options(session)?)?;
        session += 1;
        two_commits(shared, case)?;
        let out = || Ok(shared.eye.end_offsets(&case.output)?[&0]);
        let before = out()?;
        wait("more outputs", out, |now| *now >= before + 50 * later)?;
        kills.kill(&mut mill)?;
        let out: BTreeSet<_> = case.outputs(&shared.eye)?.into_iter().collect();
        let committed: i64 = shared.eye.committed_offsets(&case.name, &case.input)?.into_values().sum();
        caught |= out.len() as i64 > committed;
    }
    let mut mill = Mill::start(&options(session)?)?;
    let given = shared.eye.stop_stream(&case.input)?;
    shared.eye.wait_committed(&case.name, &case.input, &(0..).zip(given.clone()).collect(), SOON)?;
    ensure!(mill.stop()?.success(), "the last process ends in good order");
    let account = Account::read(&shared.eye, case, &given, &kills)?;
    ensure!(account.again() > 0, "no kill caught anything");
    Ok(account)
}

/// Messages of one partition, numbered as a stream numbers them.
fn numbered(count: i64) -> Vec<Message> {
    (0..count).map(|number| Message::new("k", format!("0 {number} 0")).on(0)).collect()
}

/// The row: nothing is lost; at most the span, and what completed since the last commit was answered, is handled again.
/// By the topics: of what is handled again, no more than the span had come out before the last commit but one.
#[test]
fn kills_in_manual_mode_lose_nothing_and_repeat_the_span_and_what_was_not_committed_yet() -> Result<()> {
    let account = storm("kill-manual", "commit.min_interval = \"200ms\"")?;
    account.check("manual", |cost| cost.lost == 0 && cost.long_complete <= SPAN)
}

/// The same row where nothing has come out: the producer waits for more to send, so all that is handled again is what
/// was in flight. The handler itself tells how much that was, with a line for each message.
#[test]
fn kills_repeat_no_more_than_the_span_while_nothing_of_it_is_confirmed() -> Result<()> {
    let shared = &shared()?;
    let case = &Case::with_output(&shared.eye, "kill-span", 1, &[BROKER_TIME])?;
    shared.eye.produce(&case.input, &numbered(1000))?;
    let lines = format!("{BOUNDS}config = {{ lines = 1, bytes = 1 }}\nlimits.log_lines = 100000\noutput.linger");
    let bootstrap = shared.broker.bootstrap();
    let holding_back = case.options(&bootstrap, "chatter", &format!("{lines} = \"60s\""))?;
    let mut kills = Kills::default();
    for _ in 0..KILLS {
        let mut mill = Mill::start(&holding_back)?;
        let handled = |mill: &Mill| mill.log().lines().filter(|line| line.contains("\\u{1b}[31mred")).count();
        wait("a full span", || Ok(handled(&mill)), |now| *now > SPAN - BATCH)?;
        kills.kill(&mut mill)?;
        ensure!(handled(&mill) <= SPAN, "{} messages were handled and not committed", handled(&mill));
        let committed = shared.eye.committed_offsets(&case.name, &case.input)?;
        ensure!(committed == Offsets::from([(0, 0)]), "nothing was complete: {committed:?}");
    }
    let mut mill = Mill::start(&case.options(&bootstrap, "chatter", &format!("{lines} = \"0s\""))?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1000)]), SOON)?;
    ensure!(mill.stop()?.success(), "the last process ends in good order");
    let account = Account::read(&shared.eye, case, &[1000], &kills)?;
    account.check("manual", |cost| cost.lost == 0 && cost.again == 0)
}

/// The row: nothing is lost, at most one batch is handled again.
#[test]
fn kills_in_sync_mode_lose_nothing_and_repeat_at_most_one_batch() -> Result<()> {
    let account = storm("kill-sync", "commit.sync = true\noutput.linger = \"0s\"")?;
    account.check("manual, sync", |cost| cost.lost == 0 && cost.again <= BATCH)
}

/// The row: nothing is lost; at most the span and an interval's worth is handled again. By the topics: as in manual mode.
#[test]
fn kills_in_interval_mode_lose_nothing_and_repeat_the_span_and_an_interval_s_worth() -> Result<()> {
    let account = storm("kill-interval", "commit.interval = \"300ms\"")?;
    account.check("manual, interval", |cost| cost.lost == 0 && cost.long_complete <= SPAN)
}

/// The row: at most the span is lost, at most an interval's worth is handled again. By the topics: nothing that had come
/// out before the last commit but one, since a commit has everything that was handed over.
#[test]
fn kills_in_auto_mode_lose_at_most_the_span_and_repeat_an_interval_s_worth() -> Result<()> {
    let account = storm("kill-auto", "commit.mode = \"auto\"\ncommit.interval = \"300ms\"")?;
    account.check("auto", |cost| cost.lost <= SPAN && cost.long_complete == 0)
}

/// The same row where nothing of a span has come out when its end is committed: the producer waits for more to send. A
/// kill then loses all of it, and an orderly end nothing.
#[test]
fn in_auto_mode_a_kill_loses_what_is_in_flight_and_an_orderly_end_does_not() -> Result<()> {
    let shared = &shared()?;
    let case = &Case::with_output(&shared.eye, "kill-loses", 1, &[BROKER_TIME])?;
    shared.eye.produce(&case.input, &numbered(1000))?;
    let lines = format!("{BOUNDS}commit.mode = \"auto\"\ncommit.interval = \"50ms\"\noutput.linger");
    let bootstrap = shared.broker.bootstrap();
    let holding_back = case.options(&bootstrap, "echo", &format!("{lines} = \"60s\""))?;
    let committed = || Ok(shared.eye.committed_offsets(&case.name, &case.input)?.get(&0).copied().unwrap_or(0));
    let mut kills = Kills::default();
    let mut lost = 0;
    for _ in 0..KILLS {
        let mut mill = Mill::start(&holding_back)?;
        wait("a span that is committed", committed, |now| *now > lost + (SPAN - BATCH) as i64)?;
        kills.kill(&mut mill)?;
        lost = committed()?;
    }
    let mut mill = Mill::start(&holding_back)?;
    wait("a span that is committed", committed, |now| *now > lost + (SPAN - BATCH) as i64)?;
    ensure!(mill.stop()?.success(), "it ends in good order");
    let mut mill = Mill::start(&case.options(&bootstrap, "echo", &format!("{lines} = \"0s\""))?)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 1000)]), SOON)?;
    ensure!(mill.stop()?.success(), "it ends in good order");
    let account = Account::read(&shared.eye, case, &[1000], &kills)?;
    account.check("auto", |cost| (SPAN - BATCH + 1..=SPAN).contains(&cost.lost) && cost.again == 0)
}
