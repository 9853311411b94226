//! No import cycle between files of a host crate, and nobody imports the roof.
//!
//! An arrow goes from a file to the file of the module that a path in it names, if the path begins with `crate`, `super` or `self`.
//! That a parent declares a child, or takes from it by the child's name alone, is not counted: a module's front may re-export what
//! is inside.

use std::collections::{BTreeMap, BTreeSet};

use super::syntax::CratePath;
use super::{Source, Tree};

/// What may import `app`, where the parts of the binary meet.
const UNDER_THE_ROOF: [&str; 3] = ["main.rs", "cli/run.rs", "cli/dev.rs"];

/// From a file to another: the names that it takes from there.
type Arrows<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<&'a str>>>;

/// The files of the host that are not tests, nor declared as a test's module.
pub fn code(tree: &Tree) -> Vec<&Source> {
    let mut tests = BTreeSet::new();
    for source in tree.host() {
        let Some((name, path)) = source.crate_of_host() else { continue };
        for module in source.syntax().map_or(&[][..], |syntax| &syntax.test_modules) {
            let module = [&module_of(path)[..], &[module.as_str()]].concat().join("/");
            tests.insert(format!("host/{name}/src/{module}"));
        }
    }
    let is_test = |source: &Source| {
        let stem = source.path.trim_end_matches(".rs");
        source.is_test() || tests.iter().any(|test| stem == test || stem.starts_with(&format!("{test}/")))
    };
    tree.host().filter(|source| !is_test(source)).collect()
}

/// A change to one file of a cycle may need one in all of them, and none can be understood or tested alone.
pub fn files(tree: &Tree, findings: &mut Vec<String>) {
    for (name, arrows) in crates(tree) {
        for cycle in cycles(&arrows) {
            let within: BTreeSet<&str> = cycle.iter().copied().collect();
            let mut text = format!("host/{name}/src: {} files import each other: {}", cycle.len(), cycle.join(", "));
            for (from, to, names) in ties(&arrows, &within) {
                text += &format!("\n    {from} -> {to}: {}", names.into_iter().collect::<Vec<_>>().join(", "));
            }
            findings.push(text);
        }
    }
}

/// `app` is where everything meets: what all parts need has its place below them.
pub fn roof(tree: &Tree, findings: &mut Vec<String>) {
    let is_roof = |path: &str| path == "app.rs" || path.starts_with("app/");
    let arrows = crates(tree).remove("wasmill").unwrap_or_default();
    for (from, to) in &arrows {
        let allowed = UNDER_THE_ROOF.contains(from) || is_roof(from);
        for (_, names) in to.iter().filter(|(to, _)| is_roof(to) && !allowed) {
            findings.push(format!(
                "host/wasmill/src/{from}: imports `app` ({}); only {} do",
                names.iter().copied().collect::<Vec<_>>().join(", "),
                UNDER_THE_ROOF.join(", ")
            ));
        }
    }
}

/// The arrows between the files of each crate, by paths within `src`.
fn crates(tree: &Tree) -> BTreeMap<&str, Arrows<'_>> {
    let mut sources: BTreeMap<&str, Vec<(&str, &Source)>> = BTreeMap::new();
    for source in code(tree) {
        if let Some((name, path)) = source.crate_of_host() {
            sources.entry(name).or_default().push((path, source));
        }
    }
    sources.into_iter().map(|(name, files)| (name, arrows(&files))).collect()
}

fn arrows<'a>(files: &[(&'a str, &'a Source)]) -> Arrows<'a> {
    // The crate's other roots, a `main.rs` beside a `lib.rs` and what is in `bin`, are imported by nobody.
    let has_library = files.iter().any(|(path, _)| *path == "lib.rs");
    let is_root = |path: &str| path.starts_with("bin/") || path == "main.rs" && has_library;
    let modules: BTreeMap<Vec<&str>, &'a str> =
        files.iter().filter(|(path, _)| !is_root(path)).map(|(path, _)| (module_of(path), *path)).collect();
    let mut arrows = Arrows::new();
    for (path, source) in files.iter().filter(|(path, _)| !is_root(path)) {
        let from = arrows.entry(path).or_default();
        for named in source.syntax().map_or(&[][..], |syntax| &syntax.paths) {
            let (to, name) = target(&module_of(path), named, &modules);
            if let Some(to) = to.filter(|to| to != path) {
                from.entry(to).or_default().insert(name);
            }
        }
    }
    arrows
}

/// The file of the module that a path names, and what it names in there.
fn target<'a>(
    here: &[&'a str],
    path: &'a CratePath,
    modules: &BTreeMap<Vec<&'a str>, &'a str>,
) -> (Option<&'a str>, &'a str) {
    let mut at: Vec<&str> = here.iter().copied().chain(path.module.iter().map(String::as_str)).collect();
    let mut rest = path.segments.iter().map(String::as_str).peekable();
    match rest.next() {
        Some("crate") => at.clear(),
        Some("super") => drop(at.pop()),
        _ => {}
    }
    while rest.next_if_eq(&"super").is_some() {
        at.pop();
    }
    while let Some(next) = rest.peek() {
        let child = [&at[..], &[next]].concat();
        if !modules.contains_key(&child) {
            break;
        }
        at = child;
        rest.next();
    }
    // A module within a file is that file's.
    while !at.is_empty() && !modules.contains_key(&at) {
        at.pop();
    }
    (modules.get(&at).copied(), rest.next().filter(|name| *name != "self").unwrap_or("(module)"))
}

fn module_of(path: &str) -> Vec<&str> {
    let mut module: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    if matches!(module.last(), Some(&("mod" | "lib" | "main"))) {
        module.pop();
    }
    module
}

