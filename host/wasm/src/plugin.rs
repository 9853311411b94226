//! A plugin: a handler as an artefact, checked and compiled. Sharing it costs nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Payload};
use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, InstancePre, Linker};

use crate::engine::Linkers;
use crate::error::{LoadError, StartError};
use crate::grants::{self, Asked, Grants, NotGranted};
use crate::instance::{InitParameters, InitReturned, Instance};
use crate::spec::InstanceSpec;
use crate::state::State;
use crate::{batches, capabilities, messages, text};

/// Custom sections in which wit-bindgen leaves a core module's component type.
const COMPONENT_TYPE: &str = "component-type";
/// How every component and core module begins.
const MAGIC: &[u8] = b"\0asm";
const REASON_BYTES: usize = 4 * 1024;
pub(crate) const NAME_BYTES: usize = 200;

/// Which of the contract's two worlds a plugin lives in.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum World {
    /// One call for each batch.
    Batches,
    /// One call for each message.
    Messages,
}

impl World {
    /// As the contract names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batches => "batches",
            Self::Messages => "messages",
        }
    }
}

/// A compiled handler.
#[derive(Clone)]
pub struct Plugin(Arc<Inner>);

struct Inner {
    digest: String,
    size: usize,
    world: World,
    imports: Vec<String>,
    asked: Asked,
    pre: InstancePre<State>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("digest", &self.digest()).field("world", &self.world()).finish_non_exhaustive()
    }
}

impl Plugin {
    pub(crate) fn load(engine: &Engine, linkers: &Linkers, bytes: &[u8]) -> Result<Self, LoadError> {
        let component = compile(engine, bytes)?;
        let Imports { names: imports, asked } = Imports::of(engine, &component);
        let (world, handle) = match world(engine, &component) {
            Ok(found) => found,
            Err(error) => {
                // The graver matter first: one that asks for a socket need not be told what else it lacks.
                check_strangers(&imports)?;
                return Err(error);
            }
        };
        check_imports(world, &imports)?;
        let linker = match world {
            World::Batches => &linkers.batches,
            World::Messages => &linkers.messages,
        };
        check_exports(engine, &component, world, &handle)?;
        let pre = link(linker, &component)?;
        Ok(Self(Arc::new(Inner { digest: digest(bytes), size: bytes.len(), world, imports, asked, pre })))
    }

    /// SHA-256 of the bytes that were loaded, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// Number of bytes that were loaded.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// The world whose `handle` it exports.
    pub fn world(&self) -> World {
        self.0.world
    }

    /// What it imports, as it names it.
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// What a pipeline must grant to it.
    pub fn needs(&self) -> Grants {
        self.0.asked.iter().fold(Grants::NONE, |all, (_, one)| all.with(*one))
    }

    /// Whether a pipeline that grants so much may run it.
    ///
    /// # Errors
    /// It asks for more; the error names the import.
    pub fn check(&self, granted: Grants) -> Result<(), NotGranted> {
        grants::check(&self.0.asked, granted)
    }

    /// Starts an instance: new memory, `init` called.
    ///
    /// # Errors
    /// Among others if it asks for something that `spec` does not grant: whoever forgot to check is refused here.
    pub fn instantiate(&self, spec: &InstanceSpec) -> Result<Instance, StartError> {
        self.check(spec.grants)?;
        Instance::start(self, spec)
    }

    pub(crate) fn pre(&self) -> &InstancePre<State> {
        &self.0.pre
    }
}

/// What a component imports.
struct Imports {
    names: Vec<String>,
    asked: Asked,
}

impl Imports {
    fn of(engine: &Engine, component: &Component) -> Self {
        let ty = component.component_type();
        let all: Vec<(String, bool)> = ty
            .imports(engine)
            .map(|(name, import)| {
                let functions = match import.ty {
                    ComponentItem::ComponentInstance(instance) => {
                        instance.exports(engine).any(|(_, export)| matches!(export.ty, ComponentItem::ComponentFunc(_)))
                    }
                    _ => true,
                };
                (text::clean(name, NAME_BYTES), functions)
            })
            .collect();
        let asked = grants::asked(all.iter().map(|(name, functions)| (name.as_str(), *functions)));
        Self { names: all.into_iter().map(|(name, _)| name).collect(), asked }
    }
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compiles a component, or a core module that says which world it was made for.
fn compile(engine: &Engine, bytes: &[u8]) -> Result<Component, LoadError> {
    let encoded;
    let component = match kind(bytes)? {
        Kind::Component => bytes,
        Kind::Module => {
            encoded = encode(bytes)?;
            &encoded
        }
    };
    let compiled = guarded(|| Component::from_binary(engine, component));
    compiled
        .map_err(LoadError::Compile)?
        .map_err(|error| LoadError::Compile(text::clean(&format!("{error:#}"), REASON_BYTES)))
}

pub(crate) enum Kind {
    Component,
    Module,
}

pub(crate) fn kind(bytes: &[u8]) -> Result<Kind, LoadError> {
    if !bytes.starts_with(MAGIC) {
        if bytes.is_empty() {
            return Err(LoadError::NotWasm("the file is empty".to_owned()));
        }
        let start = &bytes[..bytes.len().min(MAGIC.len())];
        return Err(LoadError::NotWasm(format!(
            "it begins with `{}`, not with `{}`",
            start.escape_ascii(),
            MAGIC.escape_ascii()
        )));
    }
    let not_wasm =
        |error: wasmparser::BinaryReaderError| LoadError::NotWasm(text::clean(error.message(), REASON_BYTES));
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        match payload.map_err(not_wasm)? {
            Payload::Version { encoding: Encoding::Component, .. } => return Ok(Kind::Component),
            Payload::CustomSection(section) if section.name().starts_with(COMPONENT_TYPE) => return Ok(Kind::Module),
            _ => {}
        }
    }
    Err(LoadError::NoComponentType)
}

