//! Whole outputs: what somebody sees who made these mistakes.

use wasmill_config::{Finding, parse_with};

fn lookup(name: &str) -> Option<String> {
    (name == "KAFKA_PASSWORD").then(|| "hunter2".to_owned())
}

fn long(text: &str) -> String {
    let found = parse_with("wasmill.toml", text, &lookup).map_or_else(|mistakes| mistakes.0, |loaded| loaded.warnings);
    found.iter().map(Finding::long).collect::<Vec<_>>().join("\n\n")
}

const BEGINNER: &str = r#"
[kafka]
brokers = "localhost:9092"

[pipeline.orders]
topic = "orders"

[pipelines.orders]
topic = "orders"
group_id = "orders"
handler = "orders.wasm"
lane = 4
linger = 5
members = "2"
session_timeout = 6
order = "key"
assignor = "cooperative_sticky"
output = "orders out"
"#;

const SECRETS: &str = r#"
[kafka]
bootstrap = "localhost"
[kafka.properties]
security.protocol = "SASL_SSL"
sasl.username = "${KAFKA_USER}"
sasl.password = "hunter2"
ssl.key.password = ["hunter2"]
"sasl.oauthbearer.client.secret" = "hunter2", enable.auto.commit = true
sasl.oauthbearer.client.secret = hunter2
[pipelines.a]
topics = ["a"]
group = "a"
handler = "a.wasm"
dead_letter = "dead"
"#;

const DANGEROUS: &str = r#"
[kafka]
bootstrap = "kafka-1:9092, kafka-2:9092"
[pipelines.audit]
topics = ["audit"]
group = "audit"
handler = "audit.wasm"
on_exhausted = "skip"
start = "latest"
commit = { mode = "auto" }
"#;

const SYNTAX: &str = r#"
memory = 512MiB
[kafka]
bootstrap = localhost:9092
[pipelines.orders]
topics = ["orders"
group = "orders"
group = "again"
handlr = "x.wasm"
"#;

#[test]
fn a_beginners_file() {
    insta::assert_snapshot!(long(BEGINNER));
}

#[test]
fn secrets_in_a_file_with_mistakes() {
    assert!(!long(SECRETS).contains("hunter2"));
    insta::assert_snapshot!(long(SECRETS));
}

#[test]
fn a_dangerous_file() {
    insta::assert_snapshot!(long(DANGEROUS));
}

#[test]
fn a_file_that_does_not_parse() {
    insta::assert_snapshot!(long(SYNTAX));
}

#[test]
fn an_empty_file_and_one_line_each() {
    insta::assert_snapshot!(parse_with("wasmill.toml", "", &lookup).unwrap_err());
}

#[test]
fn findings_as_json() {
    let mistakes = parse_with("wasmill.toml", "memory = 1\n[kafka]\nboot = 1\n", &lookup).unwrap_err();
    insta::assert_snapshot!(serde_json::to_string_pretty(&mistakes).unwrap());
}

/// Half-typed files are what an editor shows: no panic, and every place lies in the text.
#[test]
fn survives_every_prefix_of_a_file() {
    for text in [BEGINNER, SECRETS, DANGEROUS, SYNTAX] {
        for (at, _) in text.char_indices() {
            let part = &text[..at];
            let Err(mistakes) = parse_with("wasmill.toml", part, &lookup) else { continue };
            assert!(!mistakes.0.is_empty(), "{part}");
            for finding in mistakes.0 {
                assert!(finding.line <= part.split('\n').count(), "{part}\n{finding}");
                assert!(finding.width >= 1 && finding.long().contains('^'), "{part}\n{finding}");
            }
        }
    }
}
