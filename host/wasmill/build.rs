//! Puts the SDKs and their templates into the binary, for `wasmill new`: a project begins with both, and needs neither a
//! checkout nor a registry for them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What tools leave behind.
const LEFT_OUT: [&str; 9] =
    ["build", "node_modules", "target", "zig-out", ".gitignore", ".venv", ".zig-cache", ".pytest_cache", "__pycache__"];
/// Of an SDK's folder: what is for those who work on it.
const NOT_FOR_USERS: [&str; 2] = ["conformance", "tests"];

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
    fs::write(out.join("templates.rs"), text)
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let of_sdk = folder.parent() == Some(root);
        if LEFT_OUT.contains(&name) || of_sdk && NOT_FOR_USERS.contains(&name) || path.is_symlink() {
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
