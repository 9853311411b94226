//! Commands that run no pipeline: what they need of a configuration, what they find wrong in it, and what becomes of their
//! answer on a disk that is full.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::case::Case;
use wasmill_tests::eye::Message;
use wasmill_tests::mill::{Mill, Options, binary, guest};
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::{shared, unique};

fn wasmill(folder: &Path, words: &[&str]) -> Result<Output> {
    Command::new(binary()?)
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .context("cannot start wasmill")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// A folder with this wasmill.toml.
fn folder(config: &str) -> Result<Scratch> {
    let folder = Scratch::new("tools")?;
    std::fs::write(folder.path().join("wasmill.toml"), config)?;
    Ok(folder)
}

#[test]
fn a_file_with_a_cluster_alone_is_enough_for_topics_messages_and_groups() -> Result<()> {
    let shared = shared()?;
    let topic = unique("cluster-alone");
    let bootstrap = shared.broker.bootstrap();
    // What is wrong elsewhere is for those that run pipelines, and so is a variable that is not set.
    for rest in ["", "[pipelines.broken]\nlanez = 1\nhandler = \"${NOT_SET_ANYWHERE}\"\n"] {
        let folder = folder(&format!("[kafka]\nbootstrap = \"{bootstrap}\"\n{rest}"))?;
        let run = |words: &[&str]| -> Result<String> {
            let done = wasmill(folder.path(), words)?;
            ensure!(done.status.success(), "{words:?}: {}", told(&done));
            Ok(told(&done))
        };
        if rest.is_empty() {
            run(&["topic", "create", &topic, "--partitions", "1"])?;
        }
        run(&["produce", &topic, "--value", "hello"])?;
        let read = run(&["consume", &topic, "--count", "1"])?;
        ensure!(read.contains("hello"), "{read}");
        run(&["topic", "describe", &topic])?;
        run(&["group", "describe", &unique("nobody")]).or_else(|error| {
            // The cluster has been asked.
            let text = error.to_string();
            ensure!(text.contains("nobody"), "{text}");
            Ok(text)
        })?;
    }
    let folder = folder("[kafka]\nbotstrap = \"x:1\"\n[pipelines.p]\nlanez = 1\n")?;
    let refused = wasmill(folder.path(), &["topic", "list"])?;
    let text = told(&refused);
    ensure!(refused.status.code() == Some(2) && text.contains("unknown key `botstrap`"), "{text}");
    ensure!(!text.contains("lanez"), "what is not read is not complained of: {text}");
    Ok(())
}

#[test]
fn a_process_is_asked_through_a_file_that_could_not_be_run() -> Result<()> {
    let shared = shared()?;
    let case = Case::new(&shared.eye, "asked", 1)?;
    let mut mill = Mill::start(&case.options(&shared.broker.bootstrap(), "echo", "")?)?;
    let broken = format!("{}\nlanez = 1\n", case.table("echo", "")?);
    mill.configure(&Options::new(&shared.broker.bootstrap(), broken))?;
    ensure!(mill.command(&["status"])?.contains(&case.name));
    mill.command(&["pause", &case.name])?;
    mill.command(&["resume", &case.name])?;
    ensure!(mill.command(&["reload"]).is_err(), "that is another matter");
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn a_property_that_librdkafka_does_not_take_is_a_mistake_with_its_place() -> Result<()> {
    let shared = shared()?;
    let case = Case::new(&shared.eye, "property", 1)?;
    let (bootstrap, table) = (shared.broker.bootstrap(), case.table("echo", "")?);
    let file = |properties: &str, own: &str| {
        format!("[kafka]\nbootstrap = \"{bootstrap}\"\n[kafka.properties]\n{properties}\n{table}{own}\n")
    };
    for (properties, own, message, line) in [
        ("\"security.protocl\" = \"ssl\"", "", "librdkafka has no property `security.protocl`", 4),
        ("\"security.protocol\" = \"tls\"", "", "`security.protocol`: ", 4),
        ("", "properties = { \"fetch.min.bites\" = 1 }", "librdkafka has no property `fetch.min.bites`", 0),
        ("", "output.properties = { \"batch.num.messages\" = \"many\" }", "`batch.num.messages`: ", 0),
    ] {
        let folder = folder(&file(properties, own))?;
        let checked = wasmill(folder.path(), &["check", "--json", "--no-handlers"])?;
        let answer: Value = serde_json::from_slice(&checked.stdout).with_context(|| told(&checked))?;
        let findings = answer["findings"].as_array().context("no findings")?;
        let finding = findings.iter().find(|one| one["severity"] == "error").context("no mistake")?;
        ensure!(checked.status.code() == Some(2), "{answer}");
        ensure!(finding["message"].as_str().is_some_and(|text| text.starts_with(message)), "{answer}");
        ensure!(finding["file"].is_string() && finding["column"].as_u64() >= Some(1), "{answer}");
        ensure!(line == 0 || finding["line"] == line, "{answer}");
        let run = wasmill(folder.path(), &["run"])?;
        ensure!(run.status.code() == Some(2) && told(&run).contains(message), "{}", told(&run));
    }
    // A tool tries the cluster's, too.
    let topics = wasmill(folder(&file("\"sasl.mechansm\" = \"PLAIN\"", ""))?.path(), &["topic", "list"])?;
    let text = told(&topics);
    ensure!(topics.status.code() == Some(2) && text.contains("did you mean `sasl.mechanism`?"), "{text}");

    // A key that is encrypted, and no password.
    let key = Scratch::new("key")?;
    let path = key.path().join("key.pem");
    std::fs::write(&path, include_str!("../../../host/kafka/tests/encrypted-key.pem"))?;
    let lines = format!("\"security.protocol\" = \"ssl\"\n\"ssl.key.location\" = \"{}\"", path.display());
    let checked = wasmill(folder(&file(&lines, ""))?.path(), &["check", "--no-handlers"])?;
    let text = told(&checked);
    ensure!(checked.status.code() == Some(2) && text.contains("wasmill.toml:5:1"), "{text}");
    ensure!(text.contains("hint: if the key is encrypted, set `ssl.key.password`"), "{text}");

    let mut mill = Mill::start(&case.options(&bootstrap, "echo", "")?)?;
    mill.configure(&case.options(&bootstrap, "echo", "properties = { \"fetch.min.bites\" = 1 }")?)?;
    let refused = format!("{:#}", mill.command(&["reload"]).err().context("it was reloaded")?);
    ensure!(refused.contains("librdkafka has no property `fetch.min.bites`"), "{refused}");
    ensure!(mill.stop()?.success());
    Ok(())
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure_and_a_reader_that_left_is_none() -> Result<()> {
    let shared = shared()?;
    let case = Case::new(&shared.eye, "full", 1)?;
    shared.eye.produce(&case.input, &[Message::new("k", "v").on(0)])?;
    let bootstrap = shared.broker.bootstrap();
    let mut mill = Mill::start(&case.options(&bootstrap, "echo", "")?)?;
    let (config, echo) = (mill.folder().join("wasmill.toml").display().to_string(), guest("echo")?);
    let commands: Vec<Vec<&str>> = vec![
        vec!["--help"],
        vec!["--version"],
        vec!["schema"],
        vec!["reference"],
        vec!["completions", "bash"],
        vec!["check", &config],
        vec!["inspect", &echo],
        vec!["invoke", &echo, "--value", "v"],
        vec!["diff", &echo, &echo, "--topic", &case.input, "--bootstrap", &bootstrap],
        vec!["topic", "list", "--bootstrap", &bootstrap],
        vec!["group", "describe", &case.name, "--bootstrap", &bootstrap],
        vec!["consume", &case.input, "--count", "1", "--bootstrap", &bootstrap],
        vec!["produce", &case.input, "--value", "w", "--bootstrap", &bootstrap],
        vec!["status", "--config", &config],
        vec!["history", &case.name, "--config", &config],
        vec!["reload", "--config", &config],
    ];
    for words in commands {
        let run = |out: Stdio| {
            let mut command = Command::new(binary()?);
            let child = command.args(&words).stdin(Stdio::null()).stdout(out).stderr(Stdio::piped()).spawn()?;
            child.wait_with_output().context("cannot wait for wasmill")
        };
        let full = run(File::options().write(true).open("/dev/full")?.into())?;
        let text = told(&full);
        ensure!(full.status.code() == Some(1), "{words:?} ended with {}: {text}", full.status);
        ensure!(text.contains("cannot write to standard output: No space left on device"), "{words:?}: {text}");
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let left = run(writer.into())?;
        ensure!(left.status.success(), "{words:?} ended with {}: {}", left.status, told(&left));
    }
    ensure!(mill.stop()?.success());
    Ok(())
}
