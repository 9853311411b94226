//! `wasmill new`, `build`, `test` and `capture`: what they refuse and how, and a message of a topic that becomes a test. What
//! they do in each language: tests/languages.rs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::case::Case;
use wasmill_tests::eye::Message;
use wasmill_tests::mill::{binary, guest};
use wasmill_tests::scratch::Scratch;
use wasmill_tests::shared::shared;

/// Exit code, and everything that was said.
fn wasmill(folder: &Path, words: &[&str]) -> Result<(i32, String)> {
    run(Command::new(binary()?).current_dir(folder).args(words))
}

fn run(command: &mut Command) -> Result<(i32, String)> {
    let done = command.env_remove("CARGO_TARGET_DIR").env("WASMILL_BOOTSTRAP", "localhost:1").output()?;
    let code = done.status.code().with_context(|| format!("ended with {}", done.status))?;
    Ok((code, String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)))
}

/// A folder with a pipeline over a guest, and these cases.
fn project(name: &str, handler: &str, lines: &str, cases: &str) -> Result<Scratch> {
    let folder = Scratch::new(name)?;
    let text = format!(
        "[kafka]\nbootstrap = \"localhost:1\"\n[pipelines.p]\ntopics = [\"in\"]\ngroup = \"g\"\nhandler = \"{}\"\n\
         output = \"out\"\non_exhausted = \"stop\"\n{lines}\n",
        guest(handler)?
    );
    std::fs::write(folder.path().join("wasmill.toml"), text)?;
    std::fs::create_dir(folder.path().join("cases"))?;
    std::fs::write(folder.path().join("cases/a.toml"), cases)?;
    Ok(folder)
}

#[test]
fn a_tool_that_is_not_there_is_named_with_what_installs_it() -> Result<()> {
    let folder = Scratch::new("no-tools")?;
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty)?;
    for (language, tool, hint) in [
        ("rust", "cargo", "rustup"),
        ("go", "go", "go.dev/dl"),
        ("python", "componentize-py", "pip install componentize-py=="),
        ("javascript", "npm", "nodejs.org"),
        ("typescript", "npm", "nodejs.org"),
        ("c", "zig", "pip install ziglang=="),
        ("cpp", "zig", "pip install ziglang=="),
        ("zig", "zig", "pip install ziglang=="),
        ("assemblyscript", "npm", "nodejs.org"),
    ] {
        let (code, said) = wasmill(folder.path(), &["new", language, language])?;
        assert_eq!(code, 0, "{said}");
        let mut build = Command::new(binary()?);
        build.current_dir(folder.path()).args(["build", language]).env("PATH", &empty);
        let (code, said) = run(&mut build)?;
        assert_eq!(code, 3, "{language}: {said}");
        ensure!(said.contains(&format!("is compiled with {tool}, which is not there; hint: ")), "{language}: {said}");
        ensure!(said.contains(hint), "{language}: {said}");
    }
    Ok(())
}

#[test]
fn a_project_is_not_made_over_another_nor_under_a_name_that_is_none() -> Result<()> {
    let folder = Scratch::new("new")?;
    assert_eq!(wasmill(folder.path(), &["new", "c", "mask"])?.0, 0);
    let (code, said) = wasmill(folder.path(), &["new", "go", "mask"])?;
    ensure!(code == 2 && said.contains("mask is there already and not empty"), "{code} {said}");
    let (code, said) = wasmill(folder.path(), &["new", "go", "Mask Orders"])?;
    ensure!(code == 2 && said.contains("`Mask Orders` is no name for a handler; hint: "), "{code} {said}");
    let (code, said) = wasmill(folder.path(), &["new", "cobol", "mask-2"])?;
    ensure!(code == 2 && said.contains("cobol") && said.contains("python"), "{code} {said}");
    ensure!(!folder.path().join("Mask Orders").exists() && !folder.path().join("mask-2").exists());
    let (code, said) = wasmill(folder.path(), &["build"])?;
    ensure!(code == 2 && said.contains("is no handler's project; hint: "), "{code} {said}");
    let (code, said) = wasmill(folder.path(), &["build", "nowhere"])?;
    ensure!(code == 2 && said.contains("nowhere is neither a folder nor a file"), "{code} {said}");
    Ok(())
}

#[test]
fn a_handler_that_does_not_compile_leaves_the_last_one_that_did() -> Result<()> {
    let folder = Scratch::new("broken")?;
    let project = folder.path().join("mask");
    assert_eq!(wasmill(folder.path(), &["new", "rust", "mask"])?.0, 0);
    let (code, said) = wasmill(&project, &["build", "--json"])?;
    let told: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    ensure!(code == 0 && told["language"] == "rust" && told["world"] == "batches", "{told:#}");
    let before = std::fs::read(project.join("build/handler.wasm"))?;
    ensure!(told["bytes"] == before.len(), "{told:#}");
    let source = project.join("src/lib.rs");
    let text = std::fs::read_to_string(&source)?;
    std::fs::write(&source, text.replace("message.text()?", "message.tex()?"))?;
    let (code, said) = wasmill(&project, &["build"])?;
    ensure!(code == 1 && said.contains("tex") && said.contains("src/lib.rs:"), "the compiler's words: {code} {said}");
    assert_eq!(std::fs::read(project.join("build/handler.wasm"))?, before);
    Ok(())
}

