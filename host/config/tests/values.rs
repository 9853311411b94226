//! What a file without mistakes becomes.

use std::path::Path;
use std::time::Duration;

use wasmill_config::{
    Assignor, BreakerPolicy, CommitMode, Config, Grant, Handler, History, LoadError, OnExhausted, OutOfRange, Position,
    RetryPolicy, Share, SpanBound, Start, keys, load, parse_with, reference, schema,
};

const LEAST: &str = r#"
[kafka]
bootstrap = "localhost:9092"
[pipelines.a]
topics = ["in"]
group = "g"
handler = "h.wasm"
dead_letter = "dead"
"#;

fn parse(name: &str, text: &str) -> Config {
    let loaded = parse_with(name, text, &|name| (name == "SECRET").then(|| "hunter2".to_owned())).unwrap();
    loaded.config
}

/// The least file with these lines in its pipeline.
fn with(lines: &str) -> Config {
    parse("wasmill.toml", &format!("{LEAST}{lines}"))
}

#[test]
fn the_least_file_has_the_documented_defaults() {
    let loaded = parse_with("wasmill.toml", LEAST, &|_| None).unwrap();
    assert_eq!(loaded.warnings, []);
    insta::assert_debug_snapshot!(loaded.config);
}

#[test]
fn reads_the_articles_file() {
    let config = with(
        "members = 2\nsession_timeout = \"6s\"\nlanes = 0x4\nassignor = \"cooperative-sticky\"\n\
         commit = { sync = true }\nbatch.messages = 1\n",
    );
    let pipeline = &config.pipelines[0];
    assert_eq!(pipeline.members, 2);
    assert_eq!(pipeline.lanes, Some(4));
    assert_eq!(pipeline.assignor, Assignor::CooperativeSticky);
    // A third of the session timeout, although the default is 3 s.
    assert_eq!(pipeline.heartbeat_interval, Duration::from_secs(2));
    assert_eq!(pipeline.commit, CommitMode::Sync);
    assert_eq!(pipeline.batch_messages, 1);
}

#[test]
fn reads_every_commit_mode() {
    let commit = |table: &str| with(&format!("commit = {table}\n")).pipelines[0].commit;
    assert_eq!(commit("{ }"), CommitMode::Manual { min_interval: Duration::from_millis(50) });
    assert_eq!(commit("{ min_interval = \"0s\" }"), CommitMode::Manual { min_interval: Duration::ZERO });
    assert_eq!(commit("{ sync = true }"), CommitMode::Sync);
    assert_eq!(commit("{ interval = \"2s\" }"), CommitMode::Interval(Duration::from_secs(2)));
    assert_eq!(commit("{ mode = \"auto\" }"), CommitMode::Auto(Duration::from_secs(1)));
    assert_eq!(commit("{ mode = \"auto\", interval = \"5m\" }"), CommitMode::Auto(Duration::from_secs(300)));
}

#[test]
fn reads_where_to_start() {
    let start = |value: &str| with(&format!("start = {value}\nout_of_range = \"earliest\"\n")).pipelines[0].start;
    assert_eq!(start("\"earliest\""), Start::At(Position::Earliest));
    assert_eq!(start("\"latest\""), Start::At(Position::Latest));
    assert_eq!(start("\"2000-02-29T12:00:00Z\""), Start::At(Position::Time(951_825_600_000)));
    assert_eq!(start("2000-02-29T12:00:00Z"), Start::At(Position::Time(951_825_600_000)));
    assert_eq!(with("out_of_range = \"earliest\"\n").pipelines[0].out_of_range, OutOfRange::Earliest);
}

#[test]
fn nothing_is_granted_but_what_is_written() {
    assert_eq!(with("").pipelines[0].grant, []);
    assert_eq!(with("grant = [\"clock\"]\n").pipelines[0].grant, [Grant::Clock]);
    for grant in Grant::ALL {
        assert_eq!(with(&format!("grant = [\"{}\"]\n", grant.as_str())).pipelines[0].grant, [grant]);
    }
    let refused = |value: &str| {
        let text = format!("{LEAST}grant = {value}\n");
        parse_with("wasmill.toml", &text, &|_| None).unwrap_err().0.remove(0)
    };
    let said = refused("[\"clock\", \"randomm\"]");
    assert_eq!(said.message, "`grant` must be one of \"clock\", \"random\", not \"randomm\"");
    assert_eq!(said.hint.as_deref(), Some("did you mean \"random\"?"));
    assert_eq!(refused("[\"network\"]").hint.as_deref(), Some("write one of \"clock\", \"random\""));
    assert_eq!(refused("\"clock\"").hint.as_deref(), Some("write `[\"clock\"]`"));
}

