//! The languages that handlers are written in, as `plugins/languages.toml` has them, and their tools: which of them are here, and
//! how they come here. They are installed beside Apache Kafka, in a folder that all clones share, and nothing else of the
//! machine changes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process::{cache, exists, output, step};

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    languages: Vec<Language>,
    tools: BTreeMap<String, Tool>,
}

/// A language there is an SDK for. The file says what each key means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// Its folder below `plugins`.
    pub name: String,
    /// Other names that the command line takes.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// As people write it.
    pub title: String,
    /// What compiles it.
    pub compiler: String,
    /// The file by which a project is known.
    pub mark: String,
    /// The mark decides also where a project has another language's.
    #[serde(default)]
    pub mark_first: bool,
    /// All that a build reads is in the project's folder.
    #[serde(default)]
    pub whole: bool,
    /// The folders below `plugins` whose SDK a project gets; its own if there is none.
    #[serde(default)]
    pub sdks: Vec<String>,
    /// The programs that its tests need.
    pub tools: Vec<String>,
    /// A new project's own tests, run in its folder.
    pub unit_tests: String,
    /// The SDK's.
    pub sdk_tests: SdkTests,
    /// What a message may cost.
    pub bars: Bars,
    /// 1: `.ci/run` skips none of its tests.
    pub tier: u8,
}

/// How the tests of an SDK are run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SdkTests {
    /// The folder below `plugins`.
    pub folder: String,
    /// The command in it.
    pub run: String,
}

/// What a message of 100 B may cost in a handler, in units of the benchmark.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bars {
    /// One that is acknowledged and no more.
    pub ack: f64,
    /// One whose value is sent on in upper case.
    pub upper: f64,
}

/// A program that can be installed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tool {
    /// What pip installs.
    pip: String,
    /// The module of python's as which the program is there, too.
    module: Option<String>,
}

static FILE: LazyLock<File> = LazyLock::new(|| {
    let text = include_str!("../../../plugins/languages.toml");
    toml::from_str(text).unwrap_or_else(|error| panic!("plugins/languages.toml: {error}"))
});

/// All of them, in the order of the file.
pub fn all() -> &'static [Language] {
    &FILE.languages
}

/// The language of a name.
pub fn named(name: &str) -> Option<&'static Language> {
    all().iter().find(|language| language.name == name)
}

/// The names of all.
pub fn names() -> Vec<String> {
    all().iter().map(|language| language.name.clone()).collect()
}

/// The languages that may not be skipped: `WASMILL_LANGUAGES`, names with commas, `all`, or `tier-1`.
pub fn required() -> Vec<String> {
    chosen(&std::env::var("WASMILL_LANGUAGES").unwrap_or_default())
}

fn chosen(text: &str) -> Vec<String> {
    match text {
        "all" => names(),
        "tier-1" => all().iter().filter(|language| language.tier == 1).map(|language| language.name.clone()).collect(),
        text => text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
    }
}

/// The search path with the tools that were installed here in front.
///
/// # Errors
/// There is no place for a cache.
pub fn path() -> Result<OsString> {
    let before = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(tools()?.join("bin")).chain(std::env::split_paths(&before));
    Ok(std::env::join_paths(all)?)
}

/// Whether a program is on [`path`].
pub fn on_path(program: &str) -> bool {
    exists(program) || tools().is_ok_and(|tools| tools.join("bin").join(program).is_file())
}

/// The tools of a language that are not here.
pub fn missing(language: &str) -> Vec<&'static str> {
    let Some(language) = named(language) else { return vec!["a language of that name"] };
    let here = |tool: &&str| {
        let module = FILE.tools.get(*tool).and_then(|tool| tool.module.as_deref());
        on_path(tool) || module.is_some_and(has_module)
    };
    language.tools.iter().map(String::as_str).filter(|tool| !here(tool)).collect()
}

