//! Keys that contradict each other, and what is legal but dangerous.
//!
//! Each file carries its findings as comments: `#E text` and `#W text` say that an error or a warning with this text
//! points into that line; several are separated by ` & `. There must be no other finding.

use wasmill_config::{Finding, Severity, parse_with};

const FILES: &[(&str, &str)] = &[
    (
        "given_up",
        r#"
[kafka]
bootstrap = "localhost:9092"
[pipelines.neither] #E `neither` does not say what happens to a message that is given up
topics = ["a"]
group = "a"
handler = "a.wasm"
[pipelines.both]
topics = ["b"]
group = "b"
handler = "b.wasm"
dead_letter = "dead"
on_exhausted = "stop" #E `on_exhausted` contradicts `dead_letter`
[pipelines.skips]
topics = ["c"]
group = "c"
handler = "c.wasm"
on_exhausted = "skip" #W loses every message
breaker = false #W without a breaker
[pipelines.output-too]
topics = ["d"]
group = "d"
handler = "d.wasm"
output = "dead"
dead_letter = "dead" #E `dead` is an output too
[pipelines.granted-too]
topics = ["e"]
group = "e"
handler = "e.wasm"
output = { topics = ["x", "dead"] }
dead_letter = "dead" #E `dead` is an output too
"#,
    ),
    (
        "start",
        r#"
[kafka]
bootstrap = "localhost:9092"
[pipelines.offset]
topics = ["a"]
group = "a"
handler = "a.wasm"
dead_letter = "dead"
start = "1812" #E `start`: "1812" is an offset, which is not taken here
[pipelines.last]
topics = ["a"]
group = "b"
handler = "a.wasm"
dead_letter = "dead"
start = "last:100" #E `start`: "last:100" counts from the end of a partition, which is not taken here
[pipelines.age]
topics = ["a"]
group = "c"
handler = "a.wasm"
dead_letter = "dead"
start = "2h ago" #E `start`: "2h ago" is an age, which is not taken here
[pipelines.word]
topics = ["a"]
group = "d"
handler = "a.wasm"
dead_letter = "dead"
start = "beginning" #E `start` must be one of "earliest", "latest", "error", not "beginning"
[pipelines.day]
topics = ["a"]
group = "e"
handler = "a.wasm"
dead_letter = "dead"
start = "2026-01-31" #E `start`: "2026-01-31" is not a certain time
"#,
    ),
    (
        "tokens",
        r#"
[kafka]
bootstrap = "localhost:9092"
token_file = "token"
token_command = ["print-token"] #E `token_file` is there as well
properties."sasl.mechanism" = "OAUTHBEARER"
[pipelines.a]
topics = ["a"]
group = "a"
handler = "a.wasm"
dead_letter = "dead"
"#,
    ),
    (
        "tokens_for_nobody",
        r#"
[kafka]
bootstrap = "localhost:9092"
token_command = ["print-token"] #W a token is of use for one mechanism only
properties."sasl.oauthbearer.method" = "oidc" #E built without an HTTP client
[pipelines.a]
topics = ["a"]
group = "a"
handler = "a.wasm"
dead_letter = "dead"
"#,
    ),
    (
        "backtest",
        r#"
[kafka]
bootstrap = "localhost:9092"
[pipelines.both]
topics = ["a"]
group = "a"
handler = "a.wasm"
dead_letter = "dead"
swap.backtest = { since = "1d", sample = 10 } #E `sample` contradicts `since`
"#,
    ),
    (
        "watch",
        r#"
[kafka]
bootstrap = "localhost:9092"
[pipelines.file]
topics = ["a"]
group = "a"
handler = "a.wasm"
dead_letter = "dead"
swap.watch = true
[pipelines.registry]
topics = ["b"]
group = "b"
handler = "oci://host/b:1"
dead_letter = "dead"
swap.watch = true #E `watch = true` watches a file, and the handler is oci://host/b:1
[pipelines.neither]
topics = ["c"]
group = "c"
handler = "oci://host/c:1"
dead_letter = "dead"
swap.watch = false
"#,
    ),
    (
        "loops",
        r#"
[kafka]
bootstrap = "localhost:9092"
[pipelines.short]
topics = ["a"]
group = "short"
handler = "a.wasm"
output = "a" #E `a` is written and read by the same pipeline
dead_letter = "dead"
[pipelines.dead]
topics = ["b", "dead-b"]
group = "dead"
handler = "a.wasm"
dead_letter = "dead-b" #E `dead-b` is written and read by the same pipeline
[pipelines.granted]
topics = ["c"]
group = "granted"
handler = "a.wasm"
output = { topic = "x", topics = ["y", "c", "x"] } #E `c` is written and read & `x` is the `topic` of this output already
dead_letter = "dead"
[pipelines.nothing]
topics = ["d"]
group = "nothing"
handler = "a.wasm"
output = { linger = "1ms" } #E `output` names no topic
dead_letter = "dead"
[pipelines.first] #W messages can go round for ever: first → second → third → first
topics = ["one"]
group = "first"
handler = "a.wasm"
output = "two"
dead_letter = "dead"
[pipelines.second]
topics = ["two"]
group = "second"
handler = "a.wasm"
output = "three"
dead_letter = "dead"
[pipelines.third]
topics = ["three"]
group = "third"
handler = "a.wasm"
dead_letter = "one"
"#,
    ),
    (
        "commit",
        r#"
[kafka]
bootstrap = "localhost:9092"
[pipelines.a]
topics = ["a"]
group = "a"
handler = "a.wasm"
dead_letter = "dead"
commit = { sync = true, interval = "1s" } #E `interval` contradicts `sync = true`
[pipelines.b]
topics = ["b"]
group = "b"
handler = "a.wasm"
dead_letter = "dead"
commit = { sync = true, min_interval = "1s" } #E `min_interval` contradicts `sync = true`
[pipelines.c]
topics = ["c"]
group = "c"
handler = "a.wasm"
dead_letter = "dead"
[pipelines.c.commit]
mode = "auto" #W can lose messages in a crash
sync = true #E `sync = true` contradicts `mode = "auto"`
min_interval = "1s" #E `min_interval` contradicts `mode = "auto"`
[pipelines.d]
topics = ["d"]
group = "d"
handler = "a.wasm"
dead_letter = "dead"
[pipelines.d.commit]
interval = "1s"
min_interval = "0s" #E `min_interval` contradicts `interval`
[pipelines.e]
topics = ["e"]
group = "e"
handler = "a.wasm"
dead_letter = "dead"
commit.min_interval = "0s" #W `min_interval` of zero
"#,
    ),
    (
        "times",
        r#"
[kafka]
bootstrap = "localhost:9092"
[pipelines.a]
topics = ["a"]
group = "a"
handler = "a.wasm"
dead_letter = "dead"
session_timeout = "5s" #W brokers refuse a `session_timeout` below 6 s
heartbeat_interval = "5s" #E `heartbeat_interval` must be below `session_timeout`
max_poll_interval = "4s" #E must be at least `session_timeout`
drain_timeout = "4s" #E must be below `max_poll_interval` & a call may take 10s, a drain waits 4s
[pipelines.b]
topics = ["b"]
group = "b"
handler = "a.wasm"
dead_letter = "dead"
heartbeat_interval = "20s" #W two lost heartbeats within `session_timeout`, 45s
limits.time = "20s" #E `time_cap`, 10s, must be at least `limits.time`, 20s
retry.max_delay = "99ms" #E `max_delay`, 99ms, must be at least `retry.backoff`, 100ms
[pipelines.c]
topics = ["c"]
group = "c"
handler = "a.wasm"
dead_letter = "dead"
session_timeout = "6m" #E must be at least `session_timeout`, 6m
limits.time_cap = "31s" #W a rebalance can cut a call off
retry.backoff = "31s" #E must be at least `retry.backoff`, 31s
"#,
    ),
    (
        "sizes",
        r#"
memory = "32MiB" #E `span.bytes`, 64MiB, is more than `memory`, 32MiB
[kafka]
bootstrap = "localhost:9092"
[pipelines.a]
topics = ["a"]
group = "a"
handler = "a.wasm"
dead_letter = "dead"
batch = { messages = 20001, bytes = "65MiB" } #E `span.messages`, 20000, must be at least & `span.bytes`, 64MiB, must be at least
limits.memory = "65MiB" #E a full batch, 65MiB, does not fit
[pipelines.b]
topics = ["b"]
group = "b"
handler = "a.wasm"
dead_letter = "dead"
span = { messages = 511, bytes = "512KiB" } #E `span.messages`, 511, must & `span.bytes`, 512KiB, must
[pipelines.c]
topics = ["c"]
group = "c"
handler = "a.wasm"
dead_letter = "dead"
span = { bytes = "33MiB" } #E `span.bytes`, 33MiB, is more than `memory`, 32MiB
breaker = { given_up = 100 } #E `given_up` must be below `of`
[pipelines.d]
topics = ["d"]
group = "d"
handler = "a.wasm"
dead_letter = "dead"
span = { bytes = "1MiB" }
breaker = { first_given_up = 20 } #E `first_given_up` must be below `first_of`
[pipelines.e]
topics = ["e"]
group = "e"
handler = "a.wasm"
dead_letter = "dead"
span = { bytes = "1MiB" }
breaker = { of = 50 } #E `given_up` must be below `of`
[pipelines.f]
topics = ["f"]
group = "f"
handler = "a.wasm"
dead_letter = "dead"
span = { bytes = "1MiB" }
breaker = { first_of = 101 } #E `first_of` must be at most `of`
"#,
    ),
    (
        "groups",
        r#"
[kafka]
bootstrap = "localhost:9092"
[pipelines.a]
topics = ["a", "b"]
group = "one"
handler = "a.wasm"
dead_letter = "dead"
instance_id = "i"
start = "latest" #W `start = "latest"` never handles
[pipelines.b]
topics = ["b", "c"]
group = "one" #W `a` reads `b` in the group `one` too
handler = "a.wasm"
dead_letter = "dead"
instance_id = "i" #E the same `instance_id` in the same group
out_of_range = "latest" #W skips everything that is there
assignor = "cooperative-sticky" #E `a` has `assignor = "range"` in the same group
[pipelines.c]
topics = ["c"]
group = "two"
handler = "a.wasm"
dead_letter = "dead"
instance_id = "i"
properties = { "security.protocol" = "SSL" } #W `security.protocol` is set for one kind of client only
output = { topic = "x", properties = { "sasl.username" = "me" } } #W `sasl.username` is set
"#,
    ),
    (
        "control topics",
        r#"
[kafka]
bootstrap = "localhost:9092"
[pipelines.a]
topics = ["a"]
group = "a"
handler = "a.wasm"
output = "x"
dead_letter = "dead"
swap.control_topic = "b" #E `b` is read by `b`: a control topic is for wasmill alone
[pipelines.b]
topics = ["b"]
group = "b"
handler = "a.wasm"
output = "y"
dead_letter = "dead"
swap.control_topic = "x" #E `x` is written by `a`
[pipelines.c]
topics = ["c"]
group = "c"
handler = "a.wasm"
dead_letter = "dead-c"
swap.control_topic = "dead-c" #E `dead-c` is written by `c`
swap.watch = true #E `watch` contradicts `control_topic`
swap.rollout = "canary" #E `rollout` contradicts `control_topic`
swap.rollback = { messages = 5 } #W this `rollback` never applies
[pipelines.f]
topics = ["f"]
group = "g"
handler = "a.wasm"
dead_letter = "dead"
swap.control_topic = "control" #E `g` is in the same group
swap.rollback = false
[pipelines.g]
topics = ["g"]
group = "g"
handler = "a.wasm"
dead_letter = "dead"
[pipelines.d]
topics = ["d"]
group = "d"
handler = "a.wasm"
dead_letter = "dead"
swap.control_topic = "control"
[pipelines.e]
topics = ["e"]
group = "e"
handler = "a.wasm"
dead_letter = "dead"
swap.control_topic = "control"
"#,
    ),
    (
        "admin",
        r#"
[kafka]
bootstrap = "localhost:9092"
[admin]
listen = "0.0.0.0:9464" #E `listen` is not a loopback address
[pipelines.a]
topics = ["a"]
group = "a"
handler = "a.wasm"
dead_letter = "dead"
"#,
    ),
    (
        "admin of IPv6",
        r#"
[kafka]
bootstrap = "localhost:9092"
[admin]
listen = "[::]:9464" #W other machines can reach
allow_remote = true
[pipelines.a]
topics = ["a"]
group = "a"
handler = "a.wasm"
dead_letter = "dead"
"#,
    ),
];

