//! Whatever a file says, reading it ends with a configuration or with mistakes that lie within the file.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use wasmill_config::{Finding, parse_with};

const FILE: &str = r#"
[kafka]
bootstrap = "localhost:9092"
properties = { "sasl.password" = "${SECRET}", "client.rack" = "a" }
[admin]
listen = "127.0.0.1:9464"
[pipelines.a]
topics = ["in", "other"]
group = "g"
handler = "h.wasm"
dead_letter = "dead"
lanes = 4
start = "earliest"
[pipelines.a.limits]
memory = "64MiB"
"#;

/// What is put somewhere into the file.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "",
        "\n",
        "\t",
        "\r\n",
        "=",
        "\"",
        "\"\"\"",
        "'",
        "[",
        "]",
        "[[",
        "{",
        "}",
        ",",
        ".",
        "#",
        "${",
        "${SECRET}",
        "${NONE}",
        "$$",
        "-1",
        "0",
        "1e999",
        "nan",
        "18446744073709551616",
        "9223372036854775807",
        "1979-05-27T07:32:00Z",
        "true",
        "[pipelines.a]",
        "[pipelines.\"\\u202e\"]",
        "lanes = 0\n",
        "handler = \"oci://\"\n",
        "\u{1b}[31m",
        "\u{202e}",
        "\u{feff}",
        "\0",
        "ß",
        "漢",
        "🙂",
        "timeout = \"99999999999999999999y\"\n",
        "memory = \"18446744073709551615GiB\"\n",
    ];
    let deep = (1usize..2000, prop::sample::select(vec!["[", "{a=", "a.", "\"a\"."]));
    prop_oneof![
        6 => prop::sample::select(words.to_vec()).prop_map(str::to_owned),
        2 => any::<String>(),
        1 => deep.prop_map(|(times, opening)| format!("\nx = {}", opening.repeat(times))),
        1 => deep_key(),
    ]
}

fn deep_key() -> impl Strategy<Value = String> {
    (1usize..2000).prop_map(|times| format!("\n[a{}]\n", ".a".repeat(times)))
}

/// The file with some of its text replaced, in a few places.
fn changed() -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), 0usize..12, piece());
    prop::collection::vec(change, 1..6).prop_map(|changes| {
        changes.into_iter().fold(FILE.to_owned(), |mut text, (place, length, piece)| {
            let start = text.floor_char_boundary(place.index(text.len() + 1));
            let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
            text.replace_range(start..end, &piece);
            text
        })
    })
}

/// That a finding can be shown, and is where it says.
fn is_within(finding: &Finding, text: &str) -> Result<(), TestCaseError> {
    let lines = text.split('\n').count();
    prop_assert!((1..=lines).contains(&finding.line), "{finding:?} of {lines} lines");
    prop_assert!(finding.column >= 1 && finding.width >= 1, "{finding:?}");
    prop_assert!(!finding.message.is_empty() && !finding.long().is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn a_file_is_read_or_its_mistakes_are_where_they_are_said_to_be(text in changed()) {
        let lookup = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
        let findings = match parse_with("wasmill.toml", &text, &lookup) {
            Ok(loaded) => loaded.warnings,
            Err(mistakes) => {
                prop_assert!(!mistakes.0.is_empty());
                mistakes.0
            }
        };
        for finding in &findings {
            is_within(finding, &text)?;
            // What the environment holds is shown nowhere.
            prop_assert!(!format!("{finding:?}").contains("hunter2"), "{finding:?}");
        }
    }
}

#[test]
fn a_hint_that_is_made_of_a_value_of_the_environment_names_the_variable_instead() {
    let lookup = |name: &str| (name == "SECRET").then(|| "Hunter2".to_owned());
    let text = FILE.replace("localhost:9092", "localho${SECRET}9092");
    let mistakes = parse_with("wasmill.toml", &text, &lookup).expect_err("no port").0;
    let [mistake] = &mistakes[..] else { panic!("one mistake, not {mistakes:?}") };
    assert_eq!(mistake.hint.as_deref(), Some("look at what the environment holds for `SECRET`"));
}
