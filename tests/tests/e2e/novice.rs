//! What somebody meets who types something that cannot work: what is wrong, what to do, and the exit code of the README.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use wasmill_tests::mill::{binary, guest};
use wasmill_tests::ports;
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::shared;
use wasmill_tests::walk::merged;

/// Exit code and standard error of a command in a folder.
fn wasmill(words: &str, folder: &Path, bootstrap: &str) -> Result<(i32, String)> {
    let mut command = Command::new(binary()?);
    command.args(words.split_whitespace()).current_dir(folder).env("WASMILL_BOOTSTRAP", bootstrap).stdin(Stdio::null());
    let done = command.output().context("cannot start wasmill")?;
    let code = done.status.code().with_context(|| format!("`{words}` ended with {}", done.status))?;
    Ok((code, String::from_utf8_lossy(&done.stderr).into_owned()))
}

/// Each command says these things and ends with this code.
fn check(cases: &[(&str, i32, &[&str])], folder: &Path, bootstrap: &str) -> Result<()> {
    for (words, code, said) in cases {
        let (ended, text) = wasmill(words, folder, bootstrap)?;
        ensure!(ended == *code, "`wasmill {words}` ended with {ended}, not with {code}:\n{text}");
        for part in *said {
            ensure!(text.matches(part).count() == 1, "`wasmill {words}` does not say `{part}` once:\n{text}");
        }
    }
    Ok(())
}

#[test]
fn a_command_that_cannot_work_says_what_to_do_instead() -> Result<()> {
    let shared = shared()?;
    let bootstrap = &shared.broker.bootstrap();
    shared.eye.create_topic("novice", 1, &[])?;
    let folder = Scratch::new("novice")?;
    let list = "hint: `wasmill topic list` shows";
    let describe = "hint: `wasmill topic describe` shows";
    check(
        &[
            ("runn", 2, &["a similar subcommand exists: 'run'"]),
            ("run", 2, &["cannot read `wasmill.toml`", "No such file", "hint: name the file or its folder"]),
            ("check .", 2, &["cannot read `./wasmill.toml`", "No such file", "hint: name the file"]),
            ("status", 2, &["cannot read `wasmill.toml`", "hint: name the file"]),
            ("skip p --offset 1", 2, &["skip needs a partition", "hint: add --partition N"]),
            ("produce novice --file none.jsonl", 2, &["cannot read none.jsonl", "No such file"]),
            ("produce no-topic --value a", 1, &["topic no-topic", "UNKNOWN_TOPIC_OR_PART", list]),
            ("consume no-topic", 1, &["topic no-topic", list]),
            ("topic describe no-topic", 1, &["topic no-topic", list]),
            ("topic delete no-topic", 1, &["topic no-topic", list]),
            ("produce novice --value a --partition 9", 1, &["message to novice", describe]),
            ("consume novice --partition 9", 1, &["partition novice/9", describe]),
            ("consume novice --from 99", 1, &[describe]),
            ("group describe no-group", 1, &["group no-group does not exist", "hint:"]),
        ],
        folder.path(),
        bootstrap,
    )?;
    // The cluster may be named behind the words that say what to do.
    check(&[(&format!("topic describe novice --bootstrap {bootstrap}"), 0, &[])], folder.path(), "localhost:1")
}

#[test]
fn a_configuration_that_cannot_run_says_what_to_do_instead() -> Result<()> {
    let shared = shared()?;
    let bootstrap = &shared.broker.bootstrap();
    shared.eye.create_topic("novice-run", 1, &[])?;
    let folder = Scratch::new("novice-run")?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let (taken, free) = (taken.local_addr()?.port(), ports::free()?);
    let good = format!(
        "kafka.bootstrap = {bootstrap:?}\nadmin.listen = \"127.0.0.1:{free}\"\n[pipelines.p]\ntopics = [\"novice-run\"]\n\
         group = \"novice-run\"\nhandler = {:?}\non_exhausted = \"stop\"\n",
        guest("ack")?
    );
    let files = [
        ("absent", "pipelines.p.handler = \"none.wasm\""),
        ("text", "pipelines.p.handler = \"text.toml\""),
        ("empty", "pipelines.p.handler = \"empty.wasm\""),
        ("topic", "pipelines.p.topics = [\"no-topic\"]"),
        ("typo", "pipelines.p.strat = \"earliest\""),
        ("away", "kafka.bootstrap = \"localhost:1\""),
        ("wasmill", ""),
    ];
    for (name, change) in files {
        std::fs::write(folder.path().join(format!("{name}.toml")), merged(&good, change)?)?;
    }
    std::fs::write(folder.path().join("empty.wasm"), "")?;
    let port = format!("run --admin 127.0.0.1:{taken}");
    check(
        &[
            ("run absent.toml", 3, &["handler none.wasm: No such file", "(os error 2); hint: build it first"]),
            ("run text.toml", 3, &["handler text.toml: this is not WebAssembly"]),
            ("run empty.toml", 3, &["handler empty.wasm: this is not WebAssembly: the file is empty"]),
            ("run topic.toml", 3, &["topics that do not exist: no-topic; hint: wasmill topic create no-topic"]),
            ("run typo.toml", 2, &["unknown key `strat`; hint: did you mean `start`?"]),
            ("run --admin 0.0.0.0:1", 2, &["is reached from other machines; hint: write 127.0.0.1:1"]),
            (&port, 3, &["cannot be opened: Address already in use", "hint: another process", "run with --admin"]),
            ("status", 1, &["nothing answers at http://127.0.0.1:", "hint: is `wasmill run` running"]),
        ],
        folder.path(),
        bootstrap,
    )?;
    // The port before came to nothing, and the token was made for it.
    std::fs::remove_dir_all(folder.path().join(".wasmill"))?;
    check(
        &[("pause p", 1, &["cannot read the admin token", "hint: `wasmill run` makes it"])],
        folder.path(),
        bootstrap,
    )?;
    let (code, text) = wasmill("run away.toml", folder.path(), bootstrap)?;
    ensure!(code == 3 && text.contains("cannot reach kafka at localhost:1") && text.contains("hint: see bootstrap"));
    ensure!(text.lines().count() < 30, "a broker that is away floods the screen:\n{text}");
    Ok(())
}