#[test]
fn a_module_of_any_compiler_becomes_a_component() -> Result<()> {
    let folder = Scratch::new("module")?;
    let path = folder.path().join("module.wasm");
    let text = r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
        (func (export "init") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0))
        (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (local.get 7)))"#;
    std::fs::write(&path, wat::parse_str(text)?)?;
    let (code, said) = wasmill(folder.path(), &["invoke", "module.wasm", "--value", "v"])?;
    ensure!(code == 3 && said.contains("hint: `wasmill build FILE.wasm`"), "{code} {said}");
    let (code, said) = wasmill(folder.path(), &["build", "module.wasm"])?;
    ensure!(code == 0 && said.contains("module.component.wasm"), "{code} {said}");
    let (code, said) = wasmill(folder.path(), &["invoke", "module.component.wasm", "--value", "v"])?;
    ensure!(code == 0 && said.contains("ack"), "{code} {said}");
    std::fs::write(&path, "text")?;
    let (code, said) = wasmill(folder.path(), &["build", "module.wasm"])?;
    ensure!(code == 1 && said.contains("not WebAssembly"), "{code} {said}");
    Ok(())
}

#[test]
fn a_case_file_that_is_wrong_is_named_with_its_mistake() -> Result<()> {
    let folder = project("cases", "echo", "", "[[case]]\nname = \"a\"\n[[case.message]]\nvalu = \"v\"\n")?;
    let (code, said) = wasmill(folder.path(), &["test"])?;
    ensure!(code == 1 && said.contains("message 1 of `a`: unknown key `valu`"), "{code} {said}");
    let cases = folder.path().join("cases/a.toml");
    std::fs::write(&cases, "[[case]]\nname = \"a\"\nconfg = 1\n")?;
    let (code, said) = wasmill(folder.path(), &["test"])?;
    ensure!(code == 2 && said.contains("cases/a.toml") && said.contains("confg"), "{code} {said}");
    std::fs::write(&cases, "pipeline = \"q\"\n[[case]]\nname = \"a\"\n")?;
    let (code, said) = wasmill(folder.path(), &["test"])?;
    ensure!(code == 2 && said.contains("there is no pipeline `q`; hint: wasmill.toml has p"), "{code} {said}");
    std::fs::write(&cases, "[[case]]\nname = \"a\"\n[[case.message]]\nvalue = \"v\"\nexpect.forwarded = true\n")?;
    let (code, said) = wasmill(folder.path(), &["test", "--only", "b"])?;
    ensure!(code == 2 && said.contains("no case has `b` in its name"), "{code} {said}");
    assert_eq!(wasmill(folder.path(), &["test", "--only", "a.toml"])?.0, 0);
    std::fs::remove_file(&cases)?;
    let (code, said) = wasmill(folder.path(), &["test"])?;
    ensure!(code == 2 && said.contains("there are no cases in ./cases; hint: "), "{code} {said}");
    Ok(())
}

#[test]
fn a_message_of_a_topic_becomes_a_test() -> Result<()> {
    let shared = shared()?;
    let case = Case::new(&shared.eye, "capture", 2)?;
    let message = |value: &str| Message::new("k", value).on(1);
    shared.eye.produce(&case.input, &[message("a"), message("!b"), message("c\n\"d\"")])?;
    let lines = "config = { when = \"value-prefix\", prefix = \"!\" }";
    let folder = project("capture", "reject", lines, "[[case]]\nname = \"nothing\"\n")?;
    let place = ["--topic", &case.input, "--partition", "1", "--offset", "1", "--count", "20", "--name", "from topic"];
    let capture = |more: &[&str]| -> Result<(i32, String)> {
        let mut command = Command::new(binary()?);
        command.current_dir(folder.path()).arg("capture").args(place).args(more);
        run(command.args(["--bootstrap", &shared.broker.bootstrap()]))
    };
    let (code, said) = capture(&[])?;
    ensure!(
        code == 0 && said.contains("2 of 20 messages in") && said.contains("--bless --only from-topic.toml"),
        "{code} {said}"
    );
    let file = folder.path().join("cases/from-topic.toml");
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.contains("offset = 1") && text.contains("!b"), "{text}");
    let (code, said) = capture(&[])?;
    ensure!(code == 2 && said.contains("is there already; hint: "), "{code} {said}");

    // Nobody said what is expected: that is no pass.
    let (code, said) = wasmill(folder.path(), &["test"])?;
    ensure!(code == 1 && said.contains("no expectation; hint: `wasmill test --bless`"), "{code} {said}");
    let (code, said) = wasmill(folder.path(), &["test", "--bless"])?;
    ensure!(code == 0 && said.contains("1 blessed"), "{code} {said}");
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.contains("expect.verdict = \"reject\"") && text.contains("expect.verdict = \"ack\""), "{text}");
    assert_eq!(wasmill(folder.path(), &["test"])?.0, 0);

    // With another setting the handler does something else, which the case notices.
    let config = folder.path().join("wasmill.toml");
    std::fs::write(&config, std::fs::read_to_string(&config)?.replace("prefix = \"!\"", "prefix = \"c\""))?;
    let (code, said) = wasmill(folder.path(), &["test"])?;
    ensure!(code == 1 && said.contains("- verdict reject") && said.contains("+ verdict ack"), "{code} {said}");

    // Beyond the end there is nothing.
    let mut command = Command::new(binary()?);
    command.current_dir(folder.path()).args(["capture", "--topic", &case.input, "--partition", "1", "--offset", "3"]);
    let (code, said) = run(command.args(["--bootstrap", &shared.broker.bootstrap()]))?;
    ensure!(code == 1 && said.contains("there is no message at"), "{code} {said}");
    Ok(())
}
