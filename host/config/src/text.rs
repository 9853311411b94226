//! Texts with a rule: names of Kafka, addresses, paths.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use toml::de::DeValue;
use toml::value::Datetime;
use wasmill_core::{Form, Position, Start};

use crate::describe::{Describe, Facts};
use crate::handler::{self, Handler};
use crate::kind::{Choice, Kind, Node, Text};
use crate::refusal::{Refusal, path, plain, refusal};
use crate::report::Report;
use crate::units::epoch_ms;

const KAFKA_NAME_CHARS: usize = 249;

pub(crate) const TOPIC: Text<String> = Text {
    noun: "a topic name",
    bounds: "1 to 249 of `A-Z a-z 0-9 . _ -`",
    example: "orders",
    refused: &["", ".", "..", "or ders", "^orders.*", "oräders"],
    parse: topic,
};

pub(crate) const OUTPUT_TOPIC: Text<String> = Text {
    bounds: "1 to 249 of `A-Z a-z 0-9 . _ -`; not one of Kafka's own",
    example: "orders-out",
    refused: &["", "a/b", "__consumer_offsets", "__transaction_state"],
    parse: output_topic,
    ..TOPIC
};

pub(crate) const GROUP: Text<String> = Text {
    noun: "a group name",
    bounds: "1 to 249 characters, none of control",
    example: "orders",
    refused: &["", "a\u{7}"],
    parse: |text| plain(text, KAFKA_NAME_CHARS),
};

pub(crate) const INSTANCE_ID: Text<String> = Text {
    noun: "an instance name",
    bounds: "1 to 200 of `A-Z a-z 0-9 . _ -`",
    example: "orders-1",
    refused: &["", "a b"],
    // The number of a member is appended, within Kafka's 249.
    parse: |text| kafka_name(text, 200),
};

pub(crate) const BOOTSTRAP: Text<String> = Text {
    noun: "`host:port`, several separated by commas,",
    bounds: "`host:port`, several separated by commas",
    example: "localhost:9092",
    refused: &["", "localhost", "localhost:", ":9092", "localhost:0", "localhost:70000", "SSL://a:9092", "a:1,,b:1"],
    parse: bootstrap,
};

pub(crate) const ADDRESS: Text<SocketAddr> = Text {
    noun: "an address and port",
    bounds: "`IP:port`",
    example: "127.0.0.1:9464",
    refused: &["", "9464", "localhost:9464", "127.0.0.1", "127.0.0.1:99999"],
    parse: address,
};

pub(crate) const FILE: Text<PathBuf> = Text {
    noun: "a path",
    bounds: "relative to the folder of this file, or absolute",
    example: "handler.wasm",
    refused: &["", "a\u{0}b"],
    parse: path,
};

pub(crate) const HANDLER: Text<Handler> = Text {
    noun: "a path, or a reference to a registry,",
    bounds: "a path, relative to the folder of this file or absolute; or `oci://host/name:tag`, `oci://host/name@sha256:DIGEST`",
    example: "handler.wasm",
    refused: &[
        "",
        "a\u{0}b",
        "https://host/name:tag",
        "oci://",
        "oci://host",
        "oci://host/name",
        "oci:///name:tag",
        "oci://ho st/name:tag",
        "oci://host:0/name:tag",
        "oci://host/Name:tag",
        "oci://host//name:tag",
        "oci://host/name:",
        "oci://host/name:a b",
        "oci://host/name@sha256:abc",
        "oci://host/name@md5:d41d8cd98f00b204e9800998ecf8427e",
        "oci://user:password@host/name:tag",
    ],
    parse: handler::parse,
};

pub(crate) const ARGUMENT: Text<String> = Text {
    noun: "an argument",
    bounds: "",
    example: "make",
    refused: &["", "a\u{0}b"],
    parse: |text| plain(text, 4096),
};

fn kafka_name(text: &str, max_chars: usize) -> Result<String, Refusal> {
    let name = plain(text, max_chars)?;
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(c) => refusal(format!("has {c:?} in it"), "letters a to z, digits, `.`, `_` and `-` may be in a name"),
        None => Ok(name),
    }
}

