//! `wasmill inspect`: what a handler's file is, what it asks for, and whether it is accepted.

use std::path::PathBuf;

use comfy_table::{Table, presets};
use serde_json::{Value, json};
use wasmill_core::Grants;
use wasmill_deploy::handler::loader::Loader;
use wasmill_wasm::{Access, Form, Inspection, contract, inspect};

use super::alone;
use super::output::print;
use crate::cache::cache_folder;
use crate::failure::{Exit, Failure};

const HELP: &str = "Nothing of the handler runs. An import is granted always (the contract's own interfaces), through \
WASI (what toolchains link by themselves: output as log lines, an empty environment; no files, no network), by a pipeline \
that says so (`grant`: a clock, chance), or refused. \
Exit codes: 0 accepted; 2 the file cannot be read; 3 refused.";

/// Tell what a handler's file is: contract, imports, exports, toolchain, and whether it is accepted
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Inspect {
    /// The handler
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// All of it as JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    /// Inspects. Exit 3: wasmill refuses the handler.
    pub fn run(self) -> Result<Exit, Failure> {
        let bytes = alone::read(&self.file)?;
        let limits = alone::pipeline(&[])?.limits;
        let loaded = Loader::open(cache_folder()).map_err(Failure::start)?.compile(&bytes, &limits);
        let refusal = loaded.as_ref().err().map(ToString::to_string);
        let found = inspect(&bytes);
        let file = self.file.display().to_string();
        if self.json {
            print(&format!("{:#}\n", as_json(&file, &found, refusal.as_deref())))?;
        } else {
            print(&as_text(&file, &found, refusal.as_deref()))?;
        }
        Ok(if loaded.is_ok() { Exit::Done } else { Exit::Start })
    }
}

/// A file that was accepted and names no version keeps this host's contract: the types of its exports are those.
pub(super) fn version(found: &Inspection, refusal: Option<&str>) -> Option<String> {
    found.contract.clone().or_else(|| refusal.is_none().then(|| contract().to_owned()))
}

fn form(form: Form) -> &'static str {
    match form {
        Form::Component => "component",
        Form::TypedModule => "core module with an embedded component type",
        Form::Module => "core module without a component type",
        Form::Unreadable => "not WebAssembly, or not all of it",
    }
}

fn granted(access: Access) -> &'static str {
    match access {
        Access::Always => "always",
        Access::Wasi => "wasi",
        Access::IfGranted(_) => "if-granted",
        Access::Refused => "refused",
    }
}

fn as_json(file: &str, found: &Inspection, refusal: Option<&str>) -> Value {
    let imports = found.imports.items.iter().map(|one| {
        let mut told = json!({ "name": one.name, "granted": granted(one.access) });
        if let Access::IfGranted(needed) = one.access {
            told["grant"] = needed.as_str().into();
        }
        told
    });
    let producers = found.producers.items.iter();
    let producers = producers.map(|one| json!({ "field": one.field, "name": one.name, "version": one.version }));
    json!({
        "file": file,
        "accepted": refusal.is_none(),
        "error": refusal,
        "form": match found.form {
            Form::Component => "component",
            Form::TypedModule => "typed-module",
            Form::Module => "module",
            Form::Unreadable => "unreadable",
        },
        "contract": version(found, refusal),
        "world": found.world.map(|world| world.as_str()),
        // What the pipeline's `grant` must have.
        "grant": found.needs().names().collect::<Vec<_>>(),
        "bytes": found.size,
        "digest": found.digest,
        "imports": imports.collect::<Vec<_>>(),
        "exports": found.exports.items,
        "producers": producers.collect::<Vec<_>>(),
        // What the lists leave out.
        "more": { "imports": found.imports.more, "exports": found.exports.more, "producers": found.producers.more },
    })
}

fn as_text(file: &str, found: &Inspection, refusal: Option<&str>) -> String {
    let mut about = table();
    let accepted = match refusal {
        Some(reason) => format!("no: {reason}"),
        None if found.needs().is_empty() => "yes".to_owned(),
        None => format!("yes, in a pipeline with {}", found.needs().line()),
    };
    let version = version(found, refusal).map_or("-".to_owned(), |version| format!("wasmill:handler {version}"));
    about
        .add_row(["file", file])
        .add_row(["accepted", &accepted])
        .add_row(["form", form(found.form)])
        .add_row(["contract", &version])
        .add_row(["world", found.world.map_or("-", |world| world.as_str())])
        .add_row(["size", &format!("{} bytes", found.size)])
        .add_row(["sha256", &found.digest]);
    for one in &found.producers.items {
        about.add_row([one.field.as_str(), format!("{} {}", one.name, one.version).trim_end()]);
    }
    let mut text = about.trim_fmt() + "\n" + &left_out("producers", found.producers.more);
    if !found.imports.items.is_empty() {
        let mut imports = table();
        imports.set_header(["import", "granted"]);
        for one in &found.imports.items {
            let how = match one.access {
                Access::Wasi => "through WASI".to_owned(),
                Access::IfGranted(needed) => format!("needs {}", Grants::NONE.with(needed).line()),
                other => granted(other).to_owned(),
            };
            imports.add_row([one.name.as_str(), &how]);
        }
        text += &format!("\n{}\n{}", imports.trim_fmt(), left_out("imports", found.imports.more));
    }
    if !found.exports.items.is_empty() {
        let mut exports = table();
        exports.set_header(["export"]);
        for one in &found.exports.items {
            exports.add_row([one]);
        }
        text += &format!("\n{}\n{}", exports.trim_fmt(), left_out("exports", found.exports.more));
    }
    text
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table
}

fn left_out(what: &str, more: usize) -> String {
    if more == 0 { String::new() } else { format!(" ... and {more} more {what}\n") }
}
