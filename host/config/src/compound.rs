//! Kinds made of other kinds: lists, tables under names the user chooses, free tables of scalars, alternatives.

use serde_json::json;
use toml::de::{DeTable, DeValue};

use crate::describe::{Describe, Facts, Inner, table_schema};
use crate::environment::join;
use crate::kind::{Kind, Node, read};
use crate::properties::Properties;
use crate::refusal::Refusal;
use crate::report::{Place, Report};
use crate::table::{Table, read_table};

/// A list of at least one. `unique`: none twice.
pub(crate) struct List<K> {
    pub of: K,
    pub unique: bool,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub value: T,
    pub place: Place,
}

impl<K: Kind> Describe for List<K> {
    fn facts(&self) -> Facts {
        let item = self.of.facts();
        let good = &item.example;
        let wrong = if self.of.takes(&DeValue::Boolean(true)) { "7" } else { "true" };
        let mut refused = vec![("[]".to_owned(), 0), (format!("[{good}, {wrong}]"), good.len() + 3)];
        refused.extend(item.refused.iter().map(|(text, at)| (format!("[{text}]"), at + 1)));
        if self.unique {
            refused.push((format!("[{good}, {good}]"), good.len() + 3));
        }
        let mut json = json!({ "type": "array", "items": item.json, "minItems": 1 });
        json["uniqueItems"] = self.unique.into();
        let bounds = if self.unique { "at least one, none twice" } else { "at least one" };
        Facts {
            noun: format!("a list, each {}", item.noun),
            bounds: if item.bounds.is_empty() { bounds.to_owned() } else { format!("{bounds}; {}", item.bounds) },
            json,
            example: format!("[{good}]"),
            refused,
            inner: Inner::None,
        }
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_array()
    }
}

impl<K: Kind> Kind for List<K>
where
    K::Value: PartialEq,
{
    type Value = Vec<At<K::Value>>;

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<Self::Value> {
        let items = node.value.as_array()?;
        if items.is_empty() {
            let name = node.at.name();
            let hint = format!("write `{name} = {}`, or leave `{name}` out if it may be", self.facts().example);
            report.error(node.at, format!("`{name}` must name at least one"), hint);
            return None;
        }
        let mut found: Self::Value = Vec::with_capacity(items.len());
        for item in items {
            let place = Place { span: item.span(), key: node.at.key.clone() };
            let Some(value) = read(&self.of, Node { value: item.get_ref(), at: &place, default: None }, report) else {
                continue;
            };
            if self.unique && found.iter().any(|known| known.value == value) {
                let typed = report.source.typed(&place.span);
                report.error(&place, format!("`{}` has {typed} twice", place.name()), "take one of them out");
                continue;
            }
            found.push(At { value, place });
        }
        (found.len() == items.len()).then_some(found)
    }

    fn instead(&self, node: Node<'_>) -> Option<String> {
        node.value.as_str().map(|text| format!("write `[{}]`", json!(text)))
    }
}

/// A table of scalars under keys that are not ours; their values as text. A dotted key is one name.
pub(crate) struct Scalars {
    pub noun: &'static str,
    pub bounds: &'static str,
    pub example: &'static str,
    /// Keys that break the rule.
    pub refused: &'static [&'static str],
    /// Why a key may not be set: after the key in a message, and the hint.
    pub refuse: fn(&str) -> Option<Refusal>,
}

impl Scalars {
    fn flatten(
        &self,
        table: &DeTable<'_>,
        outer: &str,
        at: &Place,
        found: &mut Vec<At<(String, String)>>,
        report: &mut Report<'_>,
    ) {
        for (key, value) in table {
            let name = join(outer, key.get_ref());
            let path = join(&at.key, key.get_ref());
            let key_place = Place { span: key.span(), key: path.clone() };
            let place = Place { span: value.span(), key: path };
            if report.is_settled(&place.span) {
                continue;
            }
            let text = match value.get_ref() {
                DeValue::Table(inner) => {
                    self.flatten(inner, &name, &key_place, found, report);
                    continue;
                }
                DeValue::Array(_) => {
                    let hint = "write it as one string, in the form its reader wants";
                    report.error(&place, format!("`{name}` must be a string, a number or a boolean, not a list"), hint);
                    continue;
                }
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                    .map_or_else(|_| number.to_string(), |number| number.to_string()),
                DeValue::Float(number) => number.as_str().to_owned(),
                DeValue::Boolean(flag) => flag.to_string(),
                DeValue::Datetime(time) => time.to_string(),
            };
            if text.contains('\0') {
                report.error(
                    &place,
                    format!("`{name}` has a zero byte in it"),
                    "take it out: C would end the text there",
                );
                continue;
            }
            if let Some((problem, hint)) = (self.refuse)(&name) {
                report.error(&key_place, format!("`{name}` {problem}"), hint);
                continue;
            }
            found.push(At { value: (name, text), place: key_place });
        }
    }
}

