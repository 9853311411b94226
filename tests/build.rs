//! Lists the languages of `plugins/languages.toml` for `tests/languages.rs`: a test has to have its name before anything runs.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let file = "../plugins/languages.toml";
    println!("cargo::rerun-if-changed={file}");
    let table: toml::Table = fs::read_to_string(file)?.parse().map_err(io::Error::other)?;
    let languages = table["languages"].as_array().into_iter().flatten();
    let names: Vec<&str> = languages.filter_map(|language| language["name"].as_str()).collect();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where"));
    fs::write(out.join("languages.rs"), format!("tests! {{ {} }}\n", names.join(" ")))
}
