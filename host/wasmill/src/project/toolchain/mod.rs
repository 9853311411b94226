//! What compiles a handler, a file for each toolchain. Each gives back where its result is: a component, or a core module
//! with the names of world `batches`.

mod c;
mod go;
mod javascript;
mod python;
mod rust;
pub mod tools;

use std::path::PathBuf;

use super::folder::Project;
use super::language::Language;
use super::step::Reporter;

/// Compiles the handler of a project.
pub fn compile(project: &Project, reporter: &dyn Reporter) -> anyhow::Result<PathBuf> {
    match project.language {
        Language::Rust => rust::compile(project, reporter),
        Language::Go => go::compile(project, reporter),
        Language::Python => python::compile(project, reporter),
        Language::Javascript => javascript::compile(project, reporter),
        Language::Typescript => javascript::compile_typescript(project, reporter),
        Language::C => c::compile(project, reporter),
        Language::Cpp => c::compile_cpp(project, reporter),
        Language::Zig => c::compile_zig(project, reporter),
        Language::Assemblyscript => javascript::compile_assemblyscript(project, reporter),
    }
}

/// What a build runs of the project's or the machine's, for a project whose build is not begun where nothing has changed.
pub fn programs(project: &Project) -> Vec<PathBuf> {
    match project.language {
        Language::Python => python::program(project).into_iter().collect(),
        Language::Javascript | Language::Typescript => vec![project.directory.join("node_modules/.package-lock.json")],
        // Begun each time: their tools find out by themselves what has changed.
        Language::Rust | Language::Go | Language::C | Language::Cpp | Language::Zig | Language::Assemblyscript => {
            Vec::new()
        }
    }
}
