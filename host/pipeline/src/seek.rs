//! `wasmill seek`: an operator moves a running partition to another message.
//!
//! The lane hands nothing more over, lets what is in flight be answered for, so that nothing comes out twice that need not,
//! and then begins a new epoch at the target. The new position is committed before anything of it is handed over, and the
//! operator hears of it only then: a crash behind the answer does not undo the seek.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use wasmill_core::NextOffset;
use wasmill_core::partition::Sought;
use wasmill_kafka::TopicPartition;

use crate::handle::Handle;

/// How long outputs in flight may take to be confirmed before they are dropped. What was dropped may have been published.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the broker may take to say where a partition begins and ends.
const ASK: Duration = Duration::from_secs(10);
/// How long the coordinator may take to confirm the new position, beside the drain.
const COMMIT: Duration = Duration::from_secs(20);

/// Where to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// To the oldest message.
    Earliest,
    /// Behind the newest message.
    Latest,
    /// To this offset.
    Offset(i64),
    /// To the first message of this time or later, in milliseconds since 1970; behind the newest one if there is none.
    Time(i64),
}

impl To {
    /// Reads what was typed; `now_ms` is what an age is counted back from.
    ///
    /// # Errors
    /// What to write instead.
    pub fn read(text: &str, now_ms: i64) -> Result<Self, String> {
        let age = || {
            let age = wasmill_config::parse_duration(text.strip_suffix("ago")?.trim())?;
            Some(now_ms.saturating_sub(i64::try_from(age.as_millis()).ok()?).max(0))
        };
        match text.trim() {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            number if number.parse().is_ok_and(|offset: i64| offset >= 0) => {
                Ok(Self::Offset(number.parse().unwrap_or_default()))
            }
            time => time
                .strip_prefix("time:")
                .and_then(|ms| ms.parse().ok().filter(|ms| *ms >= 0))
                .or_else(|| wasmill_config::time_ms(time))
                .or_else(age)
                .map(Self::Time)
                .ok_or_else(|| {
                    "write earliest, latest, an offset, a time such as 2026-01-31T00:00:00Z, or an age such as `2h ago`"
                        .to_owned()
                }),
        }
    }

    /// As the admin port takes it.
    pub fn text(self) -> String {
        match self {
            Self::Earliest => "earliest".to_owned(),
            Self::Latest => "latest".to_owned(),
            Self::Offset(offset) => offset.to_string(),
            Self::Time(ms) => format!("time:{ms}"),
        }
    }
}

impl Handle {
    /// The offset that is meant, asked of the broker; it may wait.
    ///
    /// # Errors
    /// The partition is not here, the broker does not answer, or it does not hold that offset.
    pub fn find_offset(&self, id: &TopicPartition, to: To) -> Result<NextOffset, String> {
        let member = self.members.iter().find(|member| member.delivery.holdings.live().contains_key(id));
        let Some(client) = member.and_then(|member| member.handle()) else {
            return Err(format!("partition {id} is not assigned to this process"));
        };
        let (low, high) = client.fetch_watermarks(id, ASK).map_err(|error| error.to_string())?;
        let offset = match to {
            To::Earliest => low,
            To::Latest => high,
            To::Offset(offset) => offset,
            To::Time(ms) => client.offset_at(id, ms, ASK).map_err(|error| error.to_string())?.unwrap_or(high),
        };
        if !(low..=high).contains(&offset) {
            return Err(format!(
                "offset {offset} of {id} is out of range: the partition holds {low} to {high}; hint: --to earliest is \
                 {low}, --to latest is {high}"
            ));
        }
        Ok(NextOffset::at(offset))
    }

    /// Moves partitions, and waits until their new positions are committed.
    pub async fn seek(
        &self,
        targets: Vec<(TopicPartition, NextOffset)>,
    ) -> Vec<(TopicPartition, Result<Sought, String>)> {
        let mut asked = Vec::new();
        for (id, to) in targets {
            let (done, answer) = oneshot::channel();
            if let Some(partition) = self.partition(&id) {
                partition.seek(to, Instant::now() + DRAIN, done);
                partition.wake();
            }
            asked.push((id, answer));
        }
        let until = tokio::time::Instant::now() + DRAIN + COMMIT;
        let mut sought = Vec::new();
        for (id, answer) in asked {
            let answer = match tokio::time::timeout_at(until, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(format!("partition {id} was taken away before its new position was committed")),
                Err(_) => Err(format!(
                    "the new position of partition {id} is not committed yet: its handler is busy, or the coordinator does \
                     not answer; hint: `wasmill status` shows what is committed"
                )),
            };
            sought.push((id, answer));
        }
        sought
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_word_an_offset_a_time_or_an_age() {
        let now = 1_772_323_200_000;
        for (text, to) in [
            ("earliest", To::Earliest),
            ("latest", To::Latest),
            ("0", To::Offset(0)),
            ("1812", To::Offset(1812)),
            ("2026-03-01T00:00:00Z", To::Time(1_772_323_200_000)),
            ("2026-03-01T01:00:00+01:00", To::Time(1_772_323_200_000)),
            ("2h ago", To::Time(now - 7_200_000)),
            ("1h30m ago", To::Time(now - 5_400_000)),
            ("time:12", To::Time(12)),
        ] {
            assert_eq!(To::read(text, now), Ok(to), "{text}");
            assert_eq!(To::read(&to.text(), 0), Ok(to), "{text}");
        }
        for text in ["", "-1", "2h", "yesterday", "2026-03-01", "time:-1", "two hours ago", "99999999999999999999"] {
            assert!(To::read(text, now).is_err_and(|hint| hint.contains("2h ago")), "{text}");
        }
    }
}
