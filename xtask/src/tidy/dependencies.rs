//! Nothing is depended on that nobody names.

use toml::{Table, Value};

use super::{Tree, layers};

/// What is depended on for other reasons than to be named: the member, the dependency, why.
const NOT_NAMED: [(&str, &str, &str); 0] = [];

/// A member's `Cargo.toml`.
pub struct Manifest {
    /// Relative to the root.
    pub path: String,
    table: Table,
}

/// A dependency of a member.
pub struct Dependency<'a> {
    /// As sources name it, with hyphens.
    pub name: &'a str,
    /// The package, which may have another name.
    pub package: &'a str,
    /// Of the tests alone.
    pub of_tests: bool,
    /// Of `build.rs` alone.
    pub of_build: bool,
    /// `x.workspace = true`.
    inherited: bool,
}

impl Manifest {
    /// Of the members, or of all crates where the root has no manifest.
    pub fn all(tree: &Tree) -> Vec<Self> {
        let read = |path: &str| {
            let table = tree.get(path)?.text.parse().ok()?;
            Some(Self { path: path.to_owned(), table })
        };
        let members = read("Cargo.toml").map(|root| {
            let members = root.table.get("workspace").and_then(|workspace| workspace.get("members"));
            let members = members.and_then(Value::as_array).cloned().unwrap_or_default();
            members.iter().filter_map(|one| Some(format!("{}/Cargo.toml", one.as_str()?))).collect::<Vec<_>>()
        });
        let members = members.unwrap_or_else(|| {
            let all = tree.sources.iter().map(|source| source.path.clone());
            all.filter(|path| path.ends_with("/Cargo.toml")).collect()
        });
        members.iter().filter_map(|path| read(path)).collect()
    }

    pub fn folder(&self) -> &str {
        self.path.trim_end_matches("/Cargo.toml")
    }

    pub fn package(&self) -> Option<&str> {
        self.table.get("package")?.get("name")?.as_str()
    }

    pub fn dependencies(&self) -> impl Iterator<Item = Dependency<'_>> {
        let targets = self.table.get("target").and_then(Value::as_table).into_iter().flatten();
        let tables = std::iter::once(&self.table).chain(targets.filter_map(|(_, target)| target.as_table()));
        tables.flat_map(|table| {
            ["dependencies", "dev-dependencies", "build-dependencies"].into_iter().flat_map(|kind| {
                let dependencies = table.get(kind).and_then(Value::as_table).into_iter().flatten();
                dependencies.map(move |(name, value)| Dependency {
                    name,
                    package: value.get("package").and_then(Value::as_str).unwrap_or(name),
                    of_tests: kind == "dev-dependencies",
                    of_build: kind == "build-dependencies",
                    inherited: value.get("workspace").and_then(Value::as_bool).unwrap_or(false),
                })
            })
        })
    }
}

/// Every dependency that the workspace declares is one of a member.
pub fn of_the_workspace(tree: &Tree, findings: &mut Vec<String>) {
    let Some(root) = tree.get("Cargo.toml").and_then(|root| root.text.parse::<Table>().ok()) else { return };
    let declared = root.get("workspace").and_then(|workspace| workspace.get("dependencies")).and_then(Value::as_table);
    let manifests = Manifest::all(tree);
    let used: Vec<&str> =
        manifests.iter().flat_map(Manifest::dependencies).filter(|one| one.inherited).map(|one| one.name).collect();
    for name in declared.into_iter().flat_map(Table::keys).filter(|name| !used.contains(&name.as_str())) {
        findings
            .push(format!("Cargo.toml: [workspace.dependencies] has {name}, which no member depends on; take it out"));
    }
}

/// Every dependency of a member is named in its code.
pub fn of_a_member(tree: &Tree, findings: &mut Vec<String>) {
    for manifest in Manifest::all(tree) {
        let folder = format!("{}/", manifest.folder());
        let build = format!("{folder}build.rs");
        let sources: Vec<_> = tree
            .sources
            .iter()
            .filter(|source| source.path.starts_with(&folder) && source.path.ends_with(".rs"))
            .collect();
        for dependency in manifest.dependencies() {
            let library = dependency.name.replace('-', "_");
            let named = sources.iter().filter(|source| (source.path == build) == dependency.of_build).any(|source| {
                source.text.lines().any(|line| layers::is_named(line.split("//").next().unwrap_or_default(), &library))
            });
            let excused =
                NOT_NAMED.iter().any(|(member, name, _)| *member == manifest.folder() && *name == dependency.name);
            if !named && !excused {
                findings.push(format!(
                    "{}: depends on {}, which nothing in {folder} names; take it out",
                    manifest.path, dependency.name
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace]\nmembers = [\"a\"]\n[workspace.dependencies]\nserde = \"1\"\nserde-like = \"1\"\n";

    #[test]
    fn what_the_workspace_declares_is_used_by_a_member() {
        let user = "[dependencies]\nserde.workspace = true\n[target.'cfg(unix)'.dependencies]\nserde-like = { workspace = true }\n";
        assert_eq!(Tree::of([("Cargo.toml", ROOT), ("a/Cargo.toml", user)]).found(of_the_workspace), [""; 0]);
        // One that has its own version does not use the workspace's, and one that is no member does not count.
        let own = "[dependencies]\nserde.workspace = true\nserde-like = \"2\"\n";
        let tree = Tree::of([("Cargo.toml", ROOT), ("a/Cargo.toml", own), ("b/Cargo.toml", user)]);
        assert_eq!(
            tree.found(of_the_workspace),
            ["Cargo.toml: [workspace.dependencies] has serde-like, which no member depends on; take it out"]
        );
    }

    #[test]
    fn what_a_member_depends_on_is_named_in_its_code() {
        let manifest = "[dependencies]\nserde-like = \"1\"\n[build-dependencies]\ntoml = \"1\"\n";
        let build = ("a/build.rs", "use toml::Table;\n");
        let used = Tree::of([("a/Cargo.toml", manifest), ("a/src/lib.rs", "fn a() { serde_like::b() }\n"), build]);
        assert_eq!(used.found(of_a_member), [""; 0]);
        let comment = ("a/src/lib.rs", "// serde_like::b()\nfn serde_like_too() { toml::c() }\n");
        let unused = Tree::of([("a/Cargo.toml", manifest), comment, ("a/build.rs", "\n")]);
        assert_eq!(
            unused.found(of_a_member),
            [
                "a/Cargo.toml: depends on serde-like, which nothing in a/ names; take it out",
                "a/Cargo.toml: depends on toml, which nothing in a/ names; take it out"
            ]
        );
    }
}
