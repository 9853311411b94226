//! From what a compiler makes to a component: nobody who writes a handler needs other tools for that.
//!
//! A core module is given the type of the world whose `handle` it exports, unless it carries one already, and what it
//! imports of `wasi_snapshot_preview1` (the interface that C libraries, Go and others were made for) is answered by an
//! adapter of ours, which asks the host for as little as possible.

use std::borrow::Cow;

use wasm_encoder::{ComponentSection as _, ProducersField, ProducersSection};
use wasmill_core::{Grant, Grants};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::binary::{self, Kind};
use crate::error::LoadError;
use crate::inspect;
use crate::text;
use crate::world::World;

/// The module that preview 1 is imported from.
const PREVIEW1: &str = "wasi_snapshot_preview1";
const HANDLER_WIT: &str = include_str!("../../../../wit/handler.wit");
const ADAPTER_WIT: &str = include_str!("adapter.wit");
const REASON_BYTES: usize = 4 * 1024;
/// Parameters of `handle` in world `batches`, as a core module has them: each list is a start and a length.
const BATCHES_PARAMETERS: usize = 8;

/// What `access denied` and `bad file descriptor` are in preview 1.
const DENIED: u32 = 2;
const BAD: u32 = 8;
/// Functions of preview 1 that do nothing here: their parameters (`i`: 32 bits, `l`: 64) and what they answer.
const REFUSED: &[(&str, &str, u32)] = &[
    ("fd_advise", "illi", BAD),
    ("fd_allocate", "ill", BAD),
    ("fd_close", "i", 0),
    ("fd_datasync", "i", BAD),
    ("fd_fdstat_set_rights", "ill", BAD),
    ("fd_filestat_get", "ii", BAD),
    ("fd_filestat_set_size", "il", BAD),
    ("fd_filestat_set_times", "illi", BAD),
    ("fd_pread", "iiili", BAD),
    ("fd_prestat_get", "ii", BAD),
    ("fd_prestat_dir_name", "iii", BAD),
    ("fd_pwrite", "iiili", BAD),
    ("fd_readdir", "iiili", BAD),
    ("fd_renumber", "ii", BAD),
    ("fd_seek", "ilii", BAD),
    ("fd_sync", "i", BAD),
    ("fd_tell", "ii", BAD),
    ("path_create_directory", "iii", DENIED),
    ("path_filestat_get", "iiiii", DENIED),
    ("path_filestat_set_times", "iiiilli", DENIED),
    ("path_link", "iiiiiii", DENIED),
    ("path_open", "iiiiillii", DENIED),
    ("path_readlink", "iiiiii", DENIED),
    ("path_remove_directory", "iii", DENIED),
    ("path_rename", "iiiiii", DENIED),
    ("path_symlink", "iiiii", DENIED),
    ("path_unlink_file", "iii", DENIED),
    ("proc_raise", "i", BAD),
    ("sock_accept", "iii", BAD),
    ("sock_recv", "iiiiii", BAD),
    ("sock_send", "iiiii", BAD),
    ("sock_shutdown", "ii", BAD),
];

/// Makes a component of what a compiler left, or of WebAssembly in text. A component is given back as it is.
///
/// `ask`: what a module's adapter asks the host for, and the component then needs. What it does not ask for, it answers by
/// itself: a clock that begins in 1970 and goes on by a microsecond each time it is read, and the same random numbers every
/// time.
///
/// # Errors
/// The bytes are no WebAssembly, export no `handle`, or cannot be made a component of a world of the contract.
pub fn componentize(bytes: &[u8], ask: Grants) -> Result<Vec<u8>, LoadError> {
    binary::guarded(|| {
        let bytes = &*binary(bytes)?;
        let module = match binary::kind(bytes) {
            Ok(Kind::Component) => return Ok(bytes.to_vec()),
            Ok(Kind::Module) => bytes.to_vec(),
            Err(LoadError::NoComponentType) => typed(bytes)?,
            Err(error) => return Err(error),
        };
        encode(&without_debug_info(&module)?, ask)
    })
    .map_err(LoadError::Encode)?
}

