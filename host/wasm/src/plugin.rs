//! A plugin: a handler as an artefact, checked and compiled. Sharing it costs nothing.

use std::sync::Arc;

use wasmill_core::Grants;
use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, InstancePre, Linker};

use crate::binary::{self, Kind, NAME_BYTES, REASON_BYTES};
use crate::error::LoadError;
use crate::footprint::Footprint;
use crate::grants::{self, Asked, NotGranted};
use crate::linkers::Linkers;
use crate::state::State;
use crate::world::World;
use crate::{batches, capabilities, init, messages, text};

/// A compiled handler.
#[derive(Clone)]
pub struct Plugin(Arc<Inner>);

struct Inner {
    digest: String,
    size: usize,
    world: World,
    imports: Vec<String>,
    asked: Asked,
    footprint: Footprint,
    pre: InstancePre<State>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("digest", &self.digest()).field("world", &self.world()).finish_non_exhaustive()
    }
}

impl Plugin {
    pub(crate) fn load(engine: &Engine, linkers: &Linkers, bytes: &[u8]) -> Result<Self, LoadError> {
        let (component, footprint) = compile(engine, bytes)?;
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
        check_exports(engine, &component, world, &handle)?;
        let pre = link(linkers.of(world), &component)?;
        let (digest, size) = (binary::digest(bytes), bytes.len());
        Ok(Self(Arc::new(Inner { digest, size, world, imports, asked, footprint, pre })))
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

    /// What an instance takes of the host.
    pub fn footprint(&self) -> Footprint {
        self.0.footprint
    }

    /// What it imports, as it names it.
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// What a pipeline must grant to it.
    pub fn needs(&self) -> Grants {
        self.0.asked.iter().map(|(_, one)| *one).collect()
    }

    /// Whether a pipeline that grants so much may run it.
    ///
    /// # Errors
    /// It asks for more; the error names the import.
    pub fn check(&self, granted: Grants) -> Result<(), NotGranted> {
        grants::check(&self.0.asked, granted)
    }

    /// Checked and linked, so that an instance is only made.
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
        let asked = |(name, functions): &(String, bool)| Some((name.clone(), capabilities::needed(name, *functions)?));
        let asked = all.iter().filter_map(asked).collect();
        Self { names: all.into_iter().map(|(name, _)| name).collect(), asked }
    }
}

/// Compiles a component, or a core module that says which world it was made for.
fn compile(engine: &Engine, bytes: &[u8]) -> Result<(Component, Footprint), LoadError> {
    let encoded;
    let component = match binary::kind(bytes)? {
        Kind::Component => bytes,
        Kind::Module => {
            encoded = binary::encode(bytes)?;
            &encoded
        }
    };
    let footprint = Footprint::of_component(component)?;
    let compiled = binary::guarded(|| Component::from_binary(engine, component));
    let component = compiled
        .map_err(LoadError::Compile)?
        .map_err(|error| LoadError::Compile(text::clean(&format!("{error:#}"), REASON_BYTES)))?;
    Ok((component, footprint))
}

/// Tells the world by the type of `handle`: both worlds have a function of that name, so a component has only one.
fn world(engine: &Engine, component: &Component) -> Result<(World, ComponentFunc), LoadError> {
    let handle = exported(engine, component, "handle")?;
    let parameters = handle.params().len();
    let world = World::of_parameters(parameters).ok_or_else(|| {
        let reason = format!("it takes {parameters} parameters; that of `batches` takes 6, that of `messages` 1");
        LoadError::ExportType { name: "handle", reason }
    })?;
    Ok((world, handle))
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
    let [batches, messages] = World::ALL.map(capabilities::allowed);
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
        .typecheck::<init::Parameters<'static>, init::Returned>(&ty.instance_type())
        .map_err(misfit("init"))
}