fn findings(text: &str) -> Vec<Finding> {
    parse_with("wasmill.toml", text, &|_| None).map_or_else(|mistakes| mistakes.0, |loaded| loaded.warnings)
}

/// Line, and text of each finding.
fn expected(text: &str) -> Vec<(usize, &str)> {
    let marks = text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, line.split_once(" #")?.1)));
    marks.flat_map(|(line, mark)| mark[2..].split(" & ").map(move |text| (line, text))).collect()
}

#[test]
fn names_every_contradiction_and_every_danger_where_it_stands() {
    for (name, text) in FILES {
        let found = findings(text);
        let shown = found.iter().map(Finding::long).collect::<Vec<_>>().join("\n\n");
        for (line, message) in expected(text) {
            let matches = |finding: &&Finding| finding.line == line && finding.message.contains(message);
            assert_eq!(found.iter().filter(matches).count(), 1, "{name}:{line}: {message}\n{shown}");
        }
        assert_eq!(found.len(), expected(text).len(), "{name}\n{shown}");
        for finding in &found {
            let mark = finding.source.split_once(" #").unwrap().1;
            let one_kind = !mark.contains(" & a call may take");
            let severity = if mark.starts_with('E') { Severity::Error } else { Severity::Warning };
            assert!(finding.severity == severity || !one_kind, "{name}\n{}", finding.long());
            // It points to the key, or to a value in a list.
            let at: String = finding.source.chars().skip(finding.column - 1).collect();
            let key = finding.key.rsplit('.').next().unwrap();
            let key_of_dotted = finding.key.rsplit('.').nth(1).unwrap_or(key);
            let points = at.starts_with(key) || at.starts_with('"') || at.starts_with(key_of_dotted);
            assert!(points, "{name}\n{}", finding.long());
            assert!(finding.hint.is_some(), "{name}\n{}", finding.long());
        }
    }
}

/// A contradiction is found beside mistakes of every other kind, in the same pass.
#[test]
fn names_contradictions_beside_other_mistakes() {
    for (name, text) in FILES {
        let errors = |text: &str| findings(text).iter().filter(|f| f.severity == Severity::Error).count();
        let more =
            format!("nonsense = 1\n{text}[pipelines.more]\nmembers = 0\ntopics = \"x\"\nhandler = \"${{ABSENT}}\"\n");
        // Besides those: no group, and nothing said of messages that are given up.
        assert_eq!(errors(&more), errors(text) + 6, "{name}\n{:#?}", findings(&more));
    }
}

#[test]
fn warnings_alone_do_not_refuse_a_file() {
    let text = FILES.iter().find(|(name, _)| *name == "admin of IPv6").unwrap().1;
    let loaded = parse_with("wasmill.toml", text, &|_| None).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.config.admin.unwrap().allow_remote);
}
