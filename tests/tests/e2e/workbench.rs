//! `wasmill inspect` and `wasmill invoke`: a handler on the bench, without a cluster.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wasmill_tests::mill::{binary, guest};
use wasmill_tests::scratch::Scratch;

/// What a command came to.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Done {
    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("not JSON: {}\n{}", self.out, self.err))
    }
}

fn wasmill(words: &[&str], input: &str) -> Result<Done> {
    let mut command = Command::new(binary()?);
    // Nothing answers there: whoever asked a cluster would fail.
    command.args(words).env("WASMILL_BOOTSTRAP", "localhost:1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // One that does not read is gone before it is written to.
    child.stdin.take().context("a pipe")?.write_all(input.as_bytes()).ok();
    let done = child.wait_with_output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = done.status.code().with_context(|| format!("{words:?} ended with {}", done.status))?;
    Ok(Done { code, out: text(&done.stdout), err: text(&done.stderr) })
}

/// `invoke --json` of a guest.
fn invoke(name: &str, words: &[&str]) -> Result<(i32, Value)> {
    let done = wasmill(&[&["invoke", &guest(name)?, "--json"], words].concat(), "")?;
    Ok((done.code, done.json()?))
}

/// The verdict on the only message.
fn verdict(told: &Value) -> &Value {
    &told["messages"][0]["verdict"]
}

#[test]
fn inspect_tells_what_a_handler_is_and_what_it_asks_for() -> Result<()> {
    let echo = wasmill(&["inspect", &guest("echo")?, "--json"], "")?;
    let told = echo.json()?;
    assert_eq!((echo.code, &told["accepted"], &told["error"]), (0, &json!(true), &Value::Null), "{told:#}");
    assert_eq!(
        (&told["form"], &told["contract"], &told["world"]),
        (&json!("typed-module"), &json!("0.1.0"), &json!("batches"))
    );
    let bytes = std::fs::read(guest("echo")?)?;
    assert_eq!(told["bytes"], bytes.len());
    let imports = told["imports"].as_array().context("imports")?;
    ensure!(imports.contains(&json!({ "name": "wasmill:handler/outcome@0.1.0", "granted": "always" })), "{told:#}");
    assert_eq!(told["exports"], json!(["init", "handle"]), "{told:#}");
    let made = told["producers"].as_array().context("producers")?;
    ensure!(made.iter().any(|one| one["field"] == "language" && one["name"] == "Rust"), "{told:#}");
    ensure!(made.iter().any(|one| one["name"] == "rustc" && one["version"] != ""), "{told:#}");

    let plain = wasmill(&["inspect", &guest("plain")?, "--json"], "")?.json()?;
    assert_eq!((&plain["accepted"], &plain["world"]), (&json!(true), &json!("messages")));

    let wasi = wasmill(&["inspect", &guest("sleep")?], "")?;
    assert_eq!(wasi.code, 0, "{}", wasi.out);
    let line = |start: &str| wasi.out.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or_default();
    ensure!(line("accepted").ends_with("yes, in a pipeline with grant = [\"clock\"]"), "{}", wasi.out);
    ensure!(line("form").ends_with(" component"), "{}", wasi.out);
    ensure!(!wasi.out.contains("refused"), "what is inside of a component is not what it asks for: {}", wasi.out);
    ensure!(line("wasi:io").ends_with("through WASI") && line("wasmill:").ends_with("always"), "{}", wasi.out);
    ensure!(line("wasi:clocks/monotonic").ends_with("needs grant = [\"clock\"]"), "{}", wasi.out);
    let told = wasmill(&["inspect", &guest("sleep")?, "--json"], "")?.json()?;
    assert_eq!((&told["accepted"], &told["grant"]), (&json!(true), &json!(["clock"])), "{told:#}");
    let imports = told["imports"].as_array().context("imports")?;
    let clock = imports.iter().find(|one| one["granted"] == "if-granted").context("no import needs a grant")?;
    assert_eq!(clock["grant"], "clock", "{told:#}");
    Ok(())
}

#[test]
fn inspect_of_a_file_that_no_pipeline_would_take_says_why_and_ends_with_3() -> Result<()> {
    let folder = Scratch::new("workbench")?;
    let file = |name: &str, bytes: &[u8]| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok(path.display().to_string())
    };
    let whole = std::fs::read(guest("echo")?)?;
    let socket = wat::parse_str(
        r#"(component
            (import "wasi:sockets/tcp@0.2.6" (instance))
            (core module $m (func (export "handle") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "m" u32) (canon lift (core func $i "handle"))))"#,
    )?;
    let bare = wat::parse_str(r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)))"#)?;
    for (path, form, said) in [
        (file("text.wasm", b"\x1b[2Jhello, world")?, "unreadable", r"not WebAssembly: it begins with `\x1b[2J`"),
        (file("empty.wasm", b"")?, "unreadable", "not WebAssembly: the file is empty"),
        (file("truncated.wasm", &whole[..whole.len() / 2])?, "unreadable", "not WebAssembly: unexpected end"),
        (file("bare.wasm", &bare)?, "module", "a core module without a component type; hint: `wasmill build"),
        (file("socket.wasm", &socket)?, "component", "imports `wasi:sockets/tcp@0.2.6`, which no handler gets"),
    ] {
        let done = wasmill(&["inspect", &path, "--json"], "")?;
        let told = done.json()?;
        assert_eq!((done.code, &told["accepted"], &told["form"]), (3, &json!(false), &json!(form)), "{path}: {told:#}");
        ensure!(told["error"].as_str().is_some_and(|error| error.contains(said)), "{path}: {told:#}");
        let done = wasmill(&["inspect", &path], "")?;
        ensure!(done.code == 3 && done.out.contains("no: ") && done.out.contains(said), "{path}: {}", done.out);
        ensure!(!done.out.contains('\x1b'), "{path}: {:?}", done.out);
        // To hand it a message ends in the same words.
        let done = wasmill(&["invoke", &path, "--value", "a"], "")?;
        ensure!(done.code == 3 && done.err.contains(said), "{path}: {}", done.err);
    }
    let told = wasmill(&["inspect", &file("socket.wasm", &socket)?, "--json"], "")?.json()?;
    assert_eq!(told["imports"], json!([{ "name": "wasi:sockets/tcp@0.2.6", "granted": "refused" }]));
    assert_eq!(told["world"], "messages");
    for command in [&["inspect", "none.wasm"][..], &["invoke", "none.wasm", "--value", "a"]] {
        let done = wasmill(command, "")?;
        ensure!(done.code == 2 && done.err.contains("cannot read handler none.wasm"), "{command:?}: {}", done.err);
    }
    Ok(())
}

