use super::*;
use crate::replay::difference::MAX_FIELD_DIFFERENCES;
use crate::replay::text::SHOWN_CHARACTERS;

fn output<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Output<'a> {
    Output { topic: "out", partition: None, timestamp: Some(5), key, value, headers: Vec::new() }
}

fn valued(value: &str) -> Output<'_> {
    output(Some(b"k"), Some(value.as_bytes()))
}

fn made<'a>(outputs: impl Into<Vec<Output<'a>>>) -> Made<'a> {
    Made { verdict: "ack", reason: None, attempts: 1, outputs: outputs.into() }
}

/// As `field: old -> new`.
fn lines(old: &Made<'_>, new: &Made<'_>) -> Vec<String> {
    let found = Differences::between(old, new);
    assert_eq!(found.more, 0);
    let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
    found.fields.iter().map(|it| format!("{}: {} -> {}", it.field, side(&it.old), side(&it.new))).collect()
}

/// What differs in the values of one output.
fn of_values(old: &str, new: &str) -> Vec<String> {
    lines(&made([valued(old)]), &made([valued(new)]))
}

#[test]
fn what_is_the_same_has_no_differences() {
    let output = Output { headers: vec![(b"h", None)], ..valued(r#"{"a": [1, null]}"#) };
    let one = made([output, output_without_value()]);
    assert!(Differences::between(&one, &one.clone()).is_empty());
    assert!(lines(&made([]), &made([])).is_empty());
}

fn output_without_value() -> Output<'static> {
    output(Some(b"k"), None)
}

#[test]
fn verdict_reason_and_attempts_are_fields() {
    let old = Made { verdict: "ack", reason: None, attempts: 1, outputs: vec![valued("x")] };
    let new = Made { verdict: "rejected", reason: Some("no \x1b[31mprice"), attempts: 3, outputs: Vec::new() };
    assert_eq!(
        lines(&old, &new),
        [
            "verdict: ack -> rejected",
            "reason: - -> no \\u{1b}[31mprice",
            "attempts: 1 -> 3",
            "outputs: 1 -> 0",
            "output 0: to out: key \"k\", value \"x\" -> -",
        ]
    );
}

#[test]
fn where_an_output_goes_and_when_are_fields() {
    let old = Output { topic: "a", partition: None, timestamp: None, ..valued("x") };
    let new = Output { topic: "b", partition: Some(0), timestamp: Some(7), ..valued("x") };
    let expected = ["output 0 topic: a -> b", "output 0 partition: by key -> 0", "output 0 timestamp: when sent -> 7"];
    assert_eq!(lines(&made([old]), &made([new])), expected);
}

#[test]
fn json_differs_by_its_path() {
    let old = r#"{"customer": {"name": "a", "tags": ["x", "y"]}, "n": 1, "gone": true, "a.b": 1, "": {"x": 1}}"#;
    let new = r#"{"customer": {"name": "A", "tags": ["x", "z"]}, "n": "1", "new": [0], "a.b": 2, "": {"x": 2}}"#;
    assert_eq!(
        of_values(old, new),
        [
            "output 0 value[\"\"].x: 1 -> 2",
            "output 0 value[\"a.b\"]: 1 -> 2",
            "output 0 value.customer.name: \"a\" -> \"A\"",
            "output 0 value.customer.tags[1]: \"y\" -> \"z\"",
            "output 0 value.gone: true -> -",
            "output 0 value.n: 1 -> \"1\"",
            "output 0 value.new: - -> [0]",
        ]
    );
    assert_eq!(of_values("[1]", r#"{"a": 1}"#), ["output 0 value: [1] -> {\"a\":1}"]);
    // A null is there, and a name without one is not.
    assert_eq!(of_values(r#"{"a": null}"#, "{}"), ["output 0 value.a: null -> -"]);
}

#[test]
fn one_item_more_or_less_is_one_difference() {
    assert_eq!(of_values("[1,2,3]", "[0,1,2,3]"), ["output 0 value (length): 3 -> 4", "output 0 value[0]: - -> 0"]);
    assert_eq!(of_values("[1,2,3]", "[1,3]"), ["output 0 value (length): 3 -> 2", "output 0 value[1]: 2 -> -"]);
    assert_eq!(of_values("[1,1]", "[1]"), ["output 0 value (length): 2 -> 1", "output 0 value[1]: 1 -> -"]);
    assert_eq!(
        of_values("[[1,2],7]", "[[1,3],8,7]"),
        ["output 0 value (length): 2 -> 3", "output 0 value[0][1]: 2 -> 3", "output 0 value[1]: - -> 8"]
    );
    let three = made([valued("a"), valued("b"), valued("c")]);
    let without = made([valued("a"), valued("c")]);
    assert_eq!(
        lines(&three, &without),
        ["outputs: 3 -> 2", "output 1: to out: key \"k\", value \"b\" -> -"],
        "what stands behind it is not told to differ"
    );
    assert_eq!(lines(&without, &three)[1], "output 1: - -> to out: key \"k\", value \"b\"");
}

#[test]
fn the_same_json_in_other_bytes_differs_all_the_same() {
    let field = "output 0 value (the same JSON in other bytes)";
    assert_eq!(of_values(r#"{"a":1}"#, r#"{"a": 1}"#), [format!("{field}: \"{{\"a\":1}}\" -> \"{{\"a\": 1}}\"")]);
    assert_eq!(of_values("[1.0]", "[1.00]").len(), 1);
    // Two numbers that are one in floating point.
    assert_eq!(of_values("[100000000000000000000001]", "[100000000000000000000002]").len(), 1);
}

#[test]
fn what_is_no_json_differs_as_text_or_as_bytes() {
    assert_eq!(of_values("plain", "Plain"), ["output 0 value: \"plain\" -> \"Plain\""]);
    assert_eq!(of_values("{broken", "{\"a\":1}"), ["output 0 value: \"{broken\" -> \"{\"a\":1}\""]);
    assert_eq!(of_values("1", "2"), ["output 0 value: \"1\" -> \"2\""]);
    let (old, new) = (output(Some(&[0xff, 0]), Some(b"v")), output(Some(&[0xff, 1]), Some(b"v")));
    assert_eq!(lines(&made([old]), &made([new])), ["output 0 key: 0xff00 -> 0xff01"]);
}

#[test]
fn absent_is_not_empty() {
    let (absent, empty) = (output_without_value(), output(Some(b"k"), Some(b"")));
    assert_eq!(lines(&made([absent.clone()]), &made([empty.clone()])), ["output 0 value: - -> \"\""]);
    assert_eq!(lines(&made([empty]), &made([absent])), ["output 0 value: \"\" -> -"]);
    let old = Output { headers: vec![(b"h", None)], ..valued("x") };
    let new = Output { headers: vec![(b"h", Some(b""))], ..valued("x") };
    assert_eq!(lines(&made([old]), &made([new])), ["output 0 header 0 h: - -> \"\""]);
}

#[test]
fn the_order_of_headers_counts() {
    let with = |headers: &[(&'static str, &'static str)]| {
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))).collect();
        made([Output { headers, ..valued("x") }])
    };
    let (old, new) = (with(&[("a", "1"), ("b", "2")]), with(&[("b", "2"), ("a", "1")]));
    let expected = ["output 0 header 0: a: \"1\" -> b: \"2\"", "output 0 header 1: b: \"2\" -> a: \"1\""];
    assert_eq!(lines(&old, &new), expected);
    let (old, new) = (with(&[("a", "1"), ("a", "2")]), with(&[("a", "1"), ("a", "3"), ("z", "")]));
    assert_eq!(lines(&old, &new), ["output 0 header 1 a: \"2\" -> \"3\"", "output 0 header 2: - -> z: \"\""]);
}

#[test]
fn what_is_kept_is_bounded_and_shows_where_long_values_part() {
    let list = |first: u32| serde_json::to_string(&(first..first + 200).collect::<Vec<_>>()).unwrap();
    let found = Differences::between(&made([valued(&list(0))]), &made([valued(&list(1000))]));
    assert_eq!((found.fields.len(), found.more), (MAX_FIELD_DIFFERENCES, 200 - MAX_FIELD_DIFFERENCES));

    let long = |tail: &str| format!("{}{tail}{}", "é".repeat(5000), "z".repeat(5000));
    let found = Differences::between(&made([valued(&long("old"))]), &made([valued(&long("new"))]));
    let sides = [found.fields[0].old.as_deref().unwrap(), found.fields[0].new.as_deref().unwrap()];
    assert!(
        sides[0].starts_with("\"...ééé") && sides[0].contains("éoldzzz") && sides[0].ends_with("zzz...\""),
        "{sides:?}"
    );
    assert!(
        sides[1].contains("énewzzz") && sides.iter().all(|side| side.chars().count() < SHOWN_CHARACTERS + 10),
        "{sides:?}"
    );

    let binary = |last: u8| [vec![0xff; 5000], vec![last]].concat();
    let (old, new) = (binary(1), binary(2));
    let (old, new) = (output(Some(&old), None), output(Some(&new), None));
    let found = Differences::between(&made([old]), &made([new]));
    assert!(found.fields[0].old.as_deref().is_some_and(|old| old.starts_with("0x...ff") && old.ends_with("ff01")));

    let name = "n".repeat(5000);
    let (old, new) = (format!("{{\"{name}\": 1}}"), format!("{{\"{name}\": 2}}"));
    let found = Differences::between(&made([valued(&old)]), &made([valued(&new)]));
    assert!(found.fields[0].field.len() < SHOWN_CHARACTERS + 10, "{}", found.fields[0].field.len());
}

#[test]
fn nothing_of_a_message_moves_the_cursor() {
    let found = of_values("a\x1b[2J\u{202e}", "{\"\x1b\": 1}");
    assert_eq!(found.len(), 1);
    assert!(!found[0].contains('\x1b') && !found[0].contains('\u{202e}'), "{found:?}");
    let path = of_values("{\"a\\u001b[2J\": 1}", "{\"a\\u001b[2J\": 2}");
    assert!(!path[0].contains('\x1b'), "{path:?}");
}
