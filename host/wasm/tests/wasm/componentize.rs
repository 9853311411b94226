//! Core modules as compilers leave them, and WebAssembly in text, made components.

use wasmill_core::{Grant, Grants};
use wasmill_wasm::{Form, LoadError, World, componentize, inspect, note_language};

use crate::guest::*;

/// The module of preview1.wat, which traps unless the time of day is as `wall` says.
fn preview1(wall: &str) -> Vec<u8> {
    wat::parse_str(include_str!("preview1.wat").replace("WALL", wall)).unwrap()
}

#[test]
fn what_nobody_grants_the_adapter_answers_by_itself() {
    let module = preview1("(i64.eq (local.get $wall) (i64.const 1000))");
    let component = componentize(&module, Grants::NONE).unwrap();
    let found = inspect(&component);
    assert_eq!((found.form, found.needs()), (Form::Component, Grants::NONE));
    let plugin = ENGINE.load(&component).unwrap();
    let (spec, lines) = spec(limits());
    let mut instance = plugin.instantiate(&spec).unwrap();
    let batch = batch(&[b"a".to_vec(), b"b".to_vec()]);
    assert_eq!(instance.handle(0, 0, &batch).unwrap(), 2);
    assert_eq!(lines.texts(), ["hello", "\u{fffd}rest"]);
}

#[test]
fn with_grants_it_asks_the_host() {
    // 2017 is past, whatever the machine's clock says.
    let module = preview1("(i64.gt_u (local.get $wall) (i64.const 1500000000000000000))");
    let component = componentize(&module, Grants::ALL).unwrap();
    assert_eq!(inspect(&component).needs(), Grants::ALL);
    let (mut spec, _) = spec(limits());
    spec.grants = Grants::ALL;
    ENGINE.load(&component).unwrap().instantiate(&spec).unwrap();
    for ask in Grant::ALL.map(|one| Grants::NONE.with(one)) {
        assert_eq!(inspect(&componentize(&module, ask).unwrap()).needs(), ask);
    }
}

#[test]
fn a_component_stays_as_it_is_and_a_module_without_a_handle_is_named() {
    let component = componentize(&preview1("(i32.const 1)"), Grants::NONE).unwrap();
    assert_eq!(componentize(&component, Grants::NONE).unwrap(), component);
    let module = wat::parse_str(r#"(module (func (export "main")))"#).unwrap();
    let said = componentize(&module, Grants::NONE).unwrap_err();
    assert!(matches!(said, LoadError::NoExport { name: "handle", .. }), "{said}");
    assert!(said.to_string().contains("it exports `main`"), "{said}");
    let said = componentize(b"no wasm", Grants::NONE).unwrap_err().to_string();
    assert!(said.contains("not WebAssembly"), "{said}");
}

#[test]
fn an_import_that_nobody_answers_is_named() {
    let text = include_str!("preview1.wat").replace("WALL", "(i32.const 1)");
    let text = text.replacen("(memory", r#"(import "env" "call_home" (func)) (memory"#, 1);
    let said = componentize(&wat::parse_str(text).unwrap(), Grants::NONE).unwrap_err().to_string();
    assert!(said.contains("env"), "{said}");
}

#[test]
fn names_stay_and_what_a_debugger_reads_goes() {
    let with = |section: &str| {
        let text = include_str!("preview1.wat").replace("WALL", "(i32.const 1)");
        let end = text.rfind(')').unwrap();
        let module = wat::parse_str(format!("{} (@custom \"{section}\" \"a debugger's\"))", &text[..end])).unwrap();
        componentize(&module, Grants::NONE).unwrap()
    };
    let holds = |component: &[u8], text: &[u8]| component.windows(text.len()).any(|window| window == text);
    assert!(holds(&with(".debug_info"), b"cabi_realloc"));
    assert!(holds(&with(".debug_info"), b"sure"), "names of functions");
    assert!(!holds(&with(".debug_info"), b"a debugger's"));
    assert!(holds(&with("other"), b"a debugger's"));
}

#[test]
fn a_language_is_noted_once() {
    let component = componentize(&preview1("(i32.const 1)"), Grants::NONE).unwrap();
    let noted = note_language(component, "Zig", ("wasmill", "1.2.3"));
    let languages = |component: &[u8]| -> Vec<String> {
        let makers = inspect(component).producers.items.into_iter();
        makers.filter(|one| one.field == "language").map(|one| one.name).collect()
    };
    assert_eq!(languages(&noted), ["Zig"]);
    assert!(ENGINE.load(&noted).is_ok());
    assert_eq!(note_language(noted.clone(), "Zig", ("wasmill", "1.2.3")), noted);
    // What a library was written in may be noted already.
    assert_eq!(languages(&note_language(noted, "C", ("wasmill", "1.2.3"))), ["Zig", "C"]);
}

#[test]
fn a_module_in_text_becomes_a_component_of_the_world_that_its_handle_has() {
    for (text, world) in [(include_str!("plain.wat"), World::Messages), (include_str!("script.wat"), World::Batches)] {
        let component = componentize(text.as_bytes(), Grants::NONE).unwrap();
        let plugin = ENGINE.load(&component).unwrap();
        assert_eq!(plugin.world(), world);
        plugin.instantiate(&spec(limits()).0).unwrap();
        // The same as of the module in binary.
        let binary = wat::parse_str(text).unwrap();
        assert_eq!(component, componentize(&binary, Grants::NONE).unwrap());
        assert_eq!(component, componentize(&component, Grants::NONE).unwrap());
    }
    // A comment, or nothing but space, may be in front of what counts.
    let text = format!(" \n;; a comment\n{}", include_str!("plain.wat"));
    assert!(componentize(text.as_bytes(), Grants::NONE).is_ok());
}

#[test]
fn a_text_that_does_not_parse_is_refused_with_the_place() {
    let refused = componentize(b"(module\n  (func (export \"handle\") (i32.cons 1)))", Grants::NONE).unwrap_err();
    assert!(matches!(refused, LoadError::Text(_)), "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("unknown operator") && said.contains("the text:2:"), "{said}");
    // Text for people is none.
    let refused = componentize(b"hello", Grants::NONE).unwrap_err();
    assert!(refused.to_string().contains("it begins with `hell`"), "{refused}");
}