#[test]
fn an_output_may_be_a_name_or_a_table() {
    let short = with("output = \"out\"\n").pipelines.remove(0).output;
    let long = with("output = { topic = \"out\" }\n").pipelines.remove(0).output;
    assert_eq!(short, long);
    assert_eq!(short.default.as_deref(), Some("out"));
    assert_eq!(short.linger, Duration::from_millis(5));
    let table = "output = { topics = [\"eu\", \"us\"], linger = \"0s\", compression = \"zstd\" }\n";
    let granted = with(table).pipelines.remove(0).output;
    assert_eq!((granted.default, granted.granted), (None, vec!["eu".to_owned(), "us".to_owned()]));
    assert_eq!(granted.compression.as_deref(), Some("zstd"));
    assert_eq!(with("").pipelines[0].output.default, None);
}

#[test]
fn the_breaker_follows_what_is_written_of_it() {
    let breaker = |value: &str| with(&format!("breaker = {value}\n")).pipelines[0].breaker;
    let policy =
        |given_up, of, first_given_up, first_of| Some(BreakerPolicy { given_up, of, first_given_up, first_of });
    assert_eq!(breaker("{ }"), policy(50, 100, 10, 20));
    assert_eq!(breaker("{ given_up = 1, of = 2 }"), policy(1, 2, 1, 2));
    assert_eq!(breaker("{ given_up = 0, of = 1 }"), policy(0, 1, 0, 1));
    assert_eq!(breaker("{ given_up = 1, of = 1000 }"), policy(1, 1000, 1, 200));
    assert_eq!(breaker("{ first_of = 5 }"), policy(50, 100, 3, 5));
    assert_eq!(breaker("false"), None);
}

#[test]
fn reads_sizes_durations_and_what_becomes_of_failures() {
    let config = with(
        "span = { messages = 1_000, bytes = 4194304 }\nretry = { attempts = 1, backoff = \"1s\", max_delay = \"1m30s\" }\n\
         limits = { memory = \"1GiB\", log_line = \"1KiB\" }\n",
    );
    let pipeline = &config.pipelines[0];
    assert_eq!(pipeline.span, SpanBound { messages: 1000, bytes: 4 << 20 });
    let (backoff, max_delay) = (Duration::from_secs(1), Duration::from_secs(90));
    assert_eq!(pipeline.retry, RetryPolicy { attempts: 1, backoff, max_delay });
    assert_eq!((pipeline.limits.memory_bytes, pipeline.limits.log_line_bytes), (1 << 30, 1024));
    assert_eq!(pipeline.on_exhausted, OnExhausted::DeadLetter("dead".to_owned()));
    let stop = LEAST.replace("dead_letter = \"dead\"", "on_exhausted = \"stop\"");
    assert_eq!(parse("wasmill.toml", &stop).pipelines[0].on_exhausted, OnExhausted::Stop);
}

#[test]
fn a_backtest_is_read_as_it_is_written() {
    let backtest = |value: &str| with(&format!("swap.backtest = {value}\n")).pipelines.remove(0).swap.backtest.unwrap();
    let least = backtest("{ }");
    assert_eq!((least.topic, least.messages, least.differ), (None, History::Sample(1000), None));
    assert_eq!((least.rejects, least.time), (Share::NONE, Duration::from_secs(60)));
    let most = backtest("{ topic = \"copy\", since = \"2d\", differ = \"0.5%\", rejects = \"100%\", time = \"5s\" }");
    assert_eq!((most.topic.as_deref(), most.messages), (Some("copy"), History::Since(Duration::from_secs(172_800))));
    assert_eq!(
        (most.differ, most.rejects, most.time),
        (Some(Share::millionths(5000)), Share::ALL, Duration::from_secs(5))
    );
    assert_eq!(backtest("{ sample = 7 }").messages, History::Sample(7));
    assert_eq!(with("").pipelines[0].swap.backtest, None);
}

