//! Which crate of the host may depend on which, and who may name a library.

use super::dependencies::Manifest;
use super::{Source, Tree, in_name};

/// The crates of the host by the names of their folders, from the ground up. A crate depends on those of lower rows only.
const LAYERS: [&[&str]; 6] =
    [&["core"], &["config", "kafka", "wasm"], &["pipeline"], &["deploy"], &["console"], &["wasmill"]];

/// Libraries that one crate alone names, so that each can be replaced and tested alone.
const OWNED: [(&str, &str); 2] = [("rdkafka", "host/kafka/"), ("wasmtime", "host/wasm/")];

/// Libraries that the lower crates do not know: the lowest that may name one. What runs handlers can be used without a command line,
/// an HTTP server or a registry.
const LOWEST: [(&str, &str); 4] =
    [("clap", "console"), ("axum", "console"), ("oci-client", "deploy"), ("notify", "deploy")];

fn row(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

/// A crate of the host depends on those below it, and on nothing of the workspace but the host. What only its tests need is not asked.
pub fn crates(tree: &Tree, findings: &mut Vec<String>) {
    let manifests = Manifest::all(tree);
    let members: Vec<&str> = manifests.iter().filter_map(Manifest::package).collect();
    for manifest in &manifests {
        let Some(name) = manifest.folder().strip_prefix("host/") else { continue };
        let Some(own) = row(name) else {
            findings.push(format!("{}: `{name}` is in no row of {:?}; hint: add it", manifest.path, LAYERS));
            continue;
        };
        for dependency in manifest.dependencies().filter(|one| !one.of_tests && members.contains(&one.package)) {
            let place = manifests.iter().find(|one| one.package() == Some(dependency.package));
            let below = place.and_then(|one| one.folder().strip_prefix("host/")).and_then(row);
            if below.is_none_or(|below| below >= own) {
                findings.push(format!(
                    "{}: depends on {}, which is not below it; hint: a crate depends on lower rows of {LAYERS:?}",
                    manifest.path, dependency.package
                ));
            }
        }
    }
}

/// Only `host/kafka` names rdkafka and only `host/wasm` names wasmtime; what lies below the console names no command line and no server.
pub fn libraries(tree: &Tree, findings: &mut Vec<String>) {
    for source in tree.sources.iter().filter(|source| !source.path.starts_with("tests/")) {
        for (library, owner) in OWNED.into_iter().filter(|(_, owner)| !source.path.starts_with(owner)) {
            let said = format!("names {library}; only {owner} does");
            findings.extend(uses(source, library).map(|line| format!("{}:{line}: {said}", source.path)));
        }
        let own = source.path.strip_prefix("host/").and_then(|path| row(path.split('/').next()?));
        for (library, lowest) in LOWEST.into_iter().filter(|(_, lowest)| own.is_some_and(|own| Some(own) < row(lowest)))
        {
            let said = format!("names {library}; no crate below host/{lowest} does");
            findings.extend(uses(source, library).map(|line| format!("{}:{line}: {said}", source.path)));
        }
    }
}

/// The lines on which a file uses a library: as a path in Rust, as a key of a crate's manifest.
fn uses<'a>(source: &'a Source, library: &'a str) -> impl Iterator<Item = usize> + 'a {
    let manifest = source.path.ends_with("/Cargo.toml");
    let name = library.replace('-', "_");
    let lines = source.code().filter(move |(_, line)| {
        if manifest { is_key(line, library) } else { source.path.ends_with(".rs") && is_named(line, &name) }
    });
    lines.map(|(number, _)| number)
}

/// A dependency on the library or on one of its parts: `rdkafka`, `rdkafka-sys`.
fn is_key(line: &str, library: &str) -> bool {
    line.trim_start().strip_prefix(library).is_some_and(|rest| rest.starts_with(['.', ' ', '=', '-']))
}

/// True if `library` is used as a path: `library::`, `use library`, `extern crate library`.
pub fn is_named(line: &str, library: &str) -> bool {
    line.match_indices(library).any(|(at, _)| {
        let (before, rest) = (&line[..at], &line[at + library.len()..]);
        // `a::library` is a module of that name.
        let begins = match before.strip_suffix("::") {
            Some(before) => !before.ends_with(in_name),
            None => !before.ends_with(|c| in_name(c) || c == '"'),
        };
        let path = rest.starts_with("::") || rest.starts_with("_sys::");
        let imported = before.trim_end().ends_with("use") || before.ends_with("crate ");
        begins && (path || imported && !rest.starts_with(in_name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, rest: &str) -> (String, String) {
        let folder = if name == "wasmill" { name } else { name.trim_start_matches("wasmill-") };
        (format!("host/{folder}/Cargo.toml"), format!("[package]\nname = \"{name}\"\n{rest}"))
    }

    fn crates_found(files: &[(String, String)]) -> Vec<String> {
        let sources = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        Tree { sources }.found(crates)
    }

    #[test]
    fn a_crate_depends_on_lower_ones_alone() {
        let core = manifest("wasmill-core", "");
        let wasm = manifest("wasmill-wasm", "[dependencies]\nwasmill-core.workspace = true\n");
        let deploy = manifest("wasmill-deploy", "[dependencies]\nwasmill-wasm = { workspace = true }\n");
        assert_eq!(crates_found(&[core.clone(), wasm.clone(), deploy]), [""; 0]);
        let up = manifest("wasmill-core", "[dependencies]\nwasmill-wasm.workspace = true\n");
        assert_eq!(crates_found(&[up, wasm.clone()]).len(), 1);
        let beside = manifest("wasmill-kafka", "[dependencies]\nwasmill-wasm = { path = \"../wasm\" }\n");
        let said = crates_found(&[beside, wasm.clone()]);
        assert!(
            said[0].starts_with("host/kafka/Cargo.toml: depends on wasmill-wasm, which is not below it"),
            "{said:?}"
        );
        let renamed =
            manifest("wasmill-kafka", "[dependencies]\nengine = { package = \"wasmill-wasm\", path = \"../wasm\" }\n");
        assert_eq!(crates_found(&[renamed, wasm.clone()]).len(), 1);
        let building = manifest("wasmill-kafka", "[build-dependencies]\nwasmill-wasm.workspace = true\n");
        assert_eq!(crates_found(&[building, wasm]).len(), 1);
    }

    #[test]
    fn tests_may_depend_on_more_and_nothing_else_of_the_workspace_is_below_the_host() {
        let tests = ("tests/Cargo.toml".to_owned(), "[package]\nname = \"wasmill-tests\"\n".to_owned());
        let testing = manifest("wasmill-kafka", "[dev-dependencies]\nwasmill-tests = { path = \"../../tests\" }\n");
        assert_eq!(crates_found(&[testing, tests.clone()]), [""; 0]);
        let shipping = manifest("wasmill", "[dependencies]\nwasmill-tests = { path = \"../../tests\" }\n");
        assert_eq!(crates_found(&[shipping, tests]).len(), 1);
        let said = crates_found(&[manifest("wasmill-attic", "")]);
        assert!(said[0].contains("`attic` is in no row"), "{said:?}");
    }

    fn found(path: &str, text: &str) -> Vec<String> {
        Tree::of([(path, text)]).found(libraries)
    }

    #[test]
    fn a_library_is_named_only_by_its_owner() {
        let text = "//! Docs.\nuse rdkafka::ClientConfig;\n";
        assert_eq!(
            found("host/wasmill/src/a.rs", text),
            ["host/wasmill/src/a.rs:2: names rdkafka; only host/kafka/ does"]
        );
        assert_eq!(found("host/kafka/src/a.rs", text).len(), 0);
        assert_eq!(found("tests/src/a.rs", text).len(), 0);
        assert_eq!(found("host/kafka/src/a.rs", "let a = wasmtime::Engine::new();\n").len(), 1);
        assert_eq!(found("host/core/src/a.rs", "let a = x::wasmtime_like();\nlet b = \"rdkafka::\";\n").len(), 0);
        assert_eq!(found("host/core/src/a.rs", "// as rdkafka::Message does\n").len(), 0);
        assert_eq!(found("host/core/Cargo.toml", "rdkafka.workspace = true\n").len(), 1);
        assert_eq!(found("host/core/Cargo.toml", "rdkafka-sys = \"4\"\n").len(), 1);
    }

    #[test]
    fn the_lower_crates_know_no_command_line_and_no_server() {
        for library in ["clap", "axum", "oci_client", "notify"] {
            let text = format!("use {library}::A;\n");
            assert_eq!(found("host/pipeline/src/a.rs", &text).len(), 1, "{library}");
            assert_eq!(found("host/core/src/a.rs", &text).len(), 1, "{library}");
            assert_eq!(found("host/wasmill/src/a.rs", &text).len(), 0, "{library}");
            assert_eq!(found("xtask/src/a.rs", &text).len(), 0, "{library}");
        }
        assert_eq!(found("host/pipeline/Cargo.toml", "notify-debouncer-full.workspace = true\n").len(), 1);
        assert_eq!(found("host/deploy/Cargo.toml", "notify.workspace = true\noci-client.workspace = true\n").len(), 0);
        assert_eq!(
            found("host/deploy/Cargo.toml", "clap.workspace = true\n"),
            ["host/deploy/Cargo.toml:1: names clap; no crate below host/console does"]
        );
        assert_eq!(found("host/pipeline/src/a.rs", "use super::notify::A; use tokio::sync::notify::B;\n").len(), 0);
    }
}
