//! From runs to ratios.

use serde::Serialize;

use super::Peer;

/// What the median of the rounds' ratios has to meet.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bars {
    /// CPU per message may be at most this much of the reference's.
    pub cpu: f64,
    /// The rate must be at least this much of the reference's.
    pub rate: f64,
}

impl Bars {
    /// Beside a native loop the sandbox may cost something; beside the tree before a change, nothing that can be measured.
    pub fn beside(reference: &Peer) -> Self {
        match reference {
            Peer::Native | Peer::Wasmill => Self { cpu: 1.4, rate: 0.75 },
            Peer::Other(_) => Self { cpu: 1.02, rate: 0.98 },
        }
    }
}

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Of every topic.
    pub partitions: u32,
    /// Rounds of each arm.
    pub rounds: usize,
    /// What wasmill is set beside.
    pub reference: &'static str,
    /// *consume* and *map*.
    pub arms: Vec<ArmReport>,
}

/// One run of one program.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// Messages read.
    pub messages: u64,
    /// From the assignment to the last commit.
    pub seconds: f64,
    /// CPU time meanwhile.
    pub cpu_seconds: f64,
    /// Highest resident set.
    pub peak_mb: f64,
}

impl Run {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// CPU time of a message in microseconds.
    pub fn cpu_micros(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.messages as f64
    }
}

/// wasmill between two runs of the reference.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    /// The reference.
    pub before: Run,
    /// wasmill.
    pub wasmill: Run,
    /// The reference again.
    pub after: Run,
}

impl Round {
    fn of_reference(&self, figure: fn(&Run) -> f64) -> f64 {
        2.0 * figure(&self.wasmill) / (figure(&self.before) + figure(&self.after))
    }

    fn control(&self, figure: fn(&Run) -> f64) -> f64 {
        figure(&self.after) / figure(&self.before)
    }
}

/// The lowest, the middle and the highest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Lowest.
    pub min: f64,
    /// Middle; of an even number the mean of the two in the middle.
    pub median: f64,
    /// Highest.
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { min: values[0], median: f64::midpoint(low, high), max: values[values.len() - 1] }
    }

    /// The same in another unit.
    #[must_use]
    pub fn map(self, unit: impl Fn(f64) -> f64) -> Self {
        Self { min: unit(self.min), median: unit(self.median), max: unit(self.max) }
    }
}

/// A program's figures over all of its runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// Messages a second.
    pub rate: Spread,
    /// CPU time of a message in microseconds.
    pub cpu_micros: Spread,
    /// Highest resident set in MB.
    pub peak_mb: Spread,
}

impl Figures {
    fn of(runs: &[Run]) -> Self {
        let spread = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
        Self { rate: spread(Run::rate), cpu_micros: spread(Run::cpu_micros), peak_mb: spread(|run| run.peak_mb) }
    }
}

/// One program beside another, round by round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ratio {
    /// Of the rates.
    pub rate: Spread,
    /// Of the CPU time of a message.
    pub cpu: Spread,
}

/// One arm.
#[derive(Clone, Debug, Serialize)]
pub struct ArmReport {
    /// Its name.
    pub arm: &'static str,
    /// Messages of a run.
    pub messages: u64,
    /// The reference, two runs a round.
    pub reference: Figures,
    /// wasmill, one run a round.
    pub wasmill: Figures,
    /// wasmill beside the reference.
    pub ratio: Ratio,
    /// The second run of the reference beside the first: what the ratio shows when nothing differs.
    pub control: Ratio,
    /// What is asked for.
    pub bars: Bars,
    /// Whether the median of CPU per message meets its bar.
    pub cpu_met: bool,
    /// Whether the median of the rate meets its bar.
    pub rate_met: bool,
    /// All runs that counted.
    pub runs: Vec<Round>,
}

/// One figure of a run.
type Figure = fn(&Run) -> f64;

impl ArmReport {
    /// Of at least one round.
    pub fn new(arm: &'static str, messages: u64, bars: Bars, runs: Vec<Round>) -> Self {
        let reference: Vec<Run> = runs.iter().flat_map(|round| [round.before, round.after]).collect();
        let wasmill: Vec<Run> = runs.iter().map(|round| round.wasmill).collect();
        let spread =
            |of: fn(&Round, Figure) -> f64, figure: Figure| Spread::of(runs.iter().map(|round| of(round, figure)));
        let ratio =
            Ratio { rate: spread(Round::of_reference, Run::rate), cpu: spread(Round::of_reference, Run::cpu_micros) };
        let control = Ratio { rate: spread(Round::control, Run::rate), cpu: spread(Round::control, Run::cpu_micros) };
        Self {
            arm,
            messages,
            reference: Figures::of(&reference),
            wasmill: Figures::of(&wasmill),
            ratio,
            control,
            bars,
            cpu_met: ratio.cpu.median <= bars.cpu,
            rate_met: ratio.rate.median >= bars.rate,
            runs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seconds: f64, cpu_seconds: f64) -> Run {
        Run { messages: 1_000_000, seconds, cpu_seconds, peak_mb: 1.0 }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0].into_iter()), Spread { min: 1.0, median: 2.5, max: 4.0 });
        assert_eq!(Spread::of([3.0, 1.0, 2.0].into_iter()).median, 2.0);
        assert_eq!(Spread::of([7.0].into_iter()), Spread { min: 7.0, median: 7.0, max: 7.0 });
    }

    #[test]
    fn wasmill_is_set_beside_the_mean_of_the_runs_of_the_reference_around_it() {
        let round = Round { before: run(1.0, 1.0), wasmill: run(2.0, 1.5), after: run(1.0, 2.0) };
        let report = ArmReport::new("map", 1_000_000, Bars::beside(&Peer::Native), vec![round]);
        assert!((report.ratio.rate.median - 0.5).abs() < 1e-9);
        assert!((report.ratio.cpu.median - 1.0).abs() < 1e-9);
        assert!((report.control.cpu.median - 2.0).abs() < 1e-9);
        assert!(
            (report.reference.rate.median - 1e6).abs() < 1e-3 && (report.wasmill.cpu_micros.max - 1.5).abs() < 1e-9
        );
        assert!(report.cpu_met && !report.rate_met);
    }
}
