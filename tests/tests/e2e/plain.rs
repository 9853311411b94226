//! `examples/plain`: handlers without an SDK. What its README says of the one that is written by hand is typed in.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use wasmill_tests::mill::binary;
use wasmill_tests::scratch::Scratch;
use wasmill_tests::walk::{all_match, blocks, plain};

const EXAMPLE: &str = "examples/plain";

/// A copy of `wat/`, so that nothing is left in the clone.
fn folder() -> Result<Scratch> {
    let source = wasmill_setup::process::root().join(EXAMPLE).join("wat");
    let folder = Scratch::new("plain")?;
    std::fs::create_dir(folder.path().join("cases"))?;
    for file in ["handler.wat", "wasmill.toml", "samples.jsonl", "cases/handler.toml"] {
        std::fs::copy(source.join(file), folder.path().join(file)).context(file)?;
    }
    Ok(folder)
}

/// Exit code and all that is printed.
fn wasmill(folder: &Scratch, words: &[&str]) -> Result<(Option<i32>, String)> {
    let done = Command::new(binary()?).args(words).current_dir(folder.path()).output()?;
    let text = [done.stderr, done.stdout].concat();
    Ok((done.status.code(), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn the_readme_of_plain_shows_what_is_printed() -> Result<()> {
    let readme = std::fs::read_to_string(wasmill_setup::process::root().join(EXAMPLE).join("README.md"))?;
    let folder = folder()?;
    let lines = |text: &str| text.lines().map(plain).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    let mut commands = 0;
    for block in blocks(&readme).iter().filter(|block| block.language == "console") {
        for talk in block.lines.join("\n").split("$ ").skip(1) {
            let (command, expected) = talk.split_once('\n').unwrap_or((talk, ""));
            let words: Vec<&str> = command.split_whitespace().collect();
            ensure!(words[0] == "wasmill", "README.md:{}: `{command}` is typed by nobody", block.line);
            let (code, printed) = wasmill(&folder, &words[1..])?;
            ensure!(
                code == Some(0) && all_match(&lines(expected), &lines(&printed)),
                "README.md:{}: `{command}` ended with {code:?}; expected:\n{expected}\nprinted:\n{printed}",
                block.line
            );
            commands += 1;
        }
    }
    ensure!(commands == 3, "{commands} commands");
    Ok(())
}

#[test]
fn a_handler_in_text_is_rebuilt_by_whoever_tests_it_and_refused_with_the_place() -> Result<()> {
    let folder = folder()?;
    let source = folder.path().join("handler.wat");
    let text = std::fs::read_to_string(&source)?;
    // The subtraction that makes a small letter a capital.
    std::fs::write(&source, text.replace("(i32.sub (local.get $byte) (i32.const 32))", "(local.get $byte)"))?;
    let (code, printed) = wasmill(&folder, &["test"])?;
    ensure!(code == Some(1) && printed.contains("2 failed"), "{code:?} {printed}");
    std::fs::write(&source, text.replace("i32.and", "i32.nad"))?;
    let (code, printed) = wasmill(&folder, &["build", "handler.wat"])?;
    ensure!(code == Some(1) && printed.contains("this is no WebAssembly text: unknown operator"), "{code:?} {printed}");
    ensure!(printed.contains("--> the text:") && printed.contains("(i32.nad "), "{printed}");
    Ok(())
}
