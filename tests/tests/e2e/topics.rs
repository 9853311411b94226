//! A topic is deleted and made again: under a pipeline that reads it, and between two runs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::Mill;
use wasmill_tests::shared::{Shared, shared};

const SOON: Duration = Duration::from_secs(60);

/// As many messages on each of two partitions.
fn produce(shared: &Shared, case: &Case, name: &str, each: usize) -> Result<()> {
    let on = |partition: i32| (0..each).map(move |n| (partition, n));
    let messages: Vec<_> = on(0)
        .chain(on(1))
        .map(|(partition, n)| Message::new("k", format!("{name}-{partition}-{n}")).on(partition))
        .collect();
    shared.eye.produce(&case.input, &messages).map(drop)
}

fn wait_committed(shared: &Shared, case: &Case, each: i64) -> Result<()> {
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, each), (1, each)]), SOON)
}

/// The broker tidies up for a moment before the name is free.
fn make_again(shared: &Shared, case: &Case) -> Result<()> {
    let end = Instant::now() + SOON;
    while let Err(error) = shared.eye.create_topic(&case.input, 2, &[]) {
        ensure!(Instant::now() < end, "the topic cannot be made again: {error:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Where each message of that name first came out.
fn places(shared: &Shared, case: &Case, name: &str, partition: i32, each: usize) -> Result<Vec<usize>> {
    let outputs = case.outputs(&shared.eye)?;
    let first = |n: usize| outputs.iter().position(|output| *output == format!("{name}-{partition}-{n}"));
    let places: Vec<_> = (0..each).filter_map(first).collect();
    ensure!(places.len() == each, "{name} of partition {partition}: not all of {each} are in {outputs:?}");
    Ok(places)
}

/// Every message of that name came out, those of a partition in order.
fn all_came_out(shared: &Shared, case: &Case, name: &str, each: usize) -> Result<()> {
    for partition in 0..2 {
        let places = places(shared, case, name, partition, each)?;
        ensure!(places.is_sorted(), "{name} of partition {partition} out of order: {places:?}");
    }
    Ok(())
}

/// For each `start`: none of them may jump over what came into the new topic before its partitions were assigned.
#[test]
fn a_topic_deleted_under_a_pipeline_is_told_of_and_the_new_one_is_read_from_its_first_message() -> Result<()> {
    for start in ["earliest", "latest"] {
        let shared = &shared()?;
        let case = &Case::new(&shared.eye, "deleted", 2)?;
        let lines = format!("start = \"{start}\"");
        let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", &lines)?)?;
        shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 0), (1, 0)]), SOON)?;
        produce(shared, case, "old", 10)?;
        wait_committed(shared, case, 10)?;
        shared.eye.delete_topic(&case.input)?;
        mill.wait_log("topic is gone", SOON)?;
        mill.wait_status("the topic among those that are gone", SOON, |status| {
            status["ready"] == false && status["pipelines"][0]["topics_gone"][0] == case.input
        })?;
        let (code, page) = mill.get("/readyz")?;
        ensure!(
            code == 503 && page.contains(&format!("topic {} was deleted", case.input)),
            "/readyz says {code}: {page}"
        );
        make_again(shared, case)?;
        // Fewer than the old topic had: the old offset does not exist.
        produce(shared, case, "new", 5)?;
        wait_committed(shared, case, 5)?;
        mill.wait_ready(SOON)?;
        produce(shared, case, "later", 5)?;
        wait_committed(shared, case, 10)?;
        ensure!(mill.stop()?.success());
        for (name, each) in [("old", 10), ("new", 5), ("later", 5)] {
            all_came_out(shared, case, name, each)?;
        }
    }
    Ok(())
}

/// The old offset exists in the new topic, too: to go on there would skip what is below it.
#[test]
fn of_a_topic_that_is_made_again_at_once_nothing_is_skipped() -> Result<()> {
    let shared = &shared()?;
    let case = &Case::new(&shared.eye, "made-again", 2)?;
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", "")?)?;
    produce(shared, case, "old", 10)?;
    wait_committed(shared, case, 10)?;
    shared.eye.delete_topic(&case.input)?;
    make_again(shared, case)?;
    produce(shared, case, "new", 20)?;
    mill.wait_log("was deleted and made again", SOON)?;
    // Until it is noticed, what lies behind the old offset may be handled and committed; then it comes again.
    let end = Instant::now() + SOON;
    while let Err(missing) = (0..2).try_for_each(|partition| places(shared, case, "new", partition, 20).map(drop)) {
        ensure!(Instant::now() < end, "{missing:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
    wait_committed(shared, case, 20)?;
    mill.wait_ready(SOON)?;
    produce(shared, case, "later", 5)?;
    wait_committed(shared, case, 25)?;
    ensure!(mill.stop()?.success());
    all_came_out(shared, case, "later", 5)
}

/// Kafka forgets the offsets with the topic. Here they are put back, as by a tool that restores them or a member that had
/// not noticed: only the topic's id beside them tells that they are those of another topic.
#[test]
fn offsets_of_a_topic_that_was_made_again_between_two_runs_are_not_believed() -> Result<()> {
    let shared = &shared()?;
    let case = &Case::new(&shared.eye, "between", 2)?;
    let options = case.options(&shared.broker.bootstrap(), "echo", "start = \"latest\"")?;
    let mut mill = Mill::start(&options)?;
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 0), (1, 0)]), SOON)?;
    produce(shared, case, "old", 10)?;
    wait_committed(shared, case, 10)?;
    ensure!(mill.stop()?.success());
    let old = shared.eye.committed(&case.name, &case.input)?;
    shared.eye.delete_topic(&case.input)?;
    make_again(shared, case)?;
    produce(shared, case, "new", 20)?;
    shared.eye.commit_with(&case.name, &case.input, &old)?;
    wait_committed(shared, case, 10)?;
    let mut mill = Mill::start(&options)?;
    wait_committed(shared, case, 20)?;
    ensure!(mill.log().contains("was deleted and made again"), "{}", mill.log());
    ensure!(mill.stop()?.success());
    // From now on the offsets are those of the new topic.
    produce(shared, case, "later", 5)?;
    let mut mill = Mill::start(&options)?;
    wait_committed(shared, case, 25)?;
    ensure!(!mill.log().contains("was deleted and made again"), "{}", mill.log());
    ensure!(mill.stop()?.success());
    all_came_out(shared, case, "new", 20)?;
    all_came_out(shared, case, "later", 5)?;
    ensure!(case.outputs(&shared.eye)?.len() == 2 * (10 + 20 + 5), "nothing came out twice");
    Ok(())
}
