//! The admin port: who may change something through it, and how much it listens to.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::case::Case;
use wasmill_tests::eye::{Message, Offsets};
use wasmill_tests::mill::Mill;
use wasmill_tests::shared::{Shared, shared};

const SOON: Duration = Duration::from_secs(60);
/// The bound of a request's body.
const MOST_BYTES: usize = 64 << 10;

/// A pipeline of two partitions, its process and the token that the process made.
struct Port {
    case: Case,
    mill: Mill,
    token: String,
}

impl Port {
    fn open(shared: &Shared, name: &str) -> Result<Self> {
        let case = Case::new(&shared.eye, name, 2)?;
        let mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", "")?)?;
        let token = std::fs::read_to_string(mill.folder().join(".wasmill/admin-token"))?.trim().to_owned();
        let port = Self { case, mill, token };
        port.states_are(["running", "running"])?;
        Ok(port)
    }

    /// The path of a call that changes something.
    fn path(&self, call: &str) -> String {
        format!("/api/v1/pipelines/{}/{call}", self.case.name)
    }

    fn address(&self) -> String {
        self.mill.url("").trim_start_matches("http://").to_owned()
    }

    /// A request as the bytes it is made of: nothing is added, no header is put right. `head` is all before the empty line.
    fn send(&self, head: &str, body: &[u8]) -> Result<(u16, Value)> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(b"Connection: close\r\n\r\n")?;
        // The answer may come before all is written; then the rest is not wanted.
        stream.write_all(body).ok();
        let mut answer = Vec::new();
        // One that closes on what it does not want to read resets the connection behind its answer.
        let read = stream.read_to_end(&mut answer);
        if answer.is_empty() {
            read.with_context(|| format!("no answer to {head}"))?;
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.with_context(|| format!("not an answer: {answer}"))?;
        let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        Ok((code, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    /// A call with these headers and nothing else.
    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<(u16, Value)> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        self.send(&format!("{method} {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n"), body.as_bytes())
    }

    fn allowed(&self) -> [(&'static str, String); 2] {
        [("Host", self.address()), ("Authorization", format!("Bearer {}", self.token))]
    }

    /// A call that may change something.
    fn change(&self, call: &str, body: &str) -> Result<(u16, Value)> {
        let allowed = self.allowed();
        let headers: Vec<_> = allowed.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.call("POST", &self.path(call), &headers, body)
    }

    fn states_are(&self, expected: [&str; 2]) -> Result<()> {
        let is = |status: &Value| {
            let partitions = status["pipelines"][0]["partitions"].as_array().cloned().unwrap_or_default();
            partitions.len() == 2 && partitions.iter().zip(expected).all(|(one, state)| one["state"] == state)
        };
        self.mill.wait_status(&format!("partitions that are {expected:?}"), SOON, is).map(drop)
    }

    fn nothing_changed(&self, expected: [&str; 2], what: &str) -> Result<()> {
        let status = self.mill.status()?;
        for (index, state) in expected.iter().enumerate() {
            let now = &status["pipelines"][0]["partitions"][index]["state"];
            ensure!(now == state, "{what}: partition {index} was {state} and is {now}");
        }
        Ok(())
    }
}

/// Names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

#[test]
fn a_call_that_changes_something_needs_the_token_a_host_of_this_machine_and_no_origin() -> Result<()> {
    let shared = &shared()?;
    let port = Port::open(shared, "guarded")?;
    let here = port.address();
    let good = format!("Bearer {}", port.token);
    let other = format!("Bearer {}x", &port.token[1..]);
    let origin = format!("http://{here}");
    let (host, token) = (("Host", here.as_str()), ("Authorization", good.as_str()));
    let refused: &[(&str, u16, Headers<'_>)] = &[
        ("no token", 401, &[host]),
        ("another token", 401, &[host, ("Authorization", "Bearer guessed")]),
        ("another token of that length", 401, &[host, ("Authorization", &other)]),
        ("half a token", 401, &[host, ("Authorization", &good[..good.len() / 2])]),
        ("no token but the word", 401, &[host, ("Authorization", "Bearer ")]),
        ("a token that is no bearer's", 401, &[host, ("Authorization", &port.token)]),
        ("a foreign name", 403, &[("Host", "evil.example"), token]),
        ("a foreign name that resolves to here", 403, &[("Host", "127.0.0.1.evil.example:80"), token]),
        ("a foreign name that begins well", 403, &[("Host", "localhost.evil.example"), token]),
        ("a web page of this port", 403, &[host, token, ("Origin", &origin)]),
        ("a web page of nowhere", 403, &[host, token, ("Origin", "null")]),
    ];
    // What would be seen of a call that went through, and before it.
    for (call, before) in [("pause", ["running", "running"]), ("resume", ["paused", "paused"])] {
        for (what, expected, headers) in refused {
            let (code, answer) = port.call("POST", &port.path(call), headers, "{}")?;
            ensure!(code == *expected, "{call} with {what}: {code} {answer}, not {expected}");
            ensure!(answer["error"].is_string(), "{call} with {what} does not say why: {answer}");
            port.nothing_changed(before, &format!("{call} with {what}"))?;
        }
        ensure!(port.change(call, "{}")?.0 == 200, "{call} goes through with all that it needs");
        port.states_are(if call == "pause" { ["paused", "paused"] } else { ["running", "running"] })?;
    }
    for (what, expected, headers) in refused {
        let (code, answer) = port.call("POST", &port.path("skip"), headers, r#"{"partition": 0, "offset": 0}"#)?;
        ensure!(code == *expected, "skip with {what}: {code} {answer}, not {expected}");
    }
    Ok(())
}

#[test]
fn looking_needs_no_token_and_changes_nothing() -> Result<()> {
    let shared = &shared()?;
    let port = Port::open(shared, "looking")?;
    for path in ["/healthz", "/readyz", "/metrics", "/api/v1/status"] {
        let (code, _) = port.call("GET", path, &[("Host", &port.address())], "")?;
        ensure!(code == 200, "GET {path}: {code}");
    }
    let allowed = port.allowed();
    let headers: Vec<_> = allowed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for call in ["pause", "resume", "skip"] {
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let (code, _) = port.call(method, &port.path(call), &headers, "")?;
            ensure!(code == 405, "{method} of {call}: {code}");
        }
    }
    port.nothing_changed(["running", "running"], "looking")?;
    // And it goes on working.
    shared.eye.produce(&port.case.input, &[Message::new("k", "a").on(0)])?;
    shared.eye.wait_committed(&port.case.name, &port.case.input, &Offsets::from([(0, 1), (1, 0)]), SOON)
}

#[test]
fn a_request_that_is_larger_than_the_bound_is_refused_unread() -> Result<()> {
    let shared = &shared()?;
    let port = Port::open(shared, "bounded")?;
    let path = port.path("pause");
    let allowed: String = port.allowed().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let text = format!("has more than {MOST_BYTES} bytes");
    // Its length is enough: not a byte of it is sent.
    let head = format!("POST {path} HTTP/1.1\r\n{allowed}Content-Length: {}\r\n", MOST_BYTES + 1);
    let (code, answer) = port.send(&head, b"")?;
    ensure!(code == 413 && answer["error"].to_string().contains(&text), "{code} {answer}");
    // One that does not tell its length is read up to the bound.
    let head = format!("POST {path} HTTP/1.1\r\n{allowed}Transfer-Encoding: chunked\r\n");
    let large = " ".repeat(MOST_BYTES + 1);
    let chunked = format!("{:x}\r\n{large}", large.len());
    let (code, answer) = port.send(&head, chunked.as_bytes())?;
    ensure!(code == 413 && answer["error"].to_string().contains(&text), "{code} {answer}");
    // Whoever may not change anything is not listened to at all.
    let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n", port.address(), MOST_BYTES + 1);
    ensure!(port.send(&head, b"")?.0 == 401);
    port.nothing_changed(["running", "running"], "a request too large")?;
    let whole = format!("{{}}{}", " ".repeat(MOST_BYTES - 2));
    let (code, answer) = port.change("pause", &whole)?;
    ensure!(code == 200, "a request as large as it may be: {code} {answer}");
    port.states_are(["paused", "paused"])
}

#[test]
fn a_body_counts_whatever_it_says_it_is_and_one_that_is_not_understood_changes_nothing() -> Result<()> {
    let shared = &shared()?;
    let port = Port::open(shared, "bodies")?;
    for body in [r#"{"partition": 1"#, r#"{"partitions": 1}"#, r#"{"partition": "1"}"#, "partition=1", "[]", "1"] {
        let (code, answer) = port.change("pause", body)?;
        ensure!(code == 400 && answer["error"].to_string().contains("hint: "), "{body}: {code} {answer}");
    }
    let (code, answer) = port.change("pause", r#"{"partition": 7}"#)?;
    ensure!(code == 404 && answer["error"].to_string().contains("/7 is not assigned"), "{code} {answer}");
    let other = "/api/v1/pipelines/nobody/pause";
    let allowed = port.allowed();
    let headers: Vec<_> = allowed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (code, answer) = port.call("POST", other, &headers, "{}")?;
    ensure!(code == 404 && answer["error"].to_string().contains("no pipeline `nobody`"), "{code} {answer}");
    port.nothing_changed(["running", "running"], "a body that is not understood")?;
    // Without a word on what it is: one partition is meant, and not all of them.
    ensure!(port.change("pause", r#"{"partition": 1}"#)?.0 == 200);
    port.states_are(["running", "paused"])
}