fn ties<'a>(arrows: &Arrows<'a>, within: &BTreeSet<&str>) -> Vec<(&'a str, &'a str, BTreeSet<&'a str>)> {
    let from_within = arrows.iter().filter(|(from, _)| within.contains(*from));
    let pairs = from_within.flat_map(|(from, to)| to.iter().map(move |(to, names)| (*from, *to, names.clone())));
    pairs.filter(|(_, to, _)| within.contains(to)).collect()
}

/// Groups of files each of which reaches all others of its group, the largest first (Tarjan).
fn cycles<'a>(arrows: &Arrows<'a>) -> Vec<Vec<&'a str>> {
    let mut search = Search::new(arrows);
    for file in arrows.keys() {
        if !search.index.contains_key(file) {
            search.visit(file);
        }
    }
    search.found.sort_by_key(|cycle| std::cmp::Reverse(cycle.len()));
    search.found
}

struct Search<'s, 'a> {
    arrows: &'s Arrows<'a>,
    index: BTreeMap<&'a str, usize>,
    low: BTreeMap<&'a str, usize>,
    open: Vec<&'a str>,
    found: Vec<Vec<&'a str>>,
}

impl<'s, 'a> Search<'s, 'a> {
    fn new(arrows: &'s Arrows<'a>) -> Self {
        Self { arrows, index: BTreeMap::new(), low: BTreeMap::new(), open: Vec::new(), found: Vec::new() }
    }

    fn visit(&mut self, file: &'a str) {
        let number = self.index.len();
        self.index.insert(file, number);
        self.low.insert(file, number);
        self.open.push(file);
        let arrows = self.arrows;
        for to in arrows.get(file).into_iter().flat_map(BTreeMap::keys) {
            let reached = match self.index.get(to) {
                None => {
                    self.visit(to);
                    self.low[to]
                }
                Some(number) if self.open.contains(to) => *number,
                Some(_) => continue,
            };
            let lowest = self.low[file].min(reached);
            self.low.insert(file, lowest);
        }
        if self.low[file] == number {
            let at = self.open.iter().rposition(|open| *open == file).unwrap_or(0);
            let mut cycle = self.open.split_off(at);
            if cycle.len() > 1 {
                cycle.sort_unstable();
                self.found.push(cycle);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_import_each_other_are_found_with_what_ties_them() {
        let tree = Tree::of([
            ("host/core/src/lib.rs", "mod a; mod b; mod c; pub use a::A;"),
            ("host/core/src/a.rs", "use crate::b::{B, self};"),
            ("host/core/src/b.rs", "fn f() -> super::c::C { todo!() }"),
            ("host/core/src/c.rs", "fn f() { assert!(crate::a::ok()); }"),
            ("host/core/src/d.rs", "use crate::a::A;"),
        ]);
        assert_eq!(
            tree.found(files),
            ["host/core/src: 3 files import each other: a.rs, b.rs, c.rs
    a.rs -> b.rs: (module), B
    b.rs -> c.rs: C
    c.rs -> a.rs: ok"]
        );
    }

    #[test]
    fn arrows_that_go_one_way_are_no_cycle() {
        let tree = Tree::of([
            ("host/core/src/lib.rs", "mod a; mod b; pub use b::B;"),
            ("host/core/src/a/mod.rs", "mod inner; pub use inner::I; pub struct A;"),
            ("host/core/src/a/inner.rs", "use super::A;"),
            ("host/core/src/b.rs", "use crate::a::A; mod within { use super::B; use super::super::a::I; }"),
            // The same names in another crate are other files.
            ("host/wasm/src/a.rs", "use crate::b::B;"),
            ("host/wasm/src/b.rs", ""),
        ]);
        assert_eq!(tree.found(files), [""; 0]);
    }

    #[test]
    fn tests_may_import_what_they_test() {
        let tree = Tree::of([
            ("host/core/src/a.rs", "#[cfg(test)] mod model; use crate::b::B;"),
            ("host/core/src/a/model.rs", "use super::A;"),
            ("host/core/src/a/tests.rs", "use super::A;"),
            ("host/core/src/b.rs", "#[cfg(test)] mod tests { use crate::a::A; }"),
        ]);
        assert_eq!(tree.found(files), [""; 0]);
    }

    #[test]
    fn a_parent_that_is_imported_by_its_child_and_imports_it_by_path_is_in_a_cycle() {
        let tree = Tree::of([
            ("host/core/src/a/mod.rs", "use self::inner::I;"),
            ("host/core/src/a/inner.rs", "use super::A;"),
        ]);
        assert_eq!(tree.found(files).len(), 1);
    }

    #[test]
    fn two_roots_of_a_crate_are_not_one_file() {
        let tree = Tree::of([
            ("host/core/src/lib.rs", "use crate::a::A;"),
            ("host/core/src/main.rs", "use crate::a::A;"),
            ("host/core/src/a.rs", ""),
        ]);
        assert_eq!(tree.found(files), [""; 0]);
    }

    #[test]
    fn the_roof_is_imported_by_those_who_start_it_alone() {
        let app = ("host/wasmill/src/app.rs", "use crate::swap::Swap; use self::more::A;");
        let allowed = Tree::of([
            app,
            ("host/wasmill/src/app/more.rs", "use super::App;"),
            ("host/wasmill/src/cli/run.rs", "use crate::app::App;"),
            ("host/core/src/swap.rs", "use crate::app::App;"),
            ("host/core/src/app.rs", ""),
        ]);
        assert_eq!(allowed.found(roof), [""; 0]);
        let tree = Tree::of([app, ("host/wasmill/src/swap/mod.rs", "use crate::app::told;")]);
        assert_eq!(
            tree.found(roof),
            ["host/wasmill/src/swap/mod.rs: imports `app` (told); only main.rs, cli/run.rs, cli/dev.rs do"]
        );
    }
}
