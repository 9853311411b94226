//! Tables with known keys. [`table!`] declares one: each key once, with its type, kind, presence and meaning; from
//! that come the raw struct, the reading, the schema and the manual.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::describe::{Describe, Entry, Facts, Inner, Presence, table_schema};
use crate::environment::join;
use crate::kind::{Kind, Node, nearest, read};
use crate::report::{Place, Report, TablesWith};
use crate::source::Span;

/// What people write who come from other tools, and the key that is meant.
const HABITS: [(&str, &str); 22] = [
    ("topic", "topics"),
    ("input", "topics"),
    ("group_id", "group"),
    ("group.id", "group"),
    ("wasm", "handler"),
    ("plugin", "handler"),
    ("module", "handler"),
    ("concurrency", "lanes"),
    ("workers", "lanes"),
    ("threads", "lanes"),
    ("consumers", "members"),
    ("dlq", "dead_letter"),
    ("dead_letter_topic", "dead_letter"),
    ("auto_offset_reset", "start"),
    ("partition_assignment_strategy", "assignor"),
    ("brokers", "bootstrap"),
    ("bootstrap_servers", "bootstrap"),
    ("bootstrap.servers", "bootstrap"),
    ("max_attempts", "attempts"),
    ("address", "listen"),
    ("bind", "listen"),
    ("timeout", "time"),
];

/// A table of the file as typed: every key read and within its own bounds, or marked as absent or wrong.
pub(crate) trait Table: Sized {
    const ABOUT: &'static str;
    const KEYS: &'static [&'static str];

    fn entries() -> Vec<Entry>;

    fn read(rows: &Rows<'_>, report: &mut Report<'_>) -> Self;
}

/// One key of a table, as read.
pub(crate) struct Field<T> {
    /// What was written or the default; `None` if absent without a default, or wrong.
    pub value: Option<T>,
    /// The key, or the table's if the key is not written.
    pub key: Place,
    pub written: bool,
}

impl<T> Field<T> {
    /// What was written, if it was and is right.
    pub(crate) fn chosen(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.written)
    }
}

/// The keys and values of one table.
pub(crate) struct Rows<'a> {
    table: &'a DeTable<'a>,
    /// The key of the table, with its own tables.
    pub at: &'a Place,
    /// Written as the value of one of its keys: `output = "x"` for `output = { topic = "x" }`.
    shorthand: bool,
}

impl Rows<'_> {
    /// Reads one key; a required one that is absent is a mistake.
    pub(crate) fn field<K: Kind>(
        &self,
        name: &str,
        kind: &K,
        presence: &Presence,
        report: &mut Report<'_>,
    ) -> Field<K::Value> {
        let path = if self.shorthand { self.at.key.clone() } else { join(&self.at.key, name) };
        let Some((key, value)) = self.table.get_key_value(name) else {
            let at = Place { span: self.at.span.clone(), key: path };
            let value = self.absent(name, kind, presence, &at, report);
            return Field { value, key: at, written: false };
        };
        let at = Place { span: value.span(), key: path.clone() };
        let key = Place { span: key.span(), key: path };
        let value = value.get_ref();
        // What is missing in a table is missing under its name, not between its braces.
        let at = if value.is_table() && kind.takes(value) { &key } else { &at };
        let value = read(kind, Node { value, at, default: presence.default() }, report);
        Field { value, key, written: true }
    }

    fn absent<K: Kind>(
        &self,
        name: &str,
        kind: &K,
        presence: &Presence,
        at: &Place,
        report: &mut Report<'_>,
    ) -> Option<K::Value> {
        match presence {
            Presence::Optional { .. } => None,
            Presence::Section => {
                let empty = DeValue::Table(DeTable::new());
                read(kind, Node { value: &empty, at, default: None }, report)
            }
            Presence::Default { text, .. } => {
                let value = DeValue::parse(text).ok()?;
                read(kind, Node { value: value.get_ref(), at, default: None }, report)
            }
            Presence::Required => {
                if !report.partial {
                    let within = if self.at.key.is_empty() { "the file".to_owned() } else { self.header() };
                    let hint = missing_hint(name, &kind.facts());
                    report.error(at, format!("`{name}` is missing in {within}"), hint);
                }
                None
            }
        }
    }

    fn header(&self) -> String {
        format!("`[{}]`", self.at.key)
    }

    /// Every key that the table does not have is a mistake.
    fn refuse_unknown<T: Table>(&self, report: &mut Report<'_>) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !T::KEYS.contains(&name) {
                let at = Place { span: key.span(), key: join(&self.at.key, name) };
                report.error(&at, format!("unknown key `{name}`"), self.meant(name, &T::entries(), report.tables_with));
            }
        }
    }

    fn meant(&self, typed: &str, entries: &[Entry], tables_with: TablesWith) -> String {
        let known = |name: &str| entries.iter().find(|entry| entry.name == name);
        let habit = HABITS.iter().find(|(habit, _)| *habit == typed).and_then(|(_, name)| known(name));
        if let Some(entry) = habit {
            return format!("write `{} = {}`", entry.name, entry.facts.example);
        }
        if let Some(name) = nearest(typed, entries.iter().map(|entry| entry.name)) {
            return format!("did you mean `{name}`?");
        }
        let elsewhere: Vec<_> = tables_with(typed, &self.at.key).iter().map(|at| format!("`[{at}]`")).collect();
        if !elsewhere.is_empty() {
            return format!("`{typed}` belongs in {}", elsewhere.join(" or "));
        }
        let names: Vec<_> = entries.iter().map(|entry| format!("`{}`", entry.name)).collect();
        format!("known here: {}", names.join(", "))
    }
}

