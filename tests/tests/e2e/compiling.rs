//! Handlers are compiled by a process of its own: what it may use, and what is said when it may not.

use std::process::{Command, Output};

use anyhow::Result;
use wasmill_tests::mill;
use wasmill_tests::scratch::Scratch;

/// `wasmill check` of a pipeline with this handler, nothing compiled before.
fn check(handler: &[u8], limit: &str) -> Result<Output> {
    let folder = Scratch::new("compiling")?;
    std::fs::write(folder.path().join("handler.wasm"), handler)?;
    let text = format!(
        "[kafka]\nbootstrap = \"localhost:1\"\n[pipelines.p]\ntopics = [\"t\"]\ngroup = \"g\"\nhandler = \"handler.wasm\"\n\
         on_exhausted = \"stop\"\nlimits.{limit}\n"
    );
    std::fs::write(folder.path().join("wasmill.toml"), text)?;
    let mut check = Command::new(mill::binary()?);
    check.arg("check").current_dir(folder.path()).env("WASMILL_CACHE", folder.path().join("cache"));
    Ok(check.output()?)
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

/// A component that does nothing but hold one function of so many additions: small to read, large to compile.
pub fn long_function(additions: usize) -> Vec<u8> {
    let add = [0x20, 0, 0x41, 7, 0x6a, 0x21, 0]; // local.get 0; i32.const 7; i32.add; local.set 0
    let body = [&[0][..], &add.repeat(additions), &[0x20, 0, 0x0b]].concat();
    let code = [&[1][..], &leb(body.len()), &body].concat();
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f]), // one type: i32 -> i32
        section(3, &[1, 0]),
        section(10, &code),
    ]
    .concat();
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module)].concat()
}

#[test]
fn a_handler_that_is_large_to_compile_ends_its_compiler_and_nothing_else() -> Result<()> {
    // Without this the bound might be one that nothing can keep.
    let small = check(&std::fs::read(mill::guest("echo")?)?, "compile_memory = \"128MiB\"")?;
    assert_eq!(small.status.code(), Some(0), "{}", String::from_utf8_lossy(&small.stdout));
    let large = long_function(150_000);
    let refused = check(&large, "compile_memory = \"128MiB\"")?;
    let said = String::from_utf8_lossy(&refused.stdout);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("128.0 MiB; hint: limits.compile_memory"), "{said}");
    // The same bytes compile where they may: what was refused above was refused for its memory. The compiler comes nearly
    // last where processors are short, so on a busy machine it needs more than the usual time.
    let compiled = check(&large, "compile_memory = \"4GiB\"\nlimits.compile_time = \"15m\"")?;
    let said = String::from_utf8_lossy(&compiled.stdout);
    assert!(said.contains("`handle`") && !said.contains("compile_memory"), "{said}");
    Ok(())
}

#[test]
fn a_handler_that_takes_too_long_to_compile_is_given_up() -> Result<()> {
    let given_up = check(&long_function(1_000_000), "compile_time = \"1s\"")?;
    let said = String::from_utf8_lossy(&given_up.stdout);
    assert_eq!(given_up.status.code(), Some(3), "{said}");
    assert!(said.contains("not compiled within 1s; hint: limits.compile_time"), "{said}");
    Ok(())
}