/// The component with a note of what it was written in and made by, unless it says so already. `inspect` shows
/// such notes; nothing else reads them.
pub fn note_language(component: Vec<u8>, language: &str, made_by: (&str, &str)) -> Vec<u8> {
    let noted = inspect::inspect(&component).producers.items;
    if noted.iter().any(|one| one.field == "language" && one.name == language) {
        return component;
    }
    let mut section = ProducersSection::new();
    section.field("language", ProducersField::new().value(language, ""));
    section.field("processed-by", ProducersField::new().value(made_by.0, made_by.1));
    // A component may end with any number of custom sections.
    let mut noted = component;
    section.append_to_component(&mut noted);
    noted
}

/// WebAssembly as it is run: what is in text is translated. Other bytes stay, for others to say what is wrong with them.
fn binary(bytes: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    let start = bytes.trim_ascii_start();
    // An expression or a comment; nothing else can be in front.
    if ![&b"("[..], b";;"].iter().any(|first| start.starts_with(first)) {
        return Ok(Cow::Borrowed(bytes));
    }
    wat::parse_bytes(bytes).map_err(|mut error| {
        // Where it is stands below the message; without a name for the file that would be in `<anon>`.
        error.set_path("the text");
        LoadError::Text(text::clean_lines(&error.to_string(), REASON_BYTES))
    })
}

fn encode(module: &[u8], ask: Grants) -> Result<Vec<u8>, LoadError> {
    let mut encoder = ComponentEncoder::default().validate(true).module(module).map_err(unfit)?;
    if imports(module, PREVIEW1, None) {
        encoder = encoder.adapter(PREVIEW1, &adapter(ask)?).map_err(unfit)?;
    }
    encoder.encode().map_err(unfit)
}

fn unfit(error: impl std::fmt::Display) -> LoadError {
    LoadError::Encode(text::clean(&format!("{error:#}"), REASON_BYTES))
}

/// The module with the type of the world that its `handle` has.
fn typed(module: &[u8]) -> Result<Vec<u8>, LoadError> {
    let world = world(module)?;
    let mut resolve = Resolve::default();
    let package = resolve.push_str("handler.wit", HANDLER_WIT).map_err(unfit)?;
    let world = resolve.select_world(&[package], Some(world.as_str())).map_err(unfit)?;
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(unfit)?;
    Ok(module)
}

/// Tells the world by the number of parameters of the core function `handle`.
fn world(module: &[u8]) -> Result<World, LoadError> {
    let invalid = |error: wasmparser::BinaryReaderError| LoadError::NotWasm(text::clean(error.message(), REASON_BYTES));
    let (mut types, mut functions, mut exports) = (Vec::new(), Vec::new(), Vec::new());
    let mut handle = None;
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(invalid)? {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    types.push(ty.map_err(invalid)?.params().len());
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Func(ty) = import.map_err(invalid)?.ty {
                        functions.push(ty);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    functions.push(ty.map_err(invalid)?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    exports.push(format!("`{}`", text::clean(export.name, binary::NAME_BYTES)));
                    if export.name == "handle" && export.kind == ExternalKind::Func {
                        handle = Some(export.index);
                    }
                }
            }
            _ => {}
        }
    }
    let Some(index) = handle else {
        exports.truncate(10);
        let found = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
        return Err(LoadError::NoExport { name: "handle", found });
    };
    let ty = functions.get(index as usize).and_then(|ty| types.get(*ty as usize));
    Ok(if ty == Some(&BATCHES_PARAMETERS) { World::Batches } else { World::Messages })
}

