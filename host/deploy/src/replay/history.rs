//! Messages of the past: which of them are read, and in which stretches.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use wasmill_config as config;
use wasmill_core::{Form, Position};
use wasmill_kafka::admin::{Admin, PartitionDescription};
use wasmill_kafka::stretches::Stretch;
use wasmill_kafka::{ClientError, TopicPartition, now_ms};

/// A sample of a partition is taken at so many places at most, from its oldest messages to its newest.
const MAX_PLACES: u64 = 20;
/// Fewer messages of a sample are not divided: each place costs a fetch.
const MESSAGES_AT_A_PLACE: u64 = 25;

/// Which messages.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of these topics, all of which are there.
    pub topics: Vec<String>,
    /// Of these partitions alone; all if empty.
    pub partitions: Vec<i32>,
    /// Which of them.
    pub which: Which,
}

/// Which of the messages that are there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// So many, at even distances over everything.
    Sample(u64),
    /// Those of this time (milliseconds since 1970) or later.
    Since {
        /// Absent: from the oldest on.
        time: Option<i64>,
        /// So many at most, of each partition its share.
        limit: Option<u64>,
    },
}

impl From<config::History> for Which {
    fn from(history: config::History) -> Self {
        match history {
            config::History::Sample(count) => Self::Sample(count),
            config::History::Since(age) => Self::Since { time: Some(ago(age)), limit: None },
        }
    }
}

/// The time that is so long ago, in milliseconds since 1970, which is the oldest.
fn ago(age: Duration) -> i64 {
    now_ms().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)).max(0)
}

/// What is to be read.
#[derive(Debug)]
pub struct Plan {
    /// By topic and partition.
    pub topics: Vec<(String, BTreeMap<i32, Vec<Stretch>>)>,
}

impl Plan {
    /// Asks the cluster what there is, and divides.
    pub fn make(admin: &Admin, wanted: &Wanted, answer: Duration) -> Result<Self, Missing> {
        let mut places = Vec::new();
        for topic in &wanted.topics {
            let described = admin.describe_topic(topic, answer)?;
            if let Some(missing) =
                wanted.partitions.iter().find(|id| !described.partitions.iter().any(|it| it.id == **id))
            {
                return Err(Missing::Partition(topic.clone(), *missing, described.partitions.len()));
            }
            let is_wanted =
                |it: &&PartitionDescription| wanted.partitions.is_empty() || wanted.partitions.contains(&it.id);
            let of_topic: Vec<_> = described.partitions.iter().filter(is_wanted).collect();
            let mut from: Vec<i64> = of_topic.iter().map(|it| it.low.unwrap_or(0)).collect();
            if let Which::Since { time: Some(time), .. } = wanted.which {
                let ids: Vec<_> = of_topic.iter().map(|it| TopicPartition::new(topic.as_str(), it.id)).collect();
                for (from, found) in from.iter_mut().zip(admin.offsets_at(&ids, time, answer)?) {
                    *from = found.unwrap_or(i64::MAX);
                }
            }
            for (partition, from) in of_topic.iter().zip(from) {
                places.push((topic.clone(), partition.id, from, partition.high.unwrap_or(0)));
            }
        }
        let available: Vec<u64> =
            places.iter().map(|(.., from, end)| u64::try_from(end.saturating_sub(*from)).unwrap_or(0)).collect();
        let counts = match wanted.which {
            Which::Sample(count) | Which::Since { limit: Some(count), .. } => shares(&available, count),
            Which::Since { limit: None, .. } => available.clone(),
        };
        let mut topics: Vec<_> = wanted.topics.iter().map(|topic| (topic.clone(), BTreeMap::new())).collect();
        for ((topic, partition, from, end), count) in places.into_iter().zip(counts) {
            let stretches = match wanted.which {
                Which::Sample(_) => spread(from, end, count),
                Which::Since { .. } => vec![Stretch { from, end, count }],
            };
            if let Some((_, of_topic)) = topics.iter_mut().find(|(name, _)| *name == topic) {
                of_topic.insert(partition, stretches);
            }
        }
        Ok(Self { topics })
    }

    /// So many messages there are at most.
    pub fn most(&self) -> u64 {
        let stretches = self.topics.iter().flat_map(|(_, partitions)| partitions.values().flatten());
        stretches.filter(|stretch| stretch.from < stretch.end).map(|stretch| stretch.count).sum()
    }
}

/// Why there is no plan.
#[derive(Debug)]
pub enum Missing {
    /// The topic has no such partition, but so many.
    Partition(String, i32, usize),
    /// The cluster said so.
    Cluster(ClientError),
}

impl From<ClientError> for Missing {
    fn from(error: ClientError) -> Self {
        Self::Cluster(error)
    }
}

/// Divides `count` among partitions with so many offsets each: in proportion, and one at least to each that has any.
fn shares(available: &[u64], count: u64) -> Vec<u64> {
    let total: u128 = available.iter().map(|it| u128::from(*it)).sum();
    if total <= u128::from(count) {
        return available.to_vec();
    }
    let some = available.iter().filter(|it| **it > 0).count() as u64;
    let least = u64::from(count >= some);
    // What is left after each has its least is divided in proportion, so that the rounded shares add up.
    let rest = total - u128::from(least * some);
    let divided = count - least * some;
    let (mut passed, mut given) = (0u128, 0u64);
    available
        .iter()
        .map(|&it| {
            if it == 0 {
                return 0;
            }
            passed += u128::from(it - least);
            let until = u64::try_from(u128::from(divided) * passed / rest.max(1)).unwrap_or(u64::MAX);
            let share = least + until - given;
            given = until;
            share
        })
        .collect()
}