pub(crate) fn encode(module: &[u8]) -> Result<Vec<u8>, LoadError> {
    guarded(|| {
        let encoder = wit_component::ComponentEncoder::default().validate(true).module(module)?;
        { encoder }.encode()
    })
    .map_err(LoadError::Encode)?
    .map_err(|error| LoadError::Encode(text::clean(&format!("{error:#}"), REASON_BYTES)))
}

/// Somebody else's parser over somebody else's bytes: if it panics, the plugin is refused and the process goes on.
pub(crate) fn guarded<T>(parse: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(parse)).map_err(|_| "the compiler failed on it".to_owned())
}

/// Tells the world by the type of `handle`: both worlds have a function of that name, so a component has only one.
fn world(engine: &Engine, component: &Component) -> Result<(World, ComponentFunc), LoadError> {
    let handle = exported(engine, component, "handle")?;
    let parameters = handle.params().len();
    let world = world_of(parameters).ok_or_else(|| {
        let reason = format!("it takes {parameters} parameters; that of `batches` takes 6, that of `messages` 1");
        LoadError::ExportType { name: "handle", reason }
    })?;
    Ok((world, handle))
}

/// One parameter for a message, six for a batch. Whether they are the right ones `check_exports` says.
pub(crate) fn world_of(parameters: usize) -> Option<World> {
    match parameters {
        1 => Some(World::Messages),
        6 => Some(World::Batches),
        _ => None,
    }
}

fn exported(engine: &Engine, component: &Component, name: &'static str) -> Result<ComponentFunc, LoadError> {
    let ty = component.component_type();
    match ty.get_export(engine, name).map(|export| export.ty) {
        Some(ComponentItem::ComponentFunc(function)) => Ok(function),
        Some(_) => Err(LoadError::ExportType { name, reason: "it is no function".to_owned() }),
        None => {
            let names: Vec<String> =
                ty.exports(engine).take(10).map(|(name, _)| format!("`{}`", text::clean(name, NAME_BYTES))).collect();
            let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            Err(LoadError::NoExport { name, found })
        }
    }
}

/// What neither world has.
fn check_strangers(imports: &[String]) -> Result<(), LoadError> {
    let [batches, messages] = [World::Batches, World::Messages].map(capabilities::allowed);
    let known =
        |import: &&String| capabilities::is_allowed(import, &batches) || capabilities::is_allowed(import, &messages);
    match imports.iter().find(|import| !known(import)) {
        None => Ok(()),
        Some(import) => Err(LoadError::Import { import: import.clone(), allowed: batches.join(", ") }),
    }
}

fn check_imports(world: World, imports: &[String]) -> Result<(), LoadError> {
    let allowed = capabilities::allowed(world);
    let Some(import) = imports.iter().find(|import| !capabilities::is_allowed(import, &allowed)) else {
        return Ok(());
    };
    let import = import.clone();
    if world == World::Messages && capabilities::is_allowed(&import, &capabilities::allowed(World::Batches)) {
        return Err(LoadError::TwoWorlds { import });
    }
    Err(LoadError::Import { import, allowed: allowed.join(", ") })
}

fn link(linker: &Linker<State>, component: &Component) -> Result<InstancePre<State>, LoadError> {
    linker
        .instantiate_pre(component)
        .map_err(|error| LoadError::ImportType(text::clean(&format!("{error:#}"), REASON_BYTES)))
}

fn check_exports(
    engine: &Engine,
    component: &Component,
    world: World,
    handle: &ComponentFunc,
) -> Result<(), LoadError> {
    let misfit = |name| {
        move |error: wasmtime::Error| LoadError::ExportType {
            name,
            reason: text::clean(&format!("{error:#}"), REASON_BYTES),
        }
    };
    let ty = component.component_type();
    match world {
        World::Batches => handle.typecheck::<batches::Parameters<'static>, batches::Returned>(&ty.instance_type()),
        World::Messages => handle.typecheck::<messages::Parameters<'static>, messages::Returned>(&ty.instance_type()),
    }
    .map_err(misfit("handle"))?;
    exported(engine, component, "init")?
        .typecheck::<InitParameters<'static>, InitReturned>(&ty.instance_type())
        .map_err(misfit("init"))
}
