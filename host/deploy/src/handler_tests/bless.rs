//! Writing what came into a case file as what is expected. Everything else in the file stays as it was typed.

use anyhow::Context as _;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value as Toml};
use wasmill_kafka::plain::PlainMessage;

use super::lane::Answer;
use super::line;
use crate::messages::jsonl;

/// What is to be written: of which case and message, and what came of it.
pub struct Blessing<'a> {
    /// The case in its file, from 0 on.
    pub case: usize,
    /// The message in its case, from 0 on.
    pub message: usize,
    /// What came of it.
    pub answer: &'a Answer,
}

/// The text of a case file with these expectations instead of those that stand there.
pub fn bless(text: &str, blessings: &[Blessing<'_>]) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse().context("the file has changed")?;
    for blessing in blessings {
        let message = document
            .get_mut("case")
            .and_then(Item::as_array_of_tables_mut)
            .and_then(|cases| cases.get_mut(blessing.case))
            .and_then(|case| case.get_mut("message"))
            .and_then(Item::as_array_of_tables_mut)
            .and_then(|messages| messages.get_mut(blessing.message))
            .context("the file has changed; hint: messages are written as [[case.message]]")?;
        message.insert("expect", Item::Table(expectation(blessing.answer)));
    }
    Ok(document.to_string())
}

fn expectation(answer: &Answer) -> Table {
    let mut expect = Table::new();
    // `expect.verdict = …` and not a table of its own: it stays with its message.
    expect.set_dotted(true);
    expect.insert("verdict", toml_edit::value(answer.word));
    // The words of a trap are the runtime's and the compiler's.
    if let (None, Some(reason)) = (&answer.crash, answer.reason()) {
        expect.insert("reason", toml_edit::value(reason));
    }
    if !answer.emitted.is_empty() {
        expect.insert("output", toml_edit::value(several(answer.emitted.iter().map(|one| output(one).into()))));
    }
    if !answer.log.is_empty() {
        expect.insert("log", toml_edit::value(several(answer.log.iter().map(|one| Toml::from(line(one))))));
    }
    expect
}

/// One a line, where there are several.
fn several(items: impl Iterator<Item = Toml>) -> Array {
    let mut array: Array = items.collect();
    if array.len() > 1 {
        for item in array.iter_mut() {
            item.decor_mut().set_prefix("\n    ");
        }
        array.set_trailing("\n");
        array.set_trailing_comma(true);
    }
    array
}

fn output(message: &PlainMessage) -> InlineTable {
    let mut object = jsonl::object(message);
    object.remove("offset");
    // The input's time, unless the handler chose one; which of the two cannot be told from here.
    object.remove("timestamp");
    if message.partition < 0 {
        object.remove("partition");
    }
    inline(&object)
}

/// A message of a topic, as a table of a case file.
pub fn message(message: &PlainMessage) -> Table {
    let mut table = Table::new();
    for (key, value) in &jsonl::object(message) {
        if let Some(value) = toml(value) {
            table.insert(key, toml_edit::value(value));
        }
    }
    table
}

fn inline(object: &serde_json::Map<String, serde_json::Value>) -> InlineTable {
    object.iter().filter_map(|(key, value)| Some((key.as_str(), toml(value)?))).collect()
}

/// JSON as TOML; a key or value that is absent is left out, a header's is written.
fn toml(value: &serde_json::Value) -> Option<Toml> {
    use serde_json::Value as Json;
    Some(match value {
        Json::Null => return None,
        Json::Bool(yes) => Toml::from(*yes),
        Json::Number(number) => Toml::from(number.as_i64()?),
        Json::String(text) => Toml::from(text.as_str()),
        Json::Array(all) => Toml::Array(all.iter().map(or_absent).collect()),
        Json::Object(object) => {
            Toml::InlineTable(object.iter().map(|(key, value)| (key.as_str(), or_absent(value))).collect())
        }
    })
}

fn or_absent(value: &serde_json::Value) -> Toml {
    toml(value).unwrap_or_else(|| {
        let mut absent = InlineTable::new();
        absent.insert("absent", true.into());
        Toml::InlineTable(absent)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::handler_tests::file;
    use crate::handler_tests::lane::Verdict;

    fn answer(emitted: Vec<PlainMessage>) -> Answer {
        Answer {
            verdict: Verdict::Acknowledged,
            word: "ack",
            crash: None,
            before: None,
            emitted,
            dropped: 0,
            log: Vec::new(),
            time: Duration::ZERO,
            attempt: 1,
        }
    }

    #[test]
    fn only_the_expectation_changes_and_it_is_read_back() {
        let text = "# kept\n[[case]]\nname = \"a\" # too\n[[case.message]]\nvalue = \"v\"\n";
        let output = PlainMessage {
            topic: "out".into(),
            partition: -1,
            value: Some(vec![0xff]),
            headers: vec![("n".into(), None)],
            ..PlainMessage::default()
        };
        let answer = answer(vec![output.clone(), output]);
        let blessed = bless(text, &[Blessing { case: 0, message: 0, answer: &answer }]).unwrap();
        assert!(
            blessed.starts_with("# kept\n[[case]]\nname = \"a\" # too\n[[case.message]]\nvalue = \"v\"\n"),
            "{blessed}"
        );
        let file = file::parse(&blessed).unwrap();
        let messages = file.cases[0].messages("t").unwrap();
        let wanted = messages[0].expect.as_ref().unwrap().output().unwrap().unwrap();
        assert_eq!(wanted.len(), 2);
        assert_eq!(wanted[0]["value_base64"], "/w==");
        assert!(wanted[0]["headers"]["n"].is_null());
    }

    #[test]
    fn a_message_of_a_topic_is_read_back() {
        let one = PlainMessage {
            topic: "t".into(),
            partition: 3,
            offset: 1812,
            timestamp: Some(5),
            key: None,
            value: Some(b"line\n\"two\"".to_vec()),
            headers: vec![("a".into(), None), ("a".into(), Some(b"x".to_vec()))],
        };
        let mut messages = toml_edit::ArrayOfTables::new();
        messages.push(message(&one));
        let mut case = Table::new();
        case.insert("name", toml_edit::value("c"));
        case.insert("message", Item::ArrayOfTables(messages));
        let mut cases = toml_edit::ArrayOfTables::new();
        cases.push(case);
        let mut document = DocumentMut::new();
        document.insert("case", Item::ArrayOfTables(cases));
        let file = file::parse(&document.to_string()).unwrap();
        assert_eq!(file.cases[0].messages("other").unwrap()[0].message, one);
    }
}