fn topic(text: &str) -> Result<String, Refusal> {
    match text {
        "." | ".." => refusal("is not a topic name", "Kafka allows neither `.` nor `..`"),
        _ if text.starts_with('^') => {
            refusal("is a pattern, which is not available yet", "list the topics by their names")
        }
        _ => kafka_name(text, KAFKA_NAME_CHARS),
    }
}

fn output_topic(text: &str) -> Result<String, Refusal> {
    match text {
        "__consumer_offsets" | "__transaction_state" => {
            refusal("is one of Kafka's own", "write a topic of yours: this one would be damaged")
        }
        _ => topic(text),
    }
}

/// For a pipeline's name: what is wrong with it and what to write instead.
pub(crate) fn refuse_pipeline_name(name: &str) -> Option<Refusal> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let good = (1..=64).contains(&name.chars().count()) && name.chars().all(fits);
    (!good).then(|| {
        let problem = "is not a name for a pipeline".to_owned();
        (problem, "write 1 to 64 of `a-z`, `0-9`, `-` and `_`".to_owned())
    })
}

fn bootstrap(text: &str) -> Result<String, Refusal> {
    if text.contains("://") {
        let hint = "write `host:port`, and `\"security.protocol\"` in `[kafka.properties]`";
        return refusal("begins with a protocol", hint);
    }
    for server in text.split(',').map(str::trim) {
        let Some((host, port)) = server.rsplit_once(':') else {
            let example = if server.is_empty() { "localhost" } else { server };
            return refusal("has no port", format!("write `\"{example}:9092\"`"));
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let good_host = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
        };
        if !good_host {
            return refusal("has no host before the port", "write `\"host:9092\"`, or `\"[::1]:9092\"` for IPv6");
        }
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return refusal("has no port from 1 to 65535", format!("write `\"{host}:9092\"`"));
        }
    }
    Ok(text.split(',').map(str::trim).collect::<Vec<_>>().join(","))
}

fn address(text: &str) -> Result<SocketAddr, Refusal> {
    text.parse().or_else(|_| {
        let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(9464);
        refusal("is not an IP address and a port", format!("write `\"127.0.0.1:{port}\"`"))
    })
}

const START_WORDS: Choice<Start> = Choice {
    words: &[
        ("earliest", Start::At(Position::Earliest)),
        ("latest", Start::At(Position::Latest)),
        ("error", Start::Error),
    ],
    later: &[],
};

/// Where a group begins: a word or a time.
pub(crate) struct StartKind;

impl Describe for StartKind {
    fn facts(&self) -> Facts {
        let mut facts = START_WORDS.facts();
        facts.noun = "a string or a time".to_owned();
        facts.bounds += ", or an RFC 3339 time such as `2026-01-31T00:00:00Z`";
        facts.json = serde_json::json!({ "type": "string" });
        let refused = ["\"2026-01-31T00:00:00\"", "2026-01-31", "\"1969-12-31T00:00:00Z\""];
        facts.refused.extend(refused.map(|text| (text.to_owned(), 0)));
        facts
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_str() || value.is_datetime()
    }
}

impl Kind for StartKind {
    type Value = Start;

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<Start> {
        let text = node.value.as_str();
        let time = node.value.as_datetime().copied().or_else(|| text?.parse::<Datetime>().ok());
        let found = time.as_ref().and_then(epoch_ms);
        if found.is_some() {
            return found.map(|ms| Start::At(Position::Time(ms)));
        }
        // Offsets, counts and ages are positions too, but not ones for a file that is read again and again.
        let form = match time {
            Some(_) => Some(Form::Time),
            None => Position::parse_as(text?, 0, &[Form::Earliest, Form::Latest]).err().and_then(|bad| bad.form),
        };
        let (name, typed) = (node.at.name(), report.source.typed(&node.at.span));
        match form {
            None => return START_WORDS.read(node, report),
            Some(Form::Time | Form::PlainTime | Form::Millis) => {
                let hint = "write date, time and offset, from 1970 on: `\"2026-01-31T00:00:00Z\"`";
                report.error(node.at, format!("`{name}`: {typed} is not a certain time"), hint);
            }
            Some(form) => {
                let hint = format!("write {}, or a time: `\"2026-01-31T00:00:00Z\"`", START_WORDS.list());
                report.error(node.at, format!("`{name}`: {typed} {}, which is not taken here", form.what()), hint);
            }
        }
        None
    }
}
