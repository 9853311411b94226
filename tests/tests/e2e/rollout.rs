//! A new version that does not take over for all messages at once: a share of them that grows, or none.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::{Mill, guest};
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::shared;
use wasmill_tests::versions::Version;

use crate::hot_swap::{PARTITIONS, SOON, events, finish, history, options, serves, swap, wait_event, wait_stamped};

#[test]
fn a_canary_that_rejects_a_fifth_is_taken_back_by_itself_within_its_window() -> Result<()> {
    const WINDOW: usize = 100;
    const BATCH: usize = 20;
    let (shared, folder) = (shared()?, Scratch::new("canary-bad")?);
    let case = Case::new(&shared.eye, "canary-bad", PARTITIONS)?;
    let (old, new) = (Version::write(folder.path(), "stamp", 0)?, Version::write(folder.path(), "stamp_rejects", 0)?);
    let lines = format!(
        "batch.messages = {BATCH}\nswap.rollout = \"canary\"\nswap.canary.steps = [\"25%\"]\nswap.budget.window = {WINDOW}\n"
    );
    let mut mill = Mill::start(&options(&shared.broker.bootstrap(), &case, &old.path, &lines)?)?;
    shared.eye.start_stream(&case.input, PARTITIONS, 200, 4000)?;
    wait_stamped(&shared.eye, &case, old.stamp(), 500)?;
    // The command waits for the end, and fails with it.
    let error = mill.command(&["swap", &case.name, &new.name()]);
    ensure!(error.is_err(), "it says that the version was taken back");
    let back = wait_event(&mill, &case, "rollback")?;
    ensure!(back["reason"].as_str().is_some_and(|text| text.contains("messages were given up")), "{back}");
    ensure!(events(&mill, &case)? == ["start", "canary", "rollback"]);
    ensure!(serves(&mill)? == old.digest);
    let (seen, _) = finish(&shared.eye, &case)?;
    let dead = case.dead_letters(&shared.eye)?;
    ensure!(!dead.is_empty() && dead.iter().all(|one| one.header_text("wasmill.plugin").as_ref() == Some(&new.digest)));
    let stamped = seen.values().filter(|stamps| stamps[0] == new.stamp()).count();
    let bound = WINDOW + PARTITIONS as usize * BATCH;
    ensure!(stamped + dead.len() <= bound, "it saw {stamped} and {} messages, and {bound} are the bound", dead.len());
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_canary_that_is_good_gets_more_and_more_keys_and_gives_none_of_them_back() -> Result<()> {
    let (shared, folder) = (shared()?, Scratch::new("canary-good")?);
    let case = Case::new(&shared.eye, "canary-good", PARTITIONS)?;
    let (old, new) = (Version::write(folder.path(), "stamp", 0)?, Version::write(folder.path(), "stamp", 1)?);
    let lines = "swap.canary = { steps = [\"10%\", \"50%\"], messages = 300, time = \"0s\" }\n";
    let mut mill = Mill::start(&options(&shared.broker.bootstrap(), &case, &old.path, lines)?)?;
    shared.eye.start_stream(&case.input, PARTITIONS, 200, 4000)?;
    wait_stamped(&shared.eye, &case, old.stamp(), 500)?;
    mill.command(&["swap", &case.name, &new.name(), "--rollout", "canary"])?;
    ensure!(events(&mill, &case)? == ["start", "canary", "canary", "swap"]);
    ensure!(serves(&mill)? == new.digest);
    wait_stamped(&shared.eye, &case, new.stamp(), 2000)?;
    let (_, given) = finish(&shared.eye, &case)?;
    // By key, in the order in which its messages came out.
    let mut stamps: BTreeMap<Vec<u8>, Vec<bool>> = BTreeMap::new();
    for message in shared.eye.read(&case.output, &Offsets::new())? {
        let key = message.key.clone().context("a key")?;
        stamps.entry(key).or_default().push(message.text().ends_with(new.stamp()));
    }
    ensure!(stamps.values().map(Vec::len).sum::<usize>() as i64 == given.iter().sum::<i64>());
    let mut firsts = BTreeSet::new();
    for (key, taken) in &stamps {
        let first = taken.iter().position(|new| *new).unwrap_or(taken.len());
        ensure!(taken[first..].iter().all(|new| *new), "key {key:?} went back: {taken:?}");
        firsts.insert(first);
    }
    // Some keys came with the first step, some with the second, and the others at the end.
    ensure!(firsts.len() >= 3, "{firsts:?}");
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_shadow_reports_what_it_would_have_done_otherwise_and_nothing_of_it_comes_out() -> Result<()> {
    let shared = shared()?;
    let case = Case::new(&shared.eye, "shadow", 2)?;
    let old = guest("price")?;
    let lines = "swap.rollout = \"shadow\"\nswap.shadow = { messages = 1000, differences = 3 }\n";
    let mut mill = Mill::start(&options(&shared.broker.bootstrap(), &case, old.as_ref(), lines)?)?;
    let served = serves(&mill)?;
    let answer = swap(&mill, &case, guest("price_raised")?.as_ref(), &["--no-wait"])?;
    ensure!(answer["outcome"] == "shadow", "{answer}");
    let busy = mill.command(&["swap", &case.name, &guest("echo")?]).err().context("one at a time")?.to_string();
    ensure!(busy.contains("is on trial; hint: wait until that is over, or end it with `wasmill rollback"), "{busy}");
    let messages: Vec<_> =
        (0..1200).map(|number| Message::new(format!("order-{number}"), "{}").on(number % 2)).collect();
    shared.eye.produce(&case.input, &messages)?;
    let report = wait_event(&mill, &case, "report")?;
    let summary = &report["report"]["summary"];
    let (seen, differing) = (summary["messages"].as_u64(), summary["differing"].as_u64());
    // Ten of a thousand; which thousand of the twelve hundred it was depends on how they were divided into batches.
    ensure!(
        seen.is_some_and(|seen| seen >= 1000) && differing.is_some_and(|some| (8..=12).contains(&some)),
        "{report}"
    );
    let first = report["report"]["first"].as_array().context("no first")?;
    ensure!(first.len() == 3, "{report}");
    for one in first {
        let fields = one["fields"].as_array().context("no fields")?;
        ensure!(fields.len() == 1 && fields[0]["field"] == "output 0 value.items[1].price", "{one}");
    }
    ensure!(serves(&mill)? == served, "the old one serves");
    shared.eye.wait_committed(&case.name, &case.input, &Offsets::from([(0, 600), (1, 600)]), SOON)?;
    let outputs = case.outputs(&shared.eye)?;
    ensure!(outputs.len() == 1200 && case.dead_letters(&shared.eye)?.is_empty(), "{}", outputs.len());
    let prices = outputs.iter().map(|value| serde_json::from_str::<serde_json::Value>(value));
    let prices = prices.collect::<Result<Vec<_>, _>>()?;
    // The raised ones are those that end with 1 where the old version says 0.
    let raised = prices.iter().filter(|one| one["items"][1]["price"].as_u64() == Some(101)).count();
    ensure!(raised == 120, "{raised} of the old version cost 101, and more if some came from the new one");
    ensure!(history(&mill, &case)?.iter().all(|one| one["what"] != "swap"));
    ensure!(mill.stop()?.success());
    Ok(())
}
