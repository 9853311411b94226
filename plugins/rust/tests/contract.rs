//! The bindings are written by hand; this holds them to `wit/`.

use std::path::Path;

use wit_component::StringEncoding;
use wit_parser::Resolve;

/// `BLESS=1 cargo test -p wasmill-handler` writes the file anew; look at `src/abi.rs` before doing so.
#[test]
fn the_component_type_is_that_of_the_contract() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(here.join("../../wit")).unwrap();
    let world = resolve.select_world(&[package], Some("batches")).unwrap();
    let contract = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None).unwrap();
    let file = here.join("src/batches.component-type");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &contract).unwrap();
    }
    assert!(contract == std::fs::read(&file).unwrap_or_default(), "src/batches.component-type is not of this contract");
}
