//! From what was measured to multiples of the unit, and bars.

use serde::{Deserialize, Serialize};

use crate::bench::summary::Spread;

/// The bars of `plugins/languages.toml` are for values of this size.
const BAR_BYTES: usize = 100;

/// What the program says.
#[derive(Clone, Debug, Deserialize)]
pub struct Measured {
    batch: usize,
    rounds: usize,
    native: Native,
    handlers: Vec<Handler>,
}

#[derive(Clone, Debug, Deserialize)]
struct Native {
    figures: Vec<Figure>,
}

#[derive(Clone, Debug, Deserialize)]
struct Handler {
    name: String,
    component_bytes: u64,
    compile_ms: f64,
    cached_ms: f64,
    start_ms: Vec<f64>,
    memory_bytes: u64,
    replaced: usize,
    figures: Vec<Figure>,
}

/// A task's nanoseconds for a message, and the unit's at the same time, by round.
#[derive(Clone, Debug, Deserialize)]
struct Figure {
    command: String,
    value_bytes: usize,
    nanos: Vec<f64>,
    unit_nanos: Vec<f64>,
}

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Messages of a call.
    pub batch: usize,
    /// Rounds that count.
    pub rounds: usize,
    /// Nanoseconds of the unit, over everything.
    pub unit_nanos: Spread,
    /// The same without a sandbox.
    pub native: Vec<Cost>,
    /// The languages.
    pub languages: Vec<Language>,
    /// Languages whose toolchain is missing.
    pub left_out: Vec<String>,
    /// Whether every bar is met.
    pub met: bool,
}

/// A language's reference handler.
#[derive(Clone, Debug, Serialize)]
pub struct Language {
    /// Its folder below `plugins`.
    pub name: String,
    /// Of its component.
    pub component_bytes: u64,
    /// Wall time, on all cores, with nothing in the cache.
    pub compile_ms: f64,
    /// The same with everything in the cache.
    pub cached_ms: f64,
    /// Of an instance, `init` included.
    pub start_ms: Spread,
    /// Linear memory at the end, of the instance that has most.
    pub memory_bytes: u64,
    /// Instances that were replaced because their memory had grown.
    pub replaced: usize,
    /// A task after the other.
    pub costs: Vec<Cost>,
}

/// What a task costs.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// What is done with a message.
    pub command: String,
    /// Bytes of its value.
    pub value_bytes: usize,
    /// Nanoseconds of a message.
    pub nanos: Spread,
    /// The same in units, round by round.
    pub units: Spread,
    /// What `units.median` may be at most, if there is a bar.
    pub bar: Option<f64>,
    /// Whether it is met.
    pub met: Option<bool>,
}

impl Report {
    /// Of at least one round.
    pub fn new(measured: &Measured, left_out: Vec<String>) -> Self {
        let Measured { batch, rounds, native, handlers } = measured;
        let figures = native.figures.iter().chain(handlers.iter().flat_map(|handler| &handler.figures));
        let unit_nanos = Spread::of(figures.flat_map(|figure| figure.unit_nanos.iter().copied()));
        let native = native.figures.iter().map(|figure| Cost::new(figure, None)).collect();
        let languages: Vec<_> = handlers.iter().map(Language::new).collect();
        let met = languages.iter().flat_map(|language| &language.costs).all(|cost| cost.met != Some(false));
        Self { batch: *batch, rounds: *rounds, unit_nanos, native, languages, left_out, met }
    }
}

impl Language {
    fn new(handler: &Handler) -> Self {
        let cost = |figure| Cost::new(figure, bar(&handler.name, figure));
        Self {
            name: handler.name.clone(),
            component_bytes: handler.component_bytes,
            compile_ms: handler.compile_ms,
            cached_ms: handler.cached_ms,
            start_ms: Spread::of(handler.start_ms.iter().copied()),
            memory_bytes: handler.memory_bytes,
            replaced: handler.replaced,
            costs: handler.figures.iter().map(cost).collect(),
        }
    }
}

impl Cost {
    fn new(figure: &Figure, bar: Option<f64>) -> Self {
        let units = figure.nanos.iter().zip(&figure.unit_nanos).map(|(nanos, unit)| nanos / unit);
        let units = Spread::of(units);
        Self {
            command: figure.command.clone(),
            value_bytes: figure.value_bytes,
            nanos: Spread::of(figure.nanos.iter().copied()),
            units,
            bar,
            met: bar.map(|bar| units.median <= bar),
        }
    }
}

fn bar(language: &str, figure: &Figure) -> Option<f64> {
    let bars = wasmill_setup::languages::named(language)?.bars;
    match (figure.command.as_str(), figure.value_bytes) {
        ("drop", BAR_BYTES) => Some(bars.ack),
        ("upper", BAR_BYTES) => Some(bars.upper),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn measured() -> Measured {
        let figure = |command: &str, value_bytes, nanos: [f64; 3]| serde_json::json!({ "command": command, "value_bytes": value_bytes, "nanos": nanos, "unit_nanos": [1000, 2000, 1000] });
        let handler = serde_json::json!({
            "name": "zig", "component_bytes": 2048, "compile_ms": 12.3, "cached_ms": 1.0, "start_ms": [0.2, 0.1, 0.3],
            "memory_bytes": 131072, "replaced": 0,
            "figures": [
                figure("drop", 100, [19.0, 100.0, 20.0]),
                figure("upper", 100, [130.0, 250.0, 119.0]),
                figure("upper", 1000, [900.0, 900.0, 900.0]),
            ],
        });
        let native = serde_json::json!({ "figures": [figure("drop", 100, [2.0, 2.0, 2.0])] });
        let all = serde_json::json!({ "batch": 128, "rounds": 3, "native": native, "handlers": [handler] });
        serde_json::from_value(all).expect("the form is the program's")
    }

    #[test]
    fn a_round_is_set_beside_the_unit_of_that_round_and_the_median_decides() {
        let report = Report::new(&measured(), Vec::new());
        let [ack, upper, large] = &report.languages[0].costs[..] else { panic!("{report:?}") };
        // 0.019, 0.05, 0.02: the slow second round had a slow unit, too.
        assert!((ack.units.max - 0.05).abs() < 1e-9 && (ack.units.median - 0.02).abs() < 1e-9, "{ack:?}");
        assert_eq!((ack.bar, ack.met), (Some(0.02), Some(true)));
        assert_eq!((upper.bar, upper.met), (Some(0.12), Some(false)), "0.13, 0.125, 0.119");
        assert_eq!((large.bar, large.met), (None, None), "bars are for 100 B");
        assert!(!report.met);
        assert_eq!(report.unit_nanos.median, 1000.0);
    }
}