fn missing_hint(name: &str, facts: &Facts) -> String {
    match facts.inner {
        Inner::Named(..) => format!("add a table `[{name}.NAME]`"),
        Inner::Table(..) => format!("add a table `[{name}]`"),
        Inner::None => format!("add `{name} = {}`", facts.example),
    }
}

/// Reads a table and refuses keys that it does not have.
pub(crate) fn read_table<T: Table>(table: &DeTable<'_>, at: &Place, report: &mut Report<'_>) -> T {
    let rows = Rows { table, at, shorthand: false };
    rows.refuse_unknown::<T>(report);
    T::read(&rows, report)
}

/// Reads one key of the file and leaves all others alone.
pub(crate) fn read_key<K: Kind>(
    file: &DeTable<'_>,
    name: &str,
    kind: &K,
    presence: &Presence,
    report: &mut Report<'_>,
) -> Field<K::Value> {
    Rows { table: file, at: &Place::default(), shorthand: false }.field(name, kind, presence, report)
}

/// A table with known keys. `shorthand`: the key that is meant by a string in the table's place.
pub(crate) struct Sub<T> {
    shorthand: Option<&'static str>,
    table: std::marker::PhantomData<T>,
}

impl<T: Table> Sub<T> {
    pub(crate) const fn new() -> Self {
        Self { shorthand: None, table: std::marker::PhantomData }
    }

    pub(crate) const fn or_just(key: &'static str) -> Self {
        Self { shorthand: Some(key), table: std::marker::PhantomData }
    }
}

impl<T: Table> Describe for Sub<T> {
    fn facts(&self) -> Facts {
        let entries = T::entries();
        let mut json = table_schema(T::ABOUT, &entries);
        let (mut noun, mut example, mut refused) = ("a table".to_owned(), "{ }".to_owned(), Vec::new());
        if let Some(key) = self.shorthand.and_then(|key| entries.iter().find(|entry| entry.name == key)) {
            noun = format!("{} or a table", key.facts.noun);
            json = serde_json::json!({ "anyOf": [key.facts.json, json] });
            example.clone_from(&key.facts.example);
            refused.clone_from(&key.facts.refused);
        }
        Facts { noun, bounds: String::new(), json, example, refused, inner: Inner::Table(T::ABOUT, entries) }
    }

    fn takes(&self, value: &DeValue<'_>) -> bool {
        value.is_table() || (self.shorthand.is_some() && value.is_str())
    }
}

impl<T: Table> Kind for Sub<T> {
    type Value = T;

    fn read(&self, node: Node<'_>, report: &mut Report<'_>) -> Option<T> {
        let Some(table) = node.value.as_table() else {
            let span: Span = node.at.span.clone();
            let mut table = DeTable::new();
            table.insert(Spanned::new(span.clone(), self.shorthand?.into()), Spanned::new(span, node.value.clone()));
            return Some(T::read(&Rows { table: &table, at: node.at, shorthand: true }, report));
        };
        Some(read_table(table, node.at, report))
    }

    fn instead(&self, node: Node<'_>) -> Option<String> {
        self.shorthand.is_none().then(|| format!("write a table `[{}]`", node.at.key))
    }
}

/// Declares a table: a raw struct with one [`Field`] per key, and its [`Table`] implementation.
///
/// A key is `name: Type = kind, presence;` under a doc comment that is also the manual. The presence is
/// `required`, `section` (a table that may be absent, its keys then have their defaults), `optional("what absence
/// means")` or `default(value, "the reason for it")`.
macro_rules! table {
    (
        $(#[doc = $about:literal])*
        $table:ident {
            $($(#[doc = $doc:literal])* $key:ident: $value:ty = $kind:expr, $presence:ident $(($($said:literal),*))?;)*
        }
    ) => {
        $(#[doc = $about])*
        pub(crate) struct $table {
            $($(#[doc = $doc])* pub $key: $crate::table::Field<$value>,)*
        }

        impl $crate::table::Table for $table {
            const ABOUT: &'static str = concat!($($about, "\n"),*);
            const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];

            fn entries() -> Vec<$crate::describe::Entry> {
                vec![$($crate::describe::Entry::new(
                    stringify!($key),
                    concat!($($doc, "\n"),*),
                    &$kind,
                    $crate::table::presence!($presence $(($($said),*))?),
                )),*]
            }

            fn read(rows: &$crate::table::Rows<'_>, report: &mut $crate::report::Report<'_>) -> Self {
                Self {
                    $($key: rows.field(
                        stringify!($key),
                        &$kind,
                        &$crate::table::presence!($presence $(($($said),*))?),
                        report,
                    )),*
                }
            }
        }
    };
}

macro_rules! presence {
    (required) => {
        $crate::describe::Presence::Required
    };
    (section) => {
        $crate::describe::Presence::Section
    };
    (optional($means:literal)) => {
        $crate::describe::Presence::Optional { means: $means }
    };
    (default($value:literal, $why:literal)) => {
        $crate::describe::Presence::Default { text: stringify!($value), why: $why }
    };
}

pub(crate) use {presence, table};
