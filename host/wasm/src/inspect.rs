//! What a file says of itself, accepted or not: for people who want to know why a handler is refused, or what it brings
//! along. Reads it only; nothing is compiled and nothing of it runs.
//!
//! Whoever made the file wrote every name in it: all of them are cut and escaped, and so many of a kind are listed.

use wasmill_core::Grants;
use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::TypesRef;
use wasmparser::{ComponentTypeRef, KnownCustom, Parser, Payload, ProducersSectionReader, Validator};

use crate::binary::{self, Kind, NAME_BYTES};
use crate::capabilities::{self, Access};
use crate::error::LoadError;
use crate::text;
use crate::world::World;

/// Names of a kind that are listed.
const LISTED: usize = 200;
/// The package of the contract.
const PACKAGE: (&str, &str) = ("wasmill", "handler");

/// What kind of file it is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Form {
    /// A component.
    Component,
    /// A core module with an embedded component type, as wit-bindgen and the SDKs leave it.
    TypedModule,
    /// A core module that says nothing of a world.
    Module,
    /// No WebAssembly, or not all of it.
    Unreadable,
}

/// So many names, and how many more there are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed<T> {
    /// In the order of the file.
    pub items: Vec<T>,
    /// How many more there are in the file.
    pub more: usize,
}

/// An import and what becomes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Import {
    /// As the file names it.
    pub name: String,
    /// What the host does about it.
    pub access: Access,
}

/// One line of a `producers` section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Producer {
    /// `language`, `processed-by` or `sdk`.
    pub field: String,
    /// What the field names.
    pub name: String,
    /// Its version; may be empty.
    pub version: String,
}

/// What a file says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspection {
    /// SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
    /// The size of the file in bytes.
    pub size: usize,
    /// What kind of file it is.
    pub form: Form,
    /// The version of the contract it names: in its component type, or in its imports. A component that imports
    /// nothing names none.
    pub contract: Option<String>,
    /// The world that its `handle` fits by the number of parameters, which is how the host tells them apart.
    pub world: Option<World>,
    /// The interfaces it imports; of a module that cannot be made a component, the modules.
    pub imports: Listed<Import>,
    /// What it exports.
    pub exports: Listed<String>,
    /// Languages and tools, as far as it records them.
    pub producers: Listed<Producer>,
}

impl Inspection {
    /// What a pipeline must grant for its imports.
    pub fn needs(&self) -> Grants {
        let needed = |import: &Import| match import.access {
            Access::IfGranted(one) => Some(one),
            Access::Always | Access::Wasi | Access::Refused => None,
        };
        self.imports.items.iter().filter_map(needed).collect()
    }
}

/// Reads what a file says of itself.
pub fn inspect(bytes: &[u8]) -> Inspection {
    let form = match binary::guarded(|| binary::kind(bytes)) {
        Ok(Ok(Kind::Component)) => Form::Component,
        Ok(Ok(Kind::Module)) => Form::TypedModule,
        Ok(Err(LoadError::NoComponentType)) => Form::Module,
        Ok(Err(_)) | Err(_) => Form::Unreadable,
    };
    let surface = match form {
        Form::Component => Surface::read(bytes),
        // As the host would see it. What cannot be wrapped still has imports of its own.
        Form::TypedModule => match binary::encode(bytes) {
            Ok(component) => Surface::read(&component),
            Err(_) => Surface::read(bytes),
        },
        Form::Module => Surface::read(bytes),
        Form::Unreadable => Surface::default(),
    };
    let contract = if form == Form::TypedModule { declared(bytes) } else { None };
    let contract = contract.or_else(|| surface.imports.iter().find_map(|(import, _)| version(import)).map(clean));
    let imports = surface.imports.into_iter().map(|(name, functions)| Import {
        access: capabilities::access(&name, functions, surface.world),
        name: clean(&name),
    });
    Inspection {
        digest: binary::digest(bytes),
        size: bytes.len(),
        form,
        contract,
        world: surface.world,
        imports: Listed::of(imports),
        exports: Listed::of(surface.exports.into_iter().map(|name| clean(&name))),
        producers: producers(bytes),
    }
}

impl<T> Listed<T> {
    fn of(mut all: impl Iterator<Item = T>) -> Self {
        let items = all.by_ref().take(LISTED).collect();
        Self { items, more: all.count() }
    }
}