/// Whether the python of [`path`] has a module.
fn has_module(name: &str) -> bool {
    let Ok(path) = path() else { return false };
    let mut python = Command::new("python3");
    python.env("PATH", path).args(["-c", &format!("import {name}")]);
    python.output().is_ok_and(|output| output.status.success())
}

/// Where pip puts them: a virtual environment.
fn tools() -> Result<PathBuf> {
    Ok(cache()?.join("languages"))
}

/// Installs what these languages lack.
///
/// # Errors
/// A language is unknown, there is no python, or a package cannot be fetched.
pub fn install(languages: &[String]) -> Result<()> {
    if let Some(unknown) = languages.iter().find(|name| named(name).is_none()) {
        bail!("there is no SDK for `{unknown}`; hint: {}", names().join(", "));
    }
    let missing = languages.iter().flat_map(|name| missing(name));
    let mut packages: Vec<&str> = missing.filter_map(|tool| Some(FILE.tools.get(tool)?.pip.as_str())).collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let tools = tools()?;
    if !tools.join("bin/python3").is_file() {
        let mut python = Command::new("python3");
        python.args(["-m", "venv"]).arg(&tools);
        step("make a virtual environment for the languages' tools", &mut python)
            .context("hint: install python3 and its venv module (python3-venv)")?;
    }
    let mut pip = Command::new(tools.join("bin/python3"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(&packages);
    step(&format!("install {}", packages.join(", ")), &mut pip)?;
    // So that a tool that was installed and does not run is told here and not in a test.
    let version = output(Command::new(tools.join("bin/python3")).arg("--version"))?;
    eprintln!("    with {}", version.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::root;

    #[test]
    fn a_language_that_is_none_is_named() {
        let said = install(&["cobol".to_owned()]).unwrap_err().to_string();
        assert!(said.contains("`cobol`") && said.contains("assemblyscript"), "{said}");
        assert_eq!(missing("cobol"), ["a language of that name"]);
    }

    #[test]
    fn every_folder_below_plugins_has_an_entry_and_every_entry_a_folder() {
        let folders = std::fs::read_dir(root().join("plugins")).unwrap().map(|entry| entry.unwrap().path());
        // What all new projects share is no language.
        let sdks = folders.filter(|folder| folder.is_dir() && !folder.ends_with("template"));
        let mut found: Vec<String> =
            sdks.map(|folder| folder.file_name().unwrap().to_string_lossy().into_owned()).collect();
        found.sort();
        let mut known = names();
        known.sort();
        assert_eq!(found, known);
    }

    #[test]
    fn what_an_entry_names_is_there() {
        let plugins = root().join("plugins");
        for language in all() {
            let own = plugins.join(&language.name);
            for place in ["template", "conformance"] {
                let mark = own.join(place).join(&language.mark);
                assert!(mark.is_file(), "{}", mark.display());
            }
            let folder = plugins.join(&language.sdk_tests.folder);
            assert!(folder.is_dir(), "{}", folder.display());
            for sdk in &language.sdks {
                assert!(plugins.join(sdk).join("sdk").is_dir(), "{sdk}");
            }
            assert!(matches!(language.tier, 1 | 2), "{language:?}");
        }
    }

    #[test]
    fn the_readmes_name_every_language() {
        let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
        let (front, sdks) = (read("README.md"), read("plugins/README.md"));
        for Language { name, title, .. } in all() {
            assert!(front.contains(title), "README.md does not name {title}");
            let row = format!("| {title} | [{name}]({name}) |");
            assert!(sdks.contains(&row), "plugins/README.md has no row `{row}`");
        }
    }

    #[test]
    fn a_tier_stands_for_its_languages() {
        assert_eq!(chosen("all"), names());
        assert_eq!(chosen(" go, zig"), ["go", "zig"]);
        assert!(chosen("").is_empty());
        let first = chosen("tier-1");
        assert!(first.contains(&"rust".to_owned()) && !first.contains(&"zig".to_owned()), "{first:?}");
    }
}
