//! Plugins that were made for 0.1.0 when that was the newest (`tests/frozen`): every later 0.1.x runs them. The rule is in
//! `wit/README.md`.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use wasmill_core::{Batch, EmittedRow, FailureKind, STRIDE};
use wasmill_wasm::{Engine, EngineOptions, Instance, World, contract};

use crate::guest::*;

const BATCHES: &[u8] = include_bytes!("../frozen/batches.wasm");
const MESSAGES: &[u8] = include_bytes!("../frozen/messages.wasm");
/// SHA-256. These never change: see the README beside the files.
const DIGESTS: [&str; 2] = [
    "ba426b0daef5fed29dd6754efdec739542a1b28a912cb5db80f67e79857dcf50",
    "804de385faa1578d2675e099a6a3b7c23d38e8fa9035c57bf2690e4de379f7b5",
];

/// A host to come: its interfaces are those of a later patch, and its rows have columns that nobody knows yet.
const LATER: &str = "0.1.9";
const LATER_STRIDE: usize = STRIDE + 4;

fn engine(contract: &str) -> Engine {
    Engine::new(&EngineOptions { contract: contract.to_owned(), ..EngineOptions::default() }).unwrap()
}

static LATER_ENGINE: LazyLock<Engine> = LazyLock::new(|| engine(LATER));

/// Runs a test on the host as it is and on a later one.
fn on_both(plugin: &[u8], world: World, test: impl Fn(Instance, Arc<Lines>, Batch)) {
    for (engine, stride) in [(&*ENGINE, STRIDE), (&*LATER_ENGINE, LATER_STRIDE)] {
        let plugin = engine.load(plugin).unwrap();
        assert_eq!(plugin.world(), world);
        assert!(plugin.imports().iter().all(|import| import.ends_with("@0.1.0")), "{:?}", plugin.imports());
        let (spec, lines) = spec(limits());
        test(plugin.instantiate(&spec).unwrap(), lines, Batch::with_stride(stride));
    }
}