/// The module without what a debugger reads, which is most of it where a compiler leaves it in. Names of functions stay:
/// backtraces show them.
fn without_debug_info(module: &[u8]) -> Result<Vec<u8>, LoadError> {
    let mut kept = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(unfit)?;
        if matches!(&payload, Payload::CustomSection(section) if section.name().starts_with(".debug_")) {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            kept.section(&wasm_encoder::RawSection { id, data: &module[range] });
        }
    }
    Ok(kept.finish())
}

/// What a module would ask its adapter for: it imports the clock, or random numbers, of preview 1. A component asks for
/// nothing that way.
pub fn asks(module: &[u8]) -> Grants {
    let function = |one: &Grant| match one {
        Grant::Clock => "clock_time_get",
        Grant::Random => "random_get",
    };
    Grant::ALL.into_iter().filter(|one| imports(module, PREVIEW1, Some(function(one)))).collect()
}

/// Whether a core module imports something, or this, from there.
fn imports(module: &[u8], from: &str, name: Option<&str>) -> bool {
    let is_it = |import: wasmparser::Import<'_>| import.module == from && name.is_none_or(|name| import.name == name);
    Parser::new(0).parse_all(module).any(|payload| match payload {
        Ok(Payload::ImportSection(section)) => section.into_imports().any(|import| import.is_ok_and(is_it)),
        _ => false,
    })
}

/// The adapter, with its type. What a module does not import is left out of it when the two are put together.
fn adapter(ask: Grants) -> Result<Vec<u8>, LoadError> {
    let mut module = wat::parse_str(adapter_text(ask)).map_err(unfit)?;
    let mut resolve = Resolve::default();
    let package = resolve.push_str("adapter.wit", ADAPTER_WIT).map_err(unfit)?;
    let world = resolve.select_world(&[package], Some("preview1")).map_err(unfit)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(unfit)?;
    Ok(module)
}

fn adapter_text(ask: Grants) -> String {
    let mut text = "(module\n".to_owned();
    // A module's imports come first.
    if ask.contains(Grant::Clock) {
        text += include_str!("clock_host.wat");
    }
    if ask.contains(Grant::Random) {
        text += include_str!("random_host.wat");
    }
    text += include_str!("preview1.wat");
    text +=
        if ask.contains(Grant::Clock) { include_str!("clock_host_body.wat") } else { include_str!("clock_own.wat") };
    if !ask.contains(Grant::Random) {
        text += include_str!("random_own.wat");
    }
    for (name, parameters, errno) in REFUSED {
        let parameters: String = parameters.chars().map(|one| if one == 'l' { " i64" } else { " i32" }).collect();
        text += &format!("  (func (export \"{name}\") (param{parameters}) (result i32) (i32.const {errno}))\n");
    }
    text + ")\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every function of preview 1, by its witx.
    const ALL: &str = "args_get args_sizes_get environ_get environ_sizes_get clock_res_get clock_time_get fd_advise \
        fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights fd_filestat_get \
        fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_get fd_prestat_dir_name fd_pwrite fd_read \
        fd_readdir fd_renumber fd_seek fd_sync fd_tell fd_write path_create_directory path_filestat_get \
        path_filestat_set_times path_link path_open path_readlink path_remove_directory path_rename path_symlink \
        path_unlink_file poll_oneoff proc_exit proc_raise sched_yield random_get sock_accept sock_recv sock_send \
        sock_shutdown";

    #[test]
    fn every_function_of_preview_1_is_answered_whatever_is_asked_for() {
        let clock = Grants::NONE.with(Grant::Clock);
        for ask in [Grants::NONE, clock, Grants::ALL.without(clock), Grants::ALL] {
            let module = adapter(ask).unwrap();
            let mut exported = Vec::new();
            for payload in Parser::new(0).parse_all(&module) {
                if let Payload::ExportSection(section) = payload.unwrap() {
                    exported.extend(section.into_iter().map(|export| export.unwrap().name.to_owned()));
                }
            }
            exported.sort();
            let mut all: Vec<&str> = ALL.split_whitespace().collect();
            all.sort_unstable();
            assert_eq!(exported, all);
        }
    }
}
