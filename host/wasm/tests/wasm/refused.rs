//! Plugins that are refused when they are loaded, and what the refusal says.

use wasmill_wasm::{Engine, EngineOptions};

use crate::guest::*;

/// A contract with another world in it, for components that were made for something else.
const OTHER: &str = "
    package wasmill:handler@0.1.0;
    interface outcome { fail: func(message: u32, retry-after: option<u32>, reason: string); }
    interface log { write: func(text: string); }
    interface sockets { connect: func(); }
    world neither { export run: func(); }
    world empty { }
    world odd { export handle: func(a: u32, b: u32); export init: func(); }
    world wrong { export handle: func(a: u32, b: s32, c: list<u8>, d: list<u8>, e: u32, f: u32) -> u32; }
    world sockets-too { import sockets; export handle: func(a: u32, b: s32, c: list<u8>, d: list<u32>, e: u32, f: u32) -> u32; }
    world logs { import log; export init: func(c: u32) -> u32; export handle: func(a: u32, b: s32, c: list<u8>, d: list<u32>, e: u32, f: u32) -> u32; }
    world both { import outcome; export handle: func(a: u32); }
    world root { import call-me: func(); export handle: func(a: u32); }
    world half { export handle: func(a: u32, b: s32, c: list<u8>, d: list<u32>, e: u32, f: u32) -> u32; }
";

const REALLOC: &str =
    r#"(memory (export "memory") 1) (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;
const HANDLE: &str = r#"(func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0))"#;

fn refusal(world: &str, body: &str) -> String {
    let module = of_wit(OTHER, world, &format!("(module {body} {REALLOC})"));
    ENGINE.load(&module).expect_err("the plugin is refused").to_string()
}

#[test]
fn what_is_no_webassembly_is_refused() {
    for bytes in [&b""[..], b"hello, world", b"\0asm\x01\0\0\0\xff"] {
        let said = ENGINE.load(bytes).unwrap_err().to_string();
        assert!(said.contains("not WebAssembly"), "{said}");
    }
}

#[test]
fn a_module_of_no_world_is_refused() {
    let said = ENGINE.load(&wat::parse_str("(module)").unwrap()).unwrap_err().to_string();
    assert!(said.contains("core module without a component type") && said.contains("hint: "), "{said}");
}

#[test]
fn a_plugin_that_is_too_large_is_refused_before_it_is_read() {
    let engine = Engine::new(&EngineOptions { plugin_bytes: 10, ..EngineOptions::default() }).unwrap();
    let said = engine.load(&[0; 11]).unwrap_err().to_string();
    assert_eq!(said, "the plugin has 11 bytes; at most 10 are accepted");
}

#[test]
fn a_plugin_of_neither_world_is_refused() {
    let said = refusal("neither", r#"(func (export "run"))"#);
    assert!(said.contains("exports no function `handle`; it exports `run`"), "{said}");
    let said = refusal("empty", "");
    assert!(said.contains("it exports nothing"), "{said}");
    let said = refusal("half", HANDLE);
    assert!(said.contains("exports no function `init`"), "{said}");
}

#[test]
fn an_export_of_another_type_is_refused() {
    let said = refusal("odd", r#"(func (export "handle") (param i32 i32)) (func (export "init"))"#);
    assert!(said.contains("`handle` fits neither world") && said.contains("takes 2 parameters"), "{said}");
    let said = refusal("wrong", HANDLE);
    assert!(said.contains("`handle` fits neither world") && said.contains("u32"), "{said}");
    let log = r#"(import "wasmill:handler/log@0.1.0" "write" (func (param i32 i32)))"#;
    let init = r#"(func (export "init") (param i32) (result i32) (i32.const 0))"#;
    let said = refusal("logs", &format!("{log} {HANDLE} {init}"));
    assert!(said.contains("`init` fits neither world"), "{said}");
}

#[test]
fn an_import_that_no_handler_gets_is_refused_by_name() {
    let import = r#"(import "wasmill:handler/sockets@0.1.0" "connect" (func))"#;
    let said = refusal("sockets-too", &format!("{import} {HANDLE}"));
    assert!(said.contains("imports `wasmill:handler/sockets@0.1.0`, which no handler gets"), "{said}");
    assert!(said.contains("wasmill:handler/topics@0.1.0"), "what would be allowed: {said}");
    let said = refusal("root", r#"(import "$root" "call-me" (func)) (func (export "handle") (param i32))"#);
    assert!(said.contains("imports `call-me`, which no handler gets"), "{said}");
    assert!(!said.contains("outcome"), "that belongs to the other world: {said}");
}

#[test]
fn a_plugin_of_both_worlds_is_refused() {
    let import = r#"(import "wasmill:handler/outcome@0.1.0" "fail" (func (param i32 i32 i32 i32 i32)))"#;
    let said = refusal("both", &format!(r#"{import} (func (export "handle") (param i32))"#));
    assert!(said.contains("lives in one world") && said.contains("outcome@0.1.0"), "{said}");
}

#[test]
fn a_plugin_that_was_made_for_another_version_is_refused() {
    let wit = include_str!("../../../../wit/handler.wit").replace("@0.1.0", "@0.2.0");
    let wat = include_str!("script.wat").replace("@0.1.0", "@0.2.0");
    let said = ENGINE.load(&of_wit(&wit, "batches", &wat)).unwrap_err().to_string();
    assert!(said.contains("@0.2.0`, which no handler gets") && said.contains("log@0.1.0"), "{said}");
}

#[test]
fn code_that_is_not_valid_is_refused() {
    let said = refusal(
        "odd",
        r#"(func (export "handle") (param i32 i32) (drop (i64.add (i32.const 1) (i32.const 2)))) (func (export "init"))"#,
    );
    assert!(said.contains("cannot turn the core module into a component") && said.contains("type mismatch"), "{said}");
    // As a component already, it gets as far as the compiler.
    let component = wat::parse_str("(component (core module (func (result i32))))").unwrap();
    let said = ENGINE.load(&component).unwrap_err().to_string();
    assert!(said.contains("cannot compile the plugin") && said.contains("type mismatch"), "{said}");
}

#[test]
fn compiled_code_is_kept_in_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("code");
    let options = EngineOptions { cache_directory: Some(path.clone()), ..EngineOptions::default() };
    let load = || Engine::new(&options).unwrap().load(&module("batches", include_str!("script.wat"))).unwrap();
    let files = || walk(&path);
    let first = load();
    let kept = files();
    assert_eq!(kept, 1, "one file of code");
    let second = load();
    assert_eq!((files(), first.digest()), (1, second.digest()));
    assert_eq!(second.instantiate(&spec(limits()).0).unwrap().handle(0, 0, &batch(&[vec![]])).unwrap(), 1);
}

/// Files of compiled code below a directory; the cache keeps notes about them in files with an ending.
fn walk(path: &std::path::Path) -> usize {
    std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { walk(&path) } else { usize::from(path.extension().is_none()) })
        .sum()
}