/// What an output says in text: key, value, headers.
fn texts(instance: &Instance, batch: &Batch, row: &EmittedRow) -> (Option<String>, Option<String>, Vec<String>) {
    let emitted = instance.emitted();
    let text = |span| emitted.bytes(batch.data(), span).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    let header = |[name, value]: &[wasmill_core::Span; 2]| format!("{:?}={:?}", text(*name), text(*value));
    (text(row.key), text(row.value), emitted.headers_of(row).iter().map(header).collect())
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn nobody_has_changed_what_is_frozen() {
    for (bytes, digest) in [BATCHES, MESSAGES].into_iter().zip(DIGESTS) {
        assert_eq!(ENGINE.load(bytes).unwrap().digest(), digest);
    }
}

#[test]
fn a_plugin_of_0_1_0_runs_on_this_host_and_on_a_later_one() {
    on_both(BATCHES, World::Batches, |mut instance, lines, mut batch| {
        batch.push(Some(b"key"), Some(b"plain"), 7, None, 1).unwrap();
        batch.push(None, Some(b"with headers"), 8, Some(5), 1).unwrap();
        batch.push_header(b"first", Some(b"the header's")).unwrap();
        batch.push_header(b"second", None).unwrap();
        batch.push(None, Some(b"!no"), 9, None, 1).unwrap();
        batch.push(Some(b"gone"), None, 1 << 40, None, 1).unwrap();
        batch.push(None, Some(b"?third time"), 11, None, 3).unwrap();
        batch.push(None, Some(b"?first time"), 12, None, 1).unwrap();
        batch.push(None, Some(b"behind it"), 13, None, 1).unwrap();
        batch.seal();
        assert_eq!(instance.handle(0, 3, &batch).unwrap(), 6);
        let rows = &instance.emitted().rows;
        assert!(rows.iter().all(|row| (row.topic, row.partition) == (1, Some(3))), "{rows:?}");
        let told: Vec<_> = rows.iter().map(|row| (row.message, row.timestamp)).collect();
        assert_eq!(told, [(0, Some(7)), (1, Some(8)), (3, Some(1 << 40)), (4, Some(11))]);
        let told: Vec<_> = rows.iter().map(|row| texts(&instance, &batch, row)).collect();
        let headers = vec![r#"Some("first")=Some("the header's")"#.to_owned(), r#"Some("second")=None"#.to_owned()];
        assert_eq!(told[0], (some("key"), some("plain"), vec![]));
        assert_eq!(told[1], (some("the header's"), some("with headers"), headers));
        assert_eq!((&told[2].0, &told[2].1, &told[3].1), (&some("gone"), &None, &some("?third time")));
        let [reject, retry] = instance.failures() else { panic!("{:?}", instance.failures()) };
        assert_eq!((reject.message, reject.kind, reject.reason.as_str()), (2, FailureKind::Reject, "as asked"));
        assert_eq!((retry.message, retry.retry_after), (5, Some(Duration::from_millis(250))));
        assert_eq!(lines.texts(), ["pipeline", "eu", "in"]);
    });
}

#[test]
fn a_plain_plugin_of_0_1_0_runs_on_this_host_and_on_a_later_one() {
    on_both(MESSAGES, World::Messages, |mut instance, lines, mut batch| {
        batch.push(Some(b"key"), Some(b"echo"), 7, None, 1).unwrap();
        batch.push_header(b"name", Some(b"value")).unwrap();
        batch.push(None, Some(b"m"), 8, Some(5), 4).unwrap();
        batch.push(None, Some(b"watch out"), 9, None, 1).unwrap();
        batch.push(None, Some(b"just no"), 10, None, 1).unwrap();
        batch.push(None, Some(b"retry"), 11, None, 1).unwrap();
        batch.push(None, Some(b"behind it"), 12, None, 1).unwrap();
        batch.seal();
        assert_eq!(instance.handle(0, 3, &batch).unwrap(), 5);
        let [echo, told] = &instance.emitted().rows[..] else { panic!("{:?}", instance.emitted()) };
        let headers = vec![r#"Some("name")=Some("value")"#.to_owned()];
        assert_eq!(texts(&instance, &batch, echo), (some("key"), some("echo"), headers));
        assert_eq!((echo.topic, echo.partition, echo.timestamp), (0, None, None));
        assert_eq!(texts(&instance, &batch, told), (some("in"), some("4"), vec![]));
        assert_eq!((told.topic, told.partition, told.timestamp), (1, Some(7), Some(9)));
        let [reject, retry] = instance.failures() else { panic!("{:?}", instance.failures()) };
        assert_eq!((reject.message, reject.kind, reject.reason.as_str()), (3, FailureKind::Reject, "just no"));
        assert_eq!((retry.message, retry.retry_after), (4, Some(Duration::from_millis(250))));
        assert_eq!(lines.texts(), ["watch out"]);
    });
}

#[test]
fn a_plugin_made_for_a_later_patch_runs_unless_it_asks_for_something_new() {
    let wit = include_str!("../../../../wit/handler.wit").replace("@0.1.0", "@0.1.9");
    let wat = include_str!("script.wat").replace("@0.1.0", "@0.1.9");
    let plugin = ENGINE.load(&of_wit(&wit, "batches", &wat)).unwrap();
    assert_eq!(plugin.instantiate(&spec(limits()).0).unwrap().handle(0, 0, &batch(&[vec![]])).unwrap(), 1);
    let wit = wit.replace("interface log {", "interface log { flush: func();");
    let wat = wat.replacen("(memory", r#"(import "wasmill:handler/log@0.1.9" "flush" (func)) (memory"#, 1);
    let said = ENGINE.load(&of_wit(&wit, "batches", &wat)).unwrap_err().to_string();
    assert!(said.contains("imports do not fit this host") && said.contains("flush"), "{said}");
}

#[test]
fn what_is_linked_is_what_the_engine_was_told() {
    // Else the later host above would be this one.
    let said = engine("0.2.0").load(BATCHES).unwrap_err().to_string();
    assert!(said.contains("imports do not fit this host"), "{said}");
    assert_eq!(contract(), "0.1.0");
}
