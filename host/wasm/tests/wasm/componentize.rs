//! From WebAssembly in text to a component of a world of the contract.

use wasmill_wasm::{Ask, LoadError, World, componentize};

use crate::guest::*;

#[test]
fn a_module_in_text_becomes_a_component_of_the_world_that_its_handle_has() {
    for (text, world) in [(include_str!("plain.wat"), World::Messages), (include_str!("script.wat"), World::Batches)] {
        let component = componentize(text.as_bytes(), Ask::default()).unwrap();
        let plugin = ENGINE.load(&component).unwrap();
        assert_eq!(plugin.world(), world);
        plugin.instantiate(&spec(limits()).0).unwrap();
        // The same as of the module in binary.
        let binary = wat::parse_str(text).unwrap();
        assert_eq!(component, componentize(&binary, Ask::default()).unwrap());
        assert_eq!(component, componentize(&component, Ask::default()).unwrap());
    }
    // A comment, or nothing but space, may be in front of what counts.
    let text = format!(" \n;; a comment\n{}", include_str!("plain.wat"));
    assert!(componentize(text.as_bytes(), Ask::default()).is_ok());
}

#[test]
fn a_text_that_does_not_parse_is_refused_with_the_place() {
    let refused = componentize(b"(module\n  (func (export \"handle\") (i32.cons 1)))", Ask::default()).unwrap_err();
    assert!(matches!(refused, LoadError::Text(_)), "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("unknown operator") && said.contains("the text:2:27"), "{said}");
    // Text for people is none.
    let refused = componentize(b"hello", Ask::default()).unwrap_err();
    assert!(refused.to_string().contains("it begins with `hell`"), "{refused}");
}
