//! `swap.backtest`: before a new version takes over, it is run over messages of the past beside the old one, and judged by how
//! far it differs.

use std::time::{Duration, Instant};

use anyhow::bail;
use wasmill_config as config;
use wasmill_kafka::ClientSettings;
use wasmill_kafka::admin::Admin;
use wasmill_pipeline::version::Version;

use super::history::{Missing, Plan, Wanted};
use super::side_by_side::{Bounds, Report, replay};
use crate::explain;

/// How long the cluster may take to say what there is.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(15);
/// Differing messages that a report has field by field.
const REPORTED_DIFFERENCES: usize = 10;

/// Runs both versions over the messages that the settings name.
///
/// # Errors
/// Why the new version must not take over: it differs too far, or that could not be found out.
pub fn backtest(
    old: &Version,
    new: &Version,
    client: &ClientSettings,
    settings: &config::Backtest,
) -> Result<Report, String> {
    let report = run(old, new, client, settings).map_err(|error| format!("backtest: {}", explain(&error)))?;
    match refusal(&report, settings) {
        Some(reason) => Err(reason),
        None => Ok(report),
    }
}

/// Both versions over the messages that the settings name, without a judgement.
pub fn run(
    old: &Version,
    new: &Version,
    client: &ClientSettings,
    settings: &config::Backtest,
) -> anyhow::Result<Report> {
    let deadline = Instant::now() + settings.time;
    let topics = settings.topic.clone().map_or_else(|| new.settings.topics.clone(), |topic| vec![topic]);
    let wanted = Wanted { topics, partitions: Vec::new(), which: settings.messages.into() };
    let plan =
        Plan::make(&Admin::open(client)?, &wanted, CLUSTER_TIMEOUT.min(settings.time)).map_err(
            |missing| match missing {
                Missing::Cluster(error) => anyhow::Error::from(error),
                Missing::Partition(topic, partition, _) => anyhow::anyhow!("{topic} has no partition {partition}"),
            },
        )?;
    let there = plan.most();
    let bounds = Bounds { deadline: Some(deadline), kept: REPORTED_DIFFERENCES };
    let report = replay(client, plan, [old, new], &bounds, &mut |_| ())?;
    if !report.complete && report.summary.messages == 0 && there > 0 {
        let time = humantime::format_duration(settings.time);
        bail!("no message was compared within {time}; hint: swap.backtest.time");
    }
    Ok(report)
}

/// Why a report refuses the new version. A topic without messages refuses nothing: there is nothing to lose.
pub fn refusal(report: &Report, settings: &config::Backtest) -> Option<String> {
    let (summary, differs) = (&report.summary, report.summary.share());
    if let Some(bound) = settings.differ
        && exceeds(differs, bound.fraction())
    {
        let (differing, messages) = (summary.differing, summary.messages);
        let first = report.differences.first().map_or_else(String::new, |first| {
            let place = format!("{}/{} @{}", first.topic, first.partition, first.offset);
            let field = first.differences.fields.first().map_or("", |difference| &difference.field);
            format!(", the first of them {place} in `{field}`")
        });
        return Some(format!(
            "backtest: {differing} of {messages} messages come out otherwise ({}){first}; swap.backtest.differ is {}; hint: \
             `wasmill diff OLD NEW --gate` shows them",
            percent(differs),
            bound
        ));
    }
    let (old, new) = (report.old.given_up_share(), report.new.given_up_share());
    exceeds(new - old, settings.rejects.fraction()).then(|| {
        format!(
            "backtest: the new version gives up {} of {} messages ({}), the old one {} ({}); swap.backtest.rejects is {}; hint: \
             `wasmill diff OLD NEW --gate` shows them",
            report.new.given_up,
            report.new.messages,
            percent(new),
            report.old.given_up,
            percent(old),
            settings.rejects
        )
    })
}

/// Shares are quotients: what is equal on paper may differ in its last digit.
fn exceeds(share: f64, bound: f64) -> bool {
    share > bound + 1e-9
}

/// A share as a person writes it.
pub fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use wasmill_config::Share;

    use super::*;
    use crate::replay::numbers::Numbers;
    use crate::replay::summary::Summary;

    fn report(messages: u64, differing: u64, old: u64, new: u64) -> Report {
        let numbers = |given_up| {
            let mut numbers = Numbers::new("digest");
            (numbers.messages, numbers.given_up) = (messages, given_up);
            numbers
        };
        let summary = Summary { messages, differing, ..Summary::default() };
        Report { complete: true, summary, old: numbers(old), new: numbers(new), ..Report::default() }
    }

    fn settings(differ: Option<Share>, rejects: Share) -> config::Backtest {
        let (messages, time) = (config::History::Sample(1), Duration::from_secs(1));
        config::Backtest { topic: None, messages, differ, rejects, time }
    }

    #[test]
    fn refuses_what_is_beyond_a_bound_and_not_what_is_at_it() {
        let share = |percent: u32| Share::millionths(percent * 10_000);
        let judged = |report: &Report, differ: Option<u32>, rejects| {
            refusal(report, &settings(differ.map(share), share(rejects)))
        };
        assert_eq!(judged(&report(1000, 1000, 0, 0), None, 0), None);
        assert_eq!(judged(&report(1000, 10, 0, 0), Some(1), 0), None);
        let said = judged(&report(1000, 11, 0, 0), Some(1), 0).expect("it is beyond");
        assert!(
            said.contains("11 of 1000 messages come out otherwise (1.1%)") && said.contains("differ is 1%"),
            "{said}"
        );
        assert_eq!(judged(&report(1000, 0, 0, 0), Some(0), 0), None);
        assert!(judged(&report(1000, 1, 0, 0), Some(0), 0).is_some());
        assert_eq!(judged(&report(10, 10, 3, 3), None, 0), None);
        assert_eq!(judged(&report(10, 10, 3, 0), None, 0), None);
        assert_eq!(judged(&report(10, 10, 3, 4), None, 10), None);
        let said = judged(&report(10, 10, 3, 5), None, 10).expect("it is beyond");
        assert!(said.contains("gives up 5 of 10 messages (50%), the old one 3 (30%)"), "{said}");
        assert_eq!(judged(&report(0, 0, 0, 0), Some(0), 0), None);
    }
}
