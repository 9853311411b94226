//! Puts the SDKs and their templates into the binary, for `wasmill new`: a project begins with both, and needs neither a
//! checkout nor a registry for them. The languages of `plugins/languages.toml` become the enum `Language`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use toml::{Table, Value};

/// What tools leave behind.
const LEFT_OUT: [&str; 9] =
    ["build", "node_modules", "target", "zig-out", ".gitignore", ".venv", ".zig-cache", ".pytest_cache", "__pycache__"];
/// Of an SDK's folder: what is for those who work on it.
const NOT_FOR_USERS: [&str; 2] = ["conformance", "tests"];
/// The list of the languages.
const LANGUAGES: &str = "languages.toml";

fn main() -> io::Result<()> {
    let plugins = fs::canonicalize("../../plugins")?;
    println!("cargo::rerun-if-changed={}", plugins.display());
    let mut files = Vec::new();
    walk(&plugins, &plugins, &mut files)?;
    files.sort();
    let mut text = "/// Path below `plugins`, and content.\npub static FILES: &[(&str, &[u8])] = &[\n".to_owned();
    for (name, path) in files {
        writeln!(text, "    ({name:?}, include_bytes!({:?})),", path.display().to_string()).expect("text grows");
    }
    text += "];\n";
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where"));
    fs::write(out.join("templates.rs"), text)?;
    fs::write(out.join("languages.rs"), languages(&fs::read_to_string(plugins.join(LANGUAGES))?)?)
}

/// The enum, and a method that tells what the file says of each.
fn languages(text: &str) -> io::Result<String> {
    let file: Table = text.parse().map_err(io::Error::other)?;
    let languages: Vec<&Value> = file["languages"].as_array().into_iter().flatten().collect();
    let (mut variants, mut all, mut facts) = (String::new(), String::new(), String::new());
    for language in &languages {
        let text =
            |key: &str| language.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("{LANGUAGES}: no `{key}`"));
        let flag = |key: &str| language.get(key).and_then(Value::as_bool).unwrap_or(false);
        let list = |key: &str| -> Vec<&str> {
            let values = language.get(key).and_then(Value::as_array).into_iter().flatten();
            values.filter_map(Value::as_str).collect()
        };
        let name = text("name");
        let variant = name[..1].to_uppercase() + &name[1..];
        writeln!(variants, "    /// {}.", text("compiler")).expect("text grows");
        for alias in list("aliases") {
            writeln!(variants, "    #[value(alias = {alias:?})]").expect("text grows");
        }
        writeln!(variants, "    {variant},").expect("text grows");
        write!(all, "Self::{variant}, ").expect("text grows");
        let sdks = if language.get("sdks").is_some() { list("sdks") } else { vec![name] };
        writeln!(
            facts,
            "            Self::{variant} => Facts {{ name: {name:?}, title: {:?}, mark: {:?}, mark_first: {}, whole: {}, sdks: &{sdks:?} }},",
            text("title"),
            text("mark"),
            flag("mark_first"),
            flag("whole"),
        )
        .expect("text grows");
    }
    Ok(format!(
        "/// A language there is an SDK for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {{
{variants}}}

impl Language {{
    /// All of them.
    pub const ALL: [Self; {}] = [{all}];

    /// What `plugins/{LANGUAGES}` says of it.
    fn facts(self) -> Facts {{
        match self {{
{facts}        }}
    }}
}}
",
        languages.len()
    ))
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let of_sdk = folder.parent() == Some(root);
        if LEFT_OUT.contains(&name) || name == LANGUAGES || of_sdk && NOT_FOR_USERS.contains(&name) || path.is_symlink()
        {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root).expect("below it").display().to_string();
            files.push((name, path));
        }
    }
    Ok(())
}
