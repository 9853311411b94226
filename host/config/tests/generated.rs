//! One file for each key of the schema and each kind of mistake, several mistakes in a file: every one is named, at its
//! position, in one pass, and nothing else is. The files are made from the schema, so a new key is tested by being there.

use std::collections::BTreeMap;

use wasmill_config::{Finding, Key, LoadError, Severity, keys, load};

/// A file in the making: tables in order, each with its lines `key = value`.
#[derive(Clone)]
struct Draft {
    tables: Vec<(String, BTreeMap<String, String>)>,
}

/// What a finding must say: line, column, how its key begins.
type Expected = (usize, usize, String);

/// What is expected of a draft once it is complete: only then are its lines counted.
type Expectation = Box<dyn Fn(&Draft) -> Expected>;

impl Draft {
    /// The least that has no mistake, and an output so that the keys of its table can be tried.
    fn good() -> Self {
        let mut draft = Self { tables: vec![(String::new(), BTreeMap::new())] };
        draft.set("kafka.bootstrap", "\"localhost:9092\"");
        draft.set("pipelines.orders.topics", "[\"in\"]");
        draft.set("pipelines.orders.group", "\"g\"");
        draft.set("pipelines.orders.handler", "\"h.wasm\"");
        draft.set("pipelines.orders.dead_letter.topic", "\"dead\"");
        draft.set("pipelines.orders.output.topic", "\"out\"");
        draft
    }

    /// Writes a key in its table; a table of that name is taken out.
    fn set(&mut self, path: &str, value: &str) {
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        self.remove(path);
        if path.ends_with(".on_exhausted") {
            self.remove("pipelines.orders.dead_letter");
        }
        if !self.tables.iter().any(|(name, _)| name == table) {
            self.tables.push((table.to_owned(), BTreeMap::new()));
        }
        let (_, lines) = self.tables.iter_mut().find(|(name, _)| name == table).unwrap();
        lines.insert(key.to_owned(), value.to_owned());
    }

    fn remove(&mut self, path: &str) {
        let below = format!("{path}.");
        self.tables.retain(|(name, _)| name != path && !name.starts_with(&below));
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        self.tables.iter_mut().filter(|(name, _)| name == table).for_each(|(_, lines)| {
            lines.remove(key);
        });
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (table, lines) in &self.tables {
            if !table.is_empty() {
                text += &format!("\n[{table}]\n");
            }
            for (key, value) in lines {
                text += &format!("{key} = {value}\n");
            }
        }
        text
    }

    /// Line and column of a key's line, or of the last name in a table's header; the first place of the file otherwise.
    fn place(&self, path: &str) -> (usize, usize) {
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        let mut line = 0;
        for (name, lines) in &self.tables {
            if !name.is_empty() {
                line += 2;
                if name == path {
                    return (line, name.rfind('.').map_or(0, |at| at + 1) + 2);
                }
            }
            for known in lines.keys() {
                line += 1;
                if (name.as_str(), known.as_str()) == (table, key) {
                    return (line, 1);
                }
            }
        }
        (1, 1)
    }

    /// Writes a wrong value; the finding is `offset` bytes within it.
    fn mistake(&mut self, path: &str, value: &str, offset: usize) -> impl Fn(&Self) -> Expected + use<> {
        self.set(path, value);
        let path = path.to_owned();
        move |draft| {
            let (line, _) = draft.place(&path);
            let name = path.rsplit('.').next().unwrap();
            (line, name.len() + " = ".len() + 1 + offset, path.clone())
        }
    }
}