impl Describe for Scalars {
    fn facts(&self) -> Facts {
        let scalar = json!({ "type": ["string", "number", "boolean", "object"] });
        let mut refused: Vec<_> = self.refused.iter().map(|key| (format!("{{ \"{key}\" = \"1\" }}"), 2)).collect();
        refused.push(("{ some_key = [] }".to_owned(), 13));
        Facts {
            noun: self.noun.to_owned(),
            bounds: self.bounds.to_owned(),
            json: json!({ "type": "object", "additionalProperties": scalar }),
            example: self.example.to_owned(),
            refused,
            inner: Inner::None,
        }
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_table()
    }
}

impl Kind for Scalars {
    type Value = Vec<At<(String, String)>>;

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<Self::Value> {
        let mut found = Vec::new();
        self.flatten(node.value.as_table()?, "", node.at, &mut found, report);
        Some(found)
    }
}

/// The pairs of a free table as the map they are.
pub(crate) fn properties(pairs: &[At<(String, String)>]) -> Properties {
    pairs.iter().map(|pair| pair.value.clone()).collect()
}

/// Tables of one shape under names that the user chooses, in the order of the file.
pub(crate) struct Named<T> {
    /// What is wrong with a name: after the name in a message, and the hint.
    pub refuse: fn(&str) -> Option<Refusal>,
    /// Names that break the rule.
    pub refused: &'static [&'static str],
    pub bounds: &'static str,
    pub table: std::marker::PhantomData<T>,
}

impl<T: Table> Describe for Named<T> {
    fn facts(&self) -> Facts {
        let entries = T::entries();
        let table = table_schema(T::ABOUT, &entries);
        let mut refused: Vec<_> = self.refused.iter().map(|name| (format!("{{ \"{name}\" = 1 }}"), 2)).collect();
        refused.push(("{ orders = 1 }".to_owned(), 2));
        Facts {
            noun: "a table of tables".to_owned(),
            bounds: self.bounds.to_owned(),
            json: json!({ "type": "object", "additionalProperties": table, "minProperties": 1 }),
            example: "{ }".to_owned(),
            refused,
            inner: Inner::Named(T::ABOUT, entries),
        }
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_table()
    }
}

impl<T: Table> Kind for Named<T> {
    /// The place is that of the name.
    type Value = Vec<At<(String, T)>>;

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<Self::Value> {
        let mut tables: Vec<_> = node.value.as_table()?.iter().collect();
        tables.sort_by_key(|(key, _)| key.span().start);
        let name = node.at.name();
        if tables.is_empty() && !report.partial {
            report.error(node.at, format!("`{name}` is empty"), format!("add a table `[{name}.NAME]`"));
        }
        let mut found = Vec::new();
        for (key, value) in tables {
            let name = key.get_ref();
            let place = Place { span: key.span(), key: join(&node.at.key, name) };
            let refused = (self.refuse)(name);
            if let Some((problem, hint)) = refused {
                report.error(&place, format!("`{name}` {problem}"), hint);
            } else if !value.get_ref().is_table() {
                let hint = format!("write a table `[{}]`", place.key);
                report.error(&place, format!("`{name}` must be a table"), hint);
            }
            let Some(table) = value.get_ref().as_table() else { continue };
            found.push(At { value: (name.to_string(), read_table(table, &place, report)), place });
        }
        Some(found)
    }

    fn instead(&self, node: Node<'_>) -> Option<String> {
        Some(format!("write a table `[{}.NAME]`", node.at.key))
    }
}

/// One of two kinds that take different TOML types.
pub(crate) struct OneOf<A, B>(pub A, pub B);

/// What [`OneOf`] read.
pub(crate) enum Either<A, B> {
    A(A),
    B(B),
}

impl<A: Kind, B: Kind> Describe for OneOf<A, B> {
    fn facts(&self) -> Facts {
        let (a, b) = (self.0.facts(), self.1.facts());
        let either = |a: &str, b: &str| [a, b].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" or ");
        Facts {
            noun: either(&a.noun, &b.noun),
            bounds: either(&a.bounds, &b.bounds),
            json: json!({ "anyOf": [a.json, b.json] }),
            example: a.example,
            refused: a.refused.into_iter().chain(b.refused).collect(),
            inner: if matches!(a.inner, Inner::None) { b.inner } else { a.inner },
        }
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        self.0.takes(value) || self.1.takes(value)
    }
}

impl<A: Kind, B: Kind> Kind for OneOf<A, B> {
    type Value = Either<A::Value, B::Value>;

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<Self::Value> {
        if self.0.takes(node.value) {
            return self.0.read(node, report).map(Either::A);
        }
        self.1.read(node, report).map(Either::B)
    }

    fn instead(&self, node: Node<'_>) -> Option<String> {
        self.0.instead(node).or_else(|| self.1.instead(node))
    }
}