/// `count` messages of a partition, at even distances: the oldest and the newest are among them.
fn spread(from: i64, end: i64, count: u64) -> Vec<Stretch> {
    let available = u64::try_from(end.saturating_sub(from)).unwrap_or(0);
    if count >= available {
        return vec![Stretch { from, end, count: available }];
    }
    let places = (count / MESSAGES_AT_A_PLACE).clamp(1, MAX_PLACES);
    let each = |place: u64| count * (place + 1) / places - count * place / places;
    // What is not read lies between the places, in equal parts.
    let gaps = |place: u64| u128::from(available - count) * u128::from(place) / u128::from(places - 1);
    let begin = |place: u64| match places {
        1 => end - count as i64,
        _ => from + (count * place / places) as i64 + gaps(place) as i64,
    };
    let begins: Vec<i64> = (0..places).map(begin).collect();
    // A place reaches to the next one: where messages were compacted away, those behind them are as good.
    let ends = begins.iter().copied().skip(1).chain([end]);
    begins
        .iter()
        .zip(ends)
        .zip(0..)
        .map(|((from, end), place)| Stretch { from: *from, end, count: each(place) })
        .collect()
}

/// The forms in which `--since` is written: those that mean the same in every partition.
pub const SINCE: [Form; 6] = [Form::Earliest, Form::Time, Form::PlainTime, Form::Millis, Form::Age, Form::ShortAge];

/// Reads `--since`: the oldest message, or a time that has been.
pub fn since(text: &str) -> anyhow::Result<Position> {
    let now = now_ms();
    let since = Position::parse_as(text, now, &SINCE).map_err(|error| {
        let problem = error.problem().unwrap_or_else(|| "no time".to_owned());
        anyhow!("{problem}; hint: how long ago (`24h`, `7d`) or a time (`2026-01-31T08:00:00Z`)")
    })?;
    ensure!(
        !matches!(since, Position::Time(ms) if ms > now),
        "it is in the future; hint: how long ago (`24h`, `7d`), or a time that has been"
    );
    Ok(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_leave_no_partition_out() {
        assert_eq!(shares(&[10, 20, 0], 100), [10, 20, 0]);
        assert_eq!(shares(&[1000, 1000, 0, 2000], 400), [100, 100, 0, 200]);
        let uneven = shares(&[3, 10_000_000, 5_000_000, 0, 1], 1000);
        assert_eq!((uneven.iter().sum::<u64>(), uneven[0], uneven[3], uneven[4]), (1000, 1, 0, 1));
        assert_eq!(shares(&[5, 5, 5, 5], 2).iter().sum::<u64>(), 2);
        assert_eq!(shares(&[], 10), Vec::<u64>::new());
        assert_eq!(shares(&[1, 1, 1], 0), [0, 0, 0]);
        for count in 0..50 {
            let found = shares(&[7, 1, 30, 2], count);
            assert_eq!(found.iter().sum::<u64>(), count.min(40));
            assert!(found.iter().zip([7, 1, 30, 2]).all(|(share, there)| *share <= there), "{count}: {found:?}");
        }
    }

    #[test]
    fn a_sample_is_spread_from_the_oldest_to_the_newest_and_nothing_twice() {
        let stretch = |from, end, count| Stretch { from, end, count };
        assert_eq!(spread(5, 105, 100), [stretch(5, 105, 100)]);
        assert_eq!(spread(5, 105, 1000), [stretch(5, 105, 100)]);
        assert_eq!(spread(0, 1000, 10), [stretch(990, 1000, 10)]);
        assert_eq!(spread(100, 1100, 50), [stretch(100, 1075, 25), stretch(1075, 1100, 25)]);
        assert_eq!(spread(7, 7, 50), [stretch(7, 7, 0)]);
        assert_eq!(spread(i64::MAX, 7, 50), [stretch(i64::MAX, 7, 0)]);
        for (available, count) in [(1_000_001, 999), (501, 500), (10_000, 26), (777, 776), (1 << 40, 100_000)] {
            let stretches = spread(3, 3 + available, count);
            assert_eq!(stretches.iter().map(|it| it.count).sum::<u64>(), count);
            assert_eq!(
                stretches.last().map(|it| (it.end, it.end - it.from)),
                Some((3 + available, stretches.last().unwrap().count as i64))
            );
            assert!(stretches.len() == 1 || stretches[0].from == 3, "{available} {count}: {stretches:?}");
            let fits = |it: &Stretch| it.count as i64 <= it.end - it.from;
            assert!(stretches.iter().all(fits), "{available} {count}: {stretches:?}");
            assert!(stretches.windows(2).all(|two| two[0].end <= two[1].from), "{available} {count}: {stretches:?}");
        }
    }

    #[test]
    fn a_time_is_so_long_ago_or_written_out() {
        assert_eq!(since("1970-01-01T00:00:01Z").unwrap(), Position::Time(1000));
        assert_eq!(since("1970-01-01 00:00:01").unwrap(), Position::Time(1000));
        assert_eq!(since("earliest").unwrap(), Position::Earliest);
        for text in ["24h", "24h ago"] {
            let Position::Time(then) = since(text).unwrap() else { panic!("{text}") };
            let day = now_ms() - then;
            assert!((86_400_000..86_400_000 + 1000).contains(&day), "{day}");
        }
        assert_eq!(since("9000years").unwrap(), Position::Time(0));
        for (text, said) in [
            ("5", "hint: how long ago"),
            ("5", "`5` is an offset"),
            ("latest", "`latest` is an end of a partition"),
            ("last:5", "`last:5` counts from the end"),
            ("yesterday", "no time"),
            ("", "no time"),
            ("9999-01-01T00:00:00Z", "in the future"),
        ] {
            let error = since(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