/// Adds mistakes of other kinds elsewhere in the file, loads it and compares.
fn expect(name: &str, mut draft: Draft, mut expected: Vec<Expectation>, key: &Key) -> Vec<Finding> {
    draft.set("nonsense", "1");
    expected.push(Box::new(|draft| (draft.place("nonsense").0, 1, "nonsense".to_owned())));
    if key.path != "memory" {
        expected.push(Box::new(draft.mistake("memory", "\"1 parsec\"", 0)));
    }
    let table = key.path.rsplit_once('.').map_or("", |(table, _)| table).replace("NAME", "orders");
    if !table.is_empty() {
        let beside = format!("{table}.zz_unknown");
        draft.set(&beside, "{ any = \"thing\" }");
        expected.push(Box::new(move |draft| (draft.place(&beside).0, 1, beside.clone())));
    }
    let mut expected: Vec<_> = expected.iter().map(|expected| expected(&draft)).collect();
    expected.sort();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wasmill.toml");
    std::fs::write(&path, draft.text()).unwrap();
    let Err(LoadError::Mistakes(mistakes)) = load(&path) else {
        panic!("{name}: no mistakes were found in\n{}", draft.text());
    };
    let mut found: Vec<_> = mistakes.0.into_iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert!(found.is_sorted_by_key(|finding| (finding.line, finding.column)), "{name}");
    found.sort_by_key(|finding| (finding.line, finding.column, finding.key.clone()));
    let shown = || found.iter().map(Finding::long).collect::<Vec<_>>().join("\n\n");
    assert_eq!(found.len(), expected.len(), "{name}: {expected:?}\n{}\n{}", draft.text(), shown());
    for (found, (line, column, key)) in found.iter().zip(&expected) {
        assert_eq!((found.line, found.column), (*line, *column), "{name}\n{}\n{}", draft.text(), shown());
        assert!(found.key == *key || found.key.starts_with(&format!("{key}.")), "{name}: {key}\n{}", shown());
        assert!(found.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{name}: no hint\n{}", shown());
        assert_eq!(found.source, draft.text().lines().nth(line - 1).unwrap(), "{name}");
    }
    found
}

fn real(key: &Key) -> String {
    key.path.replace("NAME", "orders")
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap()
}

#[test]
fn accepts_an_example_of_every_key() {
    let draft = Draft::good();
    wasmill_config::parse("wasmill.toml", &draft.text()).unwrap();
    for key in keys().iter().filter(|key| !key.table) {
        let mut draft = draft.clone();
        draft.set(&real(key), &key.example);
        if let Err(mistakes) = wasmill_config::parse("wasmill.toml", &draft.text()) {
            panic!("{}\n{mistakes}", draft.text());
        }
    }
}

#[test]
fn names_every_unknown_key_and_the_one_that_is_meant() {
    for key in keys() {
        let path = real(&key);
        let name = last(&path);
        let mut draft = Draft::good();
        draft.remove(&path);
        // The first letter twice.
        let typo = format!("{}{}{name}", &path[..path.len() - name.len()], &name[..1]);
        draft.set(&typo, &key.example);
        let typed = typo.clone();
        let mut expected: Vec<Expectation> = vec![Box::new(move |draft| (draft.place(&typed).0, 1, typed.clone()))];
        // A dead letter or its alternative must be written, and an output must name a topic.
        let needed = match path.as_str() {
            "pipelines.orders.dead_letter" | "pipelines.orders.dead_letter.topic" => Some("pipelines.orders"),
            "pipelines.orders.output.topic" => None,
            _ => key.required.then(|| path.rsplit_once('.').map_or("", |(table, _)| table)),
        };
        let path = path.clone();
        if let Some(table) = needed.map(str::to_owned) {
            expected.push(Box::new(move |draft| {
                let (line, column) = draft.place(&table);
                (line, column, if path.contains("dead_letter") { table.clone() } else { path.clone() })
            }));
        }
        if typo.ends_with("output.ttopic") {
            draft.set("pipelines.orders.output.topics", "[\"out\"]");
        }
        let found = expect(&typo, draft, expected, &key);
        let finding = found.iter().find(|finding| finding.key == typo).unwrap();
        assert_eq!(finding.message, format!("unknown key `{}`", last(&typo)));
        assert_eq!(finding.hint.as_deref(), Some(format!("did you mean `{name}`?").as_str()));
    }
}

#[test]
fn names_every_value_of_a_wrong_type() {
    let mut files = 0;
    for key in keys() {
        assert!(!key.wrong.is_empty(), "{}: takes every type", key.path);
        for value in &key.wrong {
            let mut draft = Draft::good();
            let expected = draft.mistake(&real(&key), value, 0);
            let found = expect(&format!("{} = {value}", key.path), draft, vec![Box::new(expected)], &key);
            let finding = found.iter().find(|finding| finding.key == real(&key)).unwrap();
            assert!(finding.message.starts_with(&format!("`{}` must be ", last(&key.path))), "{finding}");
            files += 1;
        }
    }
    assert!(files > 200, "{files}");
}

#[test]
fn names_every_value_out_of_bounds() {
    let mut files = 0;
    for key in keys() {
        for (value, offset) in &key.refused {
            let mut draft = Draft::good();
            let expected = draft.mistake(&real(&key), value, *offset);
            expect(&format!("{} = {value}", key.path), draft, vec![Box::new(expected)], &key);
            files += 1;
        }
    }
    assert!(files > 150, "{files}");
}

/// All wrong types at once: one mistake for each key that is not a table.
#[test]
fn names_a_mistake_in_every_key_of_one_file() {
    let mut draft = Draft::good();
    let mut places = Vec::new();
    for key in keys().iter().filter(|key| !key.table && !key.path.ends_with("on_exhausted")) {
        places.push(draft.mistake(&real(key), key.wrong[0], 0));
    }
    let mut expected: Vec<_> = places.iter().map(|place| place(&draft)).collect();
    expected.sort();
    let found = wasmill_config::parse("wasmill.toml", &draft.text()).unwrap_err().0;
    let found: Vec<_> = found.iter().map(|finding| (finding.line, finding.column, finding.key.clone())).collect();
    assert_eq!(found, expected);
    assert!(found.len() > 50);
}