fn clean(name: &str) -> String {
    text::clean(name, NAME_BYTES)
}

/// What a component or module has on its outside.
#[derive(Default)]
struct Surface {
    /// Each with whether it is imported for more than its types, which it is taken for unless the file says otherwise.
    imports: Vec<(String, bool)>,
    exports: Vec<String>,
    world: Option<World>,
}

impl Surface {
    fn read(bytes: &[u8]) -> Self {
        let mut surface = Self::default();
        // A file that ends too early still has what stood before that.
        let _ = binary::guarded(|| surface.names(bytes));
        // The component's types, if it is valid.
        let _ = binary::guarded(|| {
            let types = Validator::new().validate_all(bytes).ok()?;
            surface.world = world(types.as_ref());
            for (name, functions) in &mut surface.imports {
                *functions = has_functions(types.as_ref(), name);
            }
            Some(())
        });
        surface
    }

    fn names(&mut self, bytes: &[u8]) -> wasmparser::Result<()> {
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                // What is inside of a component is its own business.
                _ if depth > 0 => {}
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        let import = import?;
                        // A type by itself is no ability: the host has nothing to give.
                        if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                            self.imports.push((import.name.name.to_owned(), true));
                        }
                    }
                }
                Payload::ComponentExportSection(section) => {
                    for export in section {
                        self.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let module = import?.module;
                        // One after the other in most files; a module's name may be long and its functions many.
                        if !self.imports.iter().rev().take(LISTED).any(|(known, _)| known == module) {
                            self.imports.push((module.to_owned(), true));
                        }
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        self.exports.push(export?.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The world of a component that is valid.
fn world(types: TypesRef<'_>) -> Option<World> {
    match types.component_item_for_export("handle")?.ty {
        ComponentEntityType::Func(function) => World::of_parameters(types[function].params.len()),
        _ => None,
    }
}

/// Whether the import of this name brings functions, or types alone.
fn has_functions(types: TypesRef<'_>, import: &str) -> bool {
    match types.component_item_for_import(import).map(|import| import.ty) {
        Some(ComponentEntityType::Instance(instance)) => {
            types[instance].exports.values().any(|export| matches!(export.ty, ComponentEntityType::Func(_)))
        }
        _ => true,
    }
}

/// The version of the contract in a module's component type.
fn declared(module: &[u8]) -> Option<String> {
    binary::guarded(|| {
        let (_, bindings) = wit_component::metadata::decode(module).ok()?;
        let packages = bindings.resolve.packages.iter().map(|(_, package)| &package.name);
        let mut contracts = packages.filter(|name| (name.namespace.as_str(), name.name.as_str()) == PACKAGE);
        contracts.find_map(|name| name.version.as_ref()).map(|version| clean(&version.to_string()))
    })
    .ok()
    .flatten()
}

/// The version of the contract in the name of an import.
fn version(import: &str) -> Option<&str> {
    let (interface, version) = import.split_once('@')?;
    let (package, _) = interface.split_once('/')?;
    (package.split_once(':')? == PACKAGE).then_some(version)
}

/// What the file and everything in it record of how they were made, each once.
fn producers(bytes: &[u8]) -> Listed<Producer> {
    let mut all = Listed { items: Vec::new(), more: 0 };
    // One that is not well-formed says nothing more; the rest of the inspection stands.
    let _ = binary::guarded(|| {
        for payload in Parser::new(0).parse_all(bytes) {
            let Ok(payload) = payload else { return };
            if let Payload::CustomSection(section) = payload
                && let KnownCustom::Producers(section) = section.as_known()
                && record(section, &mut all).is_err()
            {
                return;
            }
        }
    });
    all
}

fn record(section: ProducersSectionReader<'_>, all: &mut Listed<Producer>) -> wasmparser::Result<()> {
    for field in section {
        let field = field?;
        for value in field.values {
            let value = value?;
            let one = Producer { field: clean(field.name), name: clean(value.name), version: clean(value.version) };
            if all.items.contains(&one) {
                continue;
            }
            // Bounded here: each is compared with all that were kept.
            if all.items.len() < LISTED { all.items.push(one) } else { all.more += 1 }
        }
    }
    Ok(())
}