#[test]
fn invoke_shows_what_an_acknowledged_message_emits() -> Result<()> {
    let words =
        ["--key", "k", "--value", "v", "--header", "h=1", "--topic", "orders", "--partition", "3", "--offset", "7"];
    let (code, told) = invoke("echo", &words)?;
    assert_eq!((code, &told["ok"], verdict(&told)), (0, &json!(true), &json!("ack")), "{told:#}");
    let message = &told["messages"][0];
    assert_eq!(
        (&message["topic"], &message["partition"], &message["offset"]),
        (&json!("orders"), &json!(3), &json!(7))
    );
    let emitted = json!([{ "topic": "output", "key": "k", "value": "v", "headers": { "h": "1" } }]);
    assert_eq!((&message["emitted"], &message["dropped"]), (&emitted, &json!(0)));
    ensure!(message["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0 && seconds < 1.0), "{told:#}");
    let done = wasmill(&[&["invoke", &guest("echo")?][..], &words].concat(), "")?;
    let [first, second] = &done.out.lines().collect::<Vec<_>>()[..] else { anyhow::bail!("{}", done.out) };
    ensure!(first.starts_with("orders/3 @7  k  v  ") && first.ends_with(" ms  ack"), "{first}");
    assert_eq!(*second, "    -> output  k  v  h=1");
    // Where a message goes, and from where it came, is what the options and the message say.
    let message = r#"{"key": null, "value": "v", "headers": {"to": "eu", "to-partition": "2"}, "offset": 9}"#;
    let (code, told) = invoke("route", &["--message", message, "--output", "all", "--output", "eu"])?;
    let emitted = &told["messages"][0]["emitted"][0];
    assert_eq!((code, &emitted["topic"], &emitted["partition"]), (0, &json!("eu"), &json!(2)), "{told:#}");
    assert_eq!((&emitted["key"], &emitted["headers"]["routed-from"]), (&Value::Null, &json!("input/0/9")));
    let (code, told) = invoke("route", &["--message", message, "--output", "all"])?;
    assert_eq!((code, verdict(&told)), (1, &json!("reject")), "a topic that is not granted is none: {told:#}");
    Ok(())
}

#[test]
fn invoke_shows_a_message_that_is_not_acknowledged_and_ends_with_1() -> Result<()> {
    let (code, told) = invoke("reject", &["--value", "v", "--config", "reason=no \x1b[31mcolour"])?;
    let message = &told["messages"][0];
    assert_eq!((code, &told["ok"], verdict(&told)), (1, &json!(false), &json!("reject")), "{told:#}");
    assert_eq!(message["reason"], r"no \u{1b}[31mcolour");
    assert_eq!((&message["emitted"], &message["dropped"]), (&json!([]), &json!(1)), "nothing of it is published");
    assert_eq!(message["given_up"], json!({ "class": "rejected", "attempts": 1 }));

    let (code, told) = invoke("retry", &["--value", "v", "--config", "after_ms=2500"])?;
    assert_eq!((code, verdict(&told)), (1, &json!("retry")));
    assert_eq!(told["messages"][0]["again"], json!({ "after_ms": 2500, "attempt": 2 }), "{told:#}");
    let (_, told) = invoke("retry", &["--value", "v", "--attempt", "5"])?;
    let end = json!({ "class": "retries-exhausted", "attempts": 5 });
    assert_eq!(told["messages"][0]["given_up"], end, "the default policy has no sixth attempt: {told:#}");
    let (code, told) = invoke("retry", &["--value", "v", "--attempt", "2", "--config", "until_attempt=2"])?;
    assert_eq!((code, verdict(&told)), (0, &json!("ack")));

    let done = wasmill(&["invoke", &guest("trap")?, "--value", "v"], "")?;
    ensure!(
        done.code == 1 && done.out.contains("retry in 100ms, attempt 2: trap: the handler trapped: "),
        "{}",
        done.out
    );
    ensure!(done.out.contains("blow_up"), "a backtrace names the function: {}", done.out);
    let (_, told) = invoke("trap", &["--value", "v"])?;
    assert_eq!(verdict(&told), "trap");
    ensure!(told["messages"][0]["backtrace"].as_str().is_some_and(|frames| frames.contains("blow_up")), "{told:#}");

    let (code, told) = invoke("panic", &["--value", "v", "--offset", "41"])?;
    assert_eq!((code, verdict(&told)), (1, &json!("trap")));
    let reason = told["messages"][0]["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("executed: panicked at ") && reason.contains(": cannot bear offset 41"), "{told:#}");
    let line = &told["messages"][0]["log"][0];
    ensure!(
        line["level"] == "error" && line["text"].as_str().is_some_and(|text| text.contains("offset 41")),
        "{told:#}"
    );
    Ok(())
}

#[test]
fn invoke_bounds_a_handler_as_a_pipeline_does_and_as_its_options_say() -> Result<()> {
    let (code, told) = invoke("spin", &["--value", "v", "--time", "50ms"])?;
    assert_eq!((code, verdict(&told)), (1, &json!("deadline")), "{told:#}");
    let reason = told["messages"][0]["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("50ms"), "the option's bound, not the default: {told:#}");
    let (code, told) = invoke("hoard", &["--value", "v", "--memory", "8MiB", "--time", "10s"])?;
    assert_eq!((code, verdict(&told)), (1, &json!("memory")), "{told:#}");
    let reason = told["messages"][0]["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains(&(8 << 20).to_string()), "{told:#}");
    for (option, typed) in [("--time", "5"), ("--memory", "much")] {
        let done = wasmill(&["invoke", &guest("spin")?, "--value", "v", option, typed], "")?;
        ensure!(done.code == 2 && done.err.contains(&format!("{option} {typed}: ")), "{}", done.err);
        ensure!(done.err.contains("hint: write "), "{}", done.err);
    }
    Ok(())
}

#[test]
fn a_handler_that_asks_for_a_clock_is_refused_where_none_is_granted_with_what_to_write() -> Result<()> {
    let words = ["--value", "v", "--config", "ms=1"];
    let (code, told) = invoke("sleep", &words)?;
    let refused = told["error"].as_str().unwrap_or_default();
    ensure!(code == 3 && refused.contains("imports `wasi:clocks/monotonic-clock@0.2."), "{told:#}");
    ensure!(refused.ends_with("hint: --grant clock"), "{told:#}");
    let (code, told) = invoke("sleep", &[&words[..], &["--grant", "random,clock"]].concat())?;
    assert_eq!((code, verdict(&told)), (0, &json!("ack")), "{told:#}");
    let (code, _) = invoke("sleep", &[&words[..], &["--grant", "clock"]].concat())?;
    assert_eq!(code, 0);
    let wrong = wasmill(&["invoke", &guest("sleep")?, "--value", "v", "--grant", "clocks"], "")?;
    ensure!(wrong.code == 2 && wrong.err.contains("[possible values: clock, random]"), "{}", wrong.err);

    let folder = Scratch::new("grants")?;
    let path = folder.path().join("wasmill.toml");
    for (command, grant, code, said) in [
        ("check", "", 3, "hint: add `grant = [\"clock\"]` to the pipeline's table"),
        ("check", "grant = [\"random\"]", 3, "hint: add `grant = [\"clock\", \"random\"]` to the pipeline's table"),
        ("check", "grant = [\"clock\"]", 0, "1 pipeline(s)"),
        ("check", "grant = [\"clocks\"]", 2, "did you mean \"clock\"?"),
    ] {
        let text = format!(
            "[kafka]\nbootstrap = \"localhost:1\"\n[pipelines.p]\ntopics = [\"t\"]\ngroup = \"g\"\nhandler = \"{}\"\n\
             on_exhausted = \"stop\"\n{grant}\n",
            guest("sleep")?
        );
        std::fs::write(&path, text)?;
        let done = wasmill(&[command, &path.display().to_string()], "")?;
        ensure!(done.code == code && done.out.contains(said), "{grant}: {} {}{}", done.code, done.out, done.err);
    }
    Ok(())
}

#[test]
fn invoke_takes_several_messages_and_lines_of_standard_input() -> Result<()> {
    let plain = guest("plain")?;
    let lines =
        "{\"value\": \"one\"}\n\n{\"value\": \"!two\", \"offset\": 40, \"topic\": \"other\"}\n{\"value\": \"@eu\"}\n";
    let words = ["invoke", &plain, "--json", "--output", "all", "--output", "eu", "--message", "-"];
    let done = wasmill(&words, lines)?;
    let told = done.json()?;
    let all = told["messages"].as_array().context("messages")?;
    let verdicts: Vec<_> = all.iter().map(|one| (one["verdict"].as_str(), one["offset"].as_i64())).collect();
    assert_eq!(verdicts, [(Some("ack"), Some(0)), (Some("reject"), Some(40)), (Some("ack"), Some(1))], "{told:#}");
    assert_eq!((done.code, &all[1]["topic"]), (1, &json!("other")));
    assert_eq!((&all[0]["emitted"][0]["value"], &all[2]["emitted"][0]["topic"]), (&json!("ONE"), &json!("eu")));
    assert_eq!(told["start"]["log"], json!([{ "level": "info", "text": "alone has 0 settings" }]));
    let done = wasmill(&["invoke", &plain, "--message", "{\"value\": \"a\"}", "--message", "{\"value\": \"b\"}"], "")?;
    ensure!(done.code == 0 && done.out.contains("  A\n") && done.out.contains("  B\n"), "{}", done.out);

    for (words, said) in [
        (&["--message", "-"][..], "standard input:1: unknown key `kye`"),
        (&["--message", "{\"kye\": 1}"], "--message {\"kye\": 1}: unknown key `kye`"),
        (&[], "no message; hint: --value TEXT"),
        (&["--message", "-", "--offset", "x"], "invalid value 'x' for '--offset <N>'"),
        (&["--value", "a", "--message", "{}"], "cannot be used with"),
        (&["--value", "a", "--config", "x"], "config `x` has no `=`; hint: write --config name=value"),
    ] {
        let done = wasmill(&[&["invoke", &plain][..], words].concat(), "{\"kye\": 1}\n")?;
        ensure!(done.code == 2 && done.err.contains(said), "{words:?}: {} {}", done.code, done.err);
    }
    Ok(())
}

#[test]
fn invoke_hands_a_message_that_traps_on_a_used_instance_over_once_more() -> Result<()> {
    let with_prefix = ["--config", "when=value-prefix"];
    let values = ["--message", r#"{"value": "a"}"#, "--message", r#"{"value": "!"}"#, "--message", r#"{"value": "b"}"#];
    let (code, told) = invoke("trap", &[&with_prefix[..], &values].concat())?;
    let all = told["messages"].as_array().context("messages")?;
    let verdicts: Vec<_> = all.iter().map(|one| one["verdict"].as_str().unwrap_or_default()).collect();
    assert_eq!((code, &verdicts[..]), (1, &["ack", "trap", "ack"][..]), "{told:#}");
    assert_eq!(all[1]["before"]["verdict"], "trap", "the first call says nothing of the message: {told:#}");
    // The message alone meets a new instance, and there is no other call to tell of.
    let (_, told) = invoke("trap", &[&with_prefix[..], &["--value", "!"]].concat())?;
    assert_eq!((verdict(&told), &told["messages"][0]["before"]), (&json!("trap"), &Value::Null));
    Ok(())
}

#[test]
fn invoke_of_a_handler_that_does_not_start_ends_with_3() -> Result<()> {
    let init_fails = guest("init_fails")?;
    let done = wasmill(&["invoke", &init_fails, "--value", "v", "--config", "reason=not today"], "")?;
    ensure!(done.code == 3 && done.err.contains("the handler refused to start: not today"), "{}", done.err);
    let (code, told) = invoke("init_fails", &["--value", "v", "--config", "how=panic"])?;
    assert_eq!((code, &told["ok"], &told["messages"]), (3, &json!(false), &json!([])), "{told:#}");
    ensure!(
        told["error"].as_str().is_some_and(|error| error.contains("trapped while starting: the handler trapped: ")),
        "{told:#}"
    );
    ensure!(told["error"].as_str().is_some_and(|error| error.contains(": cannot bear to start")), "{told:#}");
    let line = &told["start"]["log"][0]["text"];
    ensure!(line.as_str().is_some_and(|text| text.contains("cannot bear to start")), "{told:#}");
    Ok(())
}

#[test]
fn what_a_handler_logs_is_shown_bounded_and_cannot_move_the_cursor() -> Result<()> {
    let (code, told) = invoke("chatter", &["--value", "v", "--config", "lines=3"])?;
    let log = told["messages"][0]["log"].as_array().context("log")?;
    ensure!(code == 0 && log.len() == 3 && log.iter().all(|line| line["level"] == "info"), "{told:#}");
    let words = ["--value", "\x1b[2J", "--config", "lines=500", "--config", "bytes=100000"];
    let done = wasmill(&[&["invoke", &guest("chatter")?, "--time", "10s"][..], &words].concat(), "")?;
    ensure!(done.code == 0 && !done.out.contains('\x1b') && !done.out.contains('\u{202e}'), "it steers the terminal");
    ensure!(done.out.contains(r"    info  0 \u{1b}[31mred\r\n\u{202e} xxx"), "{:?}", done.out.get(..300));
    // So many lines a second, each cut. All of them whole would be 50 MB.
    ensure!(done.out.len() < 10_000_000, "{} bytes", done.out.len());
    Ok(())
}