#[test]
fn properties_may_be_dotted_or_quoted_and_are_text() {
    let config = with(
        "[pipelines.a.properties]\n\"isolation.level\" = \"read_uncommitted\"\nclient.rack = \"r\"\n\
         fetch.min.bytes = 1_000\ncheck.crcs = true\n[pipelines.a.config]\nratio = 0.5\nsince = 2026-01-31T00:00:00Z\n\
         api_key = \"${SECRET}\"\nplain = \"$${SECRET}\"\n",
    );
    let pipeline = &config.pipelines[0];
    let found: Vec<_> = pipeline.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("check.crcs", "true"),
        ("client.rack", "r"),
        ("fetch.min.bytes", "1000"),
        ("isolation.level", "read_uncommitted"),
    ];
    assert_eq!(found, expected);
    assert_eq!(pipeline.config["ratio"], "0.5");
    assert_eq!(pipeline.config["since"], "2026-01-31T00:00:00Z");
    assert_eq!(pipeline.config["api_key"], "hunter2");
    assert_eq!(pipeline.config["plain"], "${SECRET}");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn paths_start_from_the_files_folder_and_pipelines_keep_their_order() {
    let text = LEAST.replace("pipelines.a]", "pipelines.z]")
        + "dev = { sample = \"s.jsonl\", watch = [\"src\", \"/abs\"], build = [\"make\", \"make\"] }\n\
           [pipelines.b]\ntopics = [\"other\"]\ngroup = \"b\"\nhandler = \"/abs/h.wasm\"\non_exhausted = \"stop\"\n";
    let config = parse("etc/wasmill.toml", &text);
    let names: Vec<_> = config.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    assert_eq!(names, ["z", "b"]);
    assert_eq!(config.directory, Path::new("etc"));
    assert_eq!(config.pipelines[0].handler, Handler::File("etc/h.wasm".into()));
    assert_eq!(config.pipelines[1].handler, Handler::File("/abs/h.wasm".into()));
    let text = LEAST.replace("h.wasm", "oci://ghcr.io/acme/mask:1.2");
    assert_eq!(parse("etc/wasmill.toml", &text).pipelines[0].handler.to_string(), "oci://ghcr.io/acme/mask:1.2");
    assert_eq!(config.pipelines[0].dev.sample.as_deref(), Some(Path::new("etc/s.jsonl")));
    assert_eq!(config.pipelines[0].dev.watch, [Path::new("etc/src"), Path::new("/abs")]);
    assert_eq!(config.pipelines[0].dev.build.as_ref().unwrap().len(), 2);
}

#[test]
fn says_which_file_cannot_be_read() {
    let error = load(Path::new("no/such/wasmill.toml")).unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }));
    assert!(error.to_string().starts_with("cannot read `no/such/wasmill.toml`: "), "{error}");
}

#[test]
fn the_schema_and_the_reference_have_every_key_with_its_meaning() {
    let (schema, reference) = (schema(), reference());
    for key in keys() {
        let mut at = &schema;
        for name in key.path.split('.') {
            // A table may stand beside another type.
            let table = at["anyOf"].as_array().and_then(|kinds| kinds.iter().find(|kind| kind["type"] == "object"));
            let table = table.unwrap_or(at);
            at = if name == "NAME" { &table["additionalProperties"] } else { &table["properties"][name] };
        }
        assert_eq!(at["description"], key.doc, "{}", key.path);
        assert!(key.doc.ends_with('.'), "{}: {}", key.path, key.doc);
        assert!(!key.absent.is_empty() || key.required, "{}", key.path);
        let row = format!("| `{}` | ", key.path.rsplit('.').next().unwrap());
        assert!(reference.contains(&row) && reference.contains(&key.doc.replace('|', "\\|")), "{}", key.path);
    }
    assert_eq!(schema["properties"]["memory"]["default"], "512MiB");
    assert_eq!(schema["additionalProperties"], false);
    insta::assert_snapshot!(reference);
}

#[test]
fn a_bound_itself_is_allowed() {
    let config = with(
        "members = 64\nlanes = 1\noutput = { topic = \"out\", linger = \"1m\" }\n\
         limits = { memory = \"4GiB\", output_bytes = 0, log_line = 16 }\nretry.attempts = 1000\n",
    );
    let pipeline = &config.pipelines[0];
    assert_eq!((pipeline.members, pipeline.lanes, pipeline.retry.attempts), (64, Some(1), 1000));
    assert_eq!(pipeline.output.linger, Duration::from_secs(60));
    assert_eq!((pipeline.limits.memory_bytes, pipeline.limits.output_bytes), (4 << 30, 0));
}

#[test]
fn a_variable_that_is_not_set_is_one_mistake_and_not_a_bad_value_too() {
    let text = LEAST.replace("localhost:9092", "${ABSENT}").replace("h.wasm", "${SECRET}.wasm");
    let lookup = |name: &str| (name == "SECRET").then(|| "h".to_owned());
    let mistakes = parse_with("wasmill.toml", &text, &lookup).unwrap_err();
    let shown = "wasmill.toml:3:13: the environment variable `ABSENT` is not set; \
                 hint: set `ABSENT`, or write the value here";
    assert_eq!(mistakes.to_string(), shown);
}

/// `INSTA_UPDATE=always`, as for the snapshots, writes it.
#[test]
fn the_manual_in_docs_is_what_the_reference_prints() {
    // Tests run in the folder of their package.
    let manual = Path::new("../../docs/configuration.md");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(manual, reference()).unwrap();
    }
    assert!(
        std::fs::read_to_string(manual).unwrap() == reference(),
        "hint: `wasmill reference > docs/configuration.md`"
    );
}
