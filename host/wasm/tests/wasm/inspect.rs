//! What a file says of itself, accepted or not.

use wasmill_core::{Grant, Grants};
use wasmill_wasm::{Access, Form, World, contract, inspect};

use crate::guest::*;

/// A component that fits `messages` by the number of its parameters and imports such an instance.
fn importing(name: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "{name}" (instance (export "f" (func))))
            (core module $m (func (export "handle") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "m" u32) (canon lift (core func $i "handle"))))"#
    );
    wat::parse_str(text).unwrap()
}

/// A module's `producers` section.
fn producers(field: &str, values: &[(&str, &str)]) -> Vec<u8> {
    fn text(text: &str) -> Vec<u8> {
        [leb(text.len()), text.as_bytes().to_vec()].concat()
    }
    fn leb(number: usize) -> Vec<u8> {
        let low = (number & 0x7f) as u8;
        if number < 0x80 { vec![low] } else { [vec![low | 0x80], leb(number >> 7)].concat() }
    }
    let listed: Vec<u8> = values.iter().flat_map(|(name, version)| [text(name), text(version)].concat()).collect();
    let content = [text("producers"), vec![1], text(field), leb(values.len()), listed].concat();
    [b"\0asm\x01\0\0\0".to_vec(), vec![0], leb(content.len()), content].concat()
}

#[test]
fn a_module_of_the_contract_tells_version_world_imports_and_digest() {
    let bytes = module("batches", include_str!("script.wat"));
    let told = inspect(&bytes);
    assert_eq!((told.form, told.contract.as_deref()), (Form::TypedModule, Some(contract())));
    assert_eq!(told.world, Some(World::Batches));
    assert_eq!((told.digest.as_str(), told.size), (SCRIPT.digest(), bytes.len()));
    let names: Vec<&str> = told.imports.items.iter().map(|import| import.name.as_str()).collect();
    assert_eq!(names, SCRIPT.imports());
    assert!(told.imports.items.iter().all(|import| import.access == Access::Always), "{:?}", told.imports);
    assert_eq!(told.exports.items, ["init", "handle"]);
}

#[test]
fn each_import_is_granted_by_the_contract_through_wasi_or_refused() {
    for (name, access) in [
        ("wasi:sockets/tcp@0.2.6", Access::Refused),
        ("wasi:io/poll@0.2.3", Access::Wasi),
        ("wasi:clocks/wall-clock@0.2.3", Access::IfGranted(Grant::Clock)),
        ("wasi:random/insecure-seed@0.2.0", Access::IfGranted(Grant::Random)),
        ("wasmill:handler/log@0.1.0", Access::Always),
        // That of the other world.
        ("wasmill:handler/outcome@0.1.0", Access::Refused),
    ] {
        let told = inspect(&importing(name));
        assert_eq!((told.form, told.world), (Form::Component, Some(World::Messages)));
        assert_eq!((told.imports.items[0].name.as_str(), told.imports.items[0].access), (name, access));
        let needed = if let Access::IfGranted(one) = access { Grants::NONE.with(one) } else { Grants::NONE };
        assert_eq!(told.needs(), needed);
    }
    let wasi = wat::parse_str(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)) (import "wasi_snapshot_preview1" "fd_read" (func)))"#,
    );
    let told = inspect(&wasi.unwrap());
    assert_eq!((told.form, told.imports.items.len()), (Form::Module, 1));
    assert_eq!(told.imports.items[0].access, Access::Refused);
}

#[test]
fn what_is_no_webassembly_is_inspected_all_the_same() {
    let whole = module("batches", include_str!("script.wat"));
    for bytes in [&b""[..], b"hello, world", &whole[..whole.len() / 2], b"\0asm\x01\0\0\0\xff"] {
        let told = inspect(bytes);
        assert_eq!((told.form, told.size, told.world), (Form::Unreadable, bytes.len(), None));
    }
}

#[test]
fn names_in_a_file_are_escaped_cut_and_counted() {
    let long = "x".repeat(5_000);
    let told = inspect(&producers("language", &[("Ru\u{1b}[2Jst", "1\n2"), (&long, "")]));
    let [first, second] = &told.producers.items[..] else { panic!("{:?}", told.producers) };
    assert_eq!(
        (first.field.as_str(), first.name.as_str(), first.version.as_str()),
        ("language", r"Ru\u{1b}[2Jst", r"1\n2")
    );
    assert!(second.name.len() < 300 && second.name.ends_with("bytes cut)"), "{}", second.name);
    let many: String = (0..1000).map(|number| format!("(func (export \"f{number}\"))")).collect();
    let told = inspect(&wat::parse_str(format!("(module {many})")).unwrap());
    assert_eq!((told.exports.items.len(), told.exports.more), (200, 800));
}
