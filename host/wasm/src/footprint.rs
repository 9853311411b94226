//! What an instance takes of the host, read off the file before anything is compiled.
//!
//! Linear memory is the smaller part of what a hostile file can take: a global is five bytes in the file and many in each
//! instance, and components that instantiate each other twice double with each level. All of it is multiplied out here.
//! What a file hides from this walk, by handing modules or components from one component to another, is refused.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ElementItems, ElementKind,
    Instance, Parser, Payload,
};

use crate::binary::{self, Kind, REASON_BYTES};
use crate::error::LoadError;
use crate::text;

/// Bytes of a table's element, as the limiter counts them.
pub(crate) const ELEMENT_BYTES: u64 = 16;
/// Bytes of an instance of a core module that has nothing.
const INSTANCE_BYTES: u64 = 4096;
/// Bytes of a global in an instance.
const GLOBAL_BYTES: u64 = 16;
/// Bytes of an import in an instance.
const IMPORT_BYTES: u64 = 32;
/// Bytes of a function that can be referred to.
const FUNCTION_BYTES: u64 = 48;
/// Bytes that the plan of an instance has for a global, which exists once, however many instances there are.
const PLANNED_GLOBAL_BYTES: u64 = 128;
/// Bytes that the plan has for an instance, an alias, or a function that passes between components.
const PLANNED_ITEM_BYTES: u64 = 1024;

/// What one instance takes, in bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Footprint {
    /// Linear memories and tables as they are at first.
    pub memory: u64,
    /// Everything else: globals, imports, function references, the instances themselves.
    pub fixed: u64,
    /// The plan by which instances are made. It exists once.
    pub plan: u64,
    /// Instances of core modules.
    pub instances: u64,
}

impl Footprint {
    /// Reads a plugin. Takes memory in proportion to the file and runs nothing.
    ///
    /// # Errors
    /// It is no WebAssembly, or it instantiates what it got from elsewhere.
    pub fn of(bytes: &[u8]) -> Result<Self, LoadError> {
        match binary::kind(bytes)? {
            Kind::Component => Self::of_component(bytes),
            Kind::Module => Self::of_component(&binary::encode(bytes)?),
        }
    }

    pub(crate) fn of_component(bytes: &[u8]) -> Result<Self, LoadError> {
        binary::guarded(|| Walk::default().read(bytes)).map_err(LoadError::Compile)?
    }

    /// Whether it fits.
    ///
    /// # Errors
    /// It takes more than `limit` bytes; the error has the figures.
    pub fn fits(&self, limit: u64) -> Result<(), LoadError> {
        let needed = self.memory.saturating_add(self.fixed).max(self.plan);
        if needed <= limit {
            return Ok(());
        }
        Err(LoadError::Footprint { needed, limit, memory: self.memory, instances: self.instances })
    }

    fn and(&mut self, other: Self) {
        self.memory = self.memory.saturating_add(other.memory);
        self.fixed = self.fixed.saturating_add(other.fixed);
        self.plan = self.plan.saturating_add(other.plan);
        self.instances = self.instances.saturating_add(other.instances);
    }

    fn item(&mut self) {
        self.plan = self.plan.saturating_add(PLANNED_ITEM_BYTES);
    }
}

/// A module or component that is being read.
#[derive(Default)]
struct Frame {
    component: bool,
    own: Footprint,
    /// What an instance of each module and component that it knows takes. `None`: it came from elsewhere.
    modules: Vec<Option<Footprint>>,
    components: Vec<Option<Footprint>>,
    /// Of a module: its functions, and how many times one is named where that makes it a reference.
    functions: u64,
    references: u64,
}

#[derive(Default)]
struct Walk {
    outer: Vec<Frame>,
    frame: Frame,
}

impl Walk {
    fn read(mut self, bytes: &[u8]) -> Result<Footprint, LoadError> {
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(not_wasm)?;
            match payload {
                Payload::Version { encoding, .. } => self.frame.component = encoding == wasmparser::Encoding::Component,
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                    self.outer.push(std::mem::take(&mut self.frame));
                }
                Payload::End(_) => {
                    let Some(outer) = self.outer.pop() else { break };
                    let inner = std::mem::replace(&mut self.frame, outer);
                    let taken = inner.takes();
                    let known = if inner.component { &mut self.frame.components } else { &mut self.frame.modules };
                    known.push(Some(taken));
                }
                payload if self.frame.component => self.component(payload)?,
                payload => self.frame.module(payload).map_err(not_wasm)?,
            }
        }
        Ok(self.frame.takes())
    }

    fn component(&mut self, payload: Payload<'_>) -> Result<(), LoadError> {
        match payload {
            Payload::InstanceSection(section) => {
                for instance in section {
                    if let Instance::Instantiate { module_index, .. } = instance.map_err(not_wasm)? {
                        let module = known(&self.frame.modules, module_index, "core module")?;
                        self.frame.own.and(module);
                    }
                    self.frame.own.item();
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance.map_err(not_wasm)? {
                        let component = known(&self.frame.components, component_index, "component")?;
                        self.frame.own.and(component);
                    }
                    self.frame.own.item();
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.alias(&alias.map_err(not_wasm)?);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    self.frame.learns(import.map_err(not_wasm)?.ty.kind(), None);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export.map_err(not_wasm)?;
                    let exported = self.frame.knows(export.kind, export.index);
                    self.frame.learns(export.kind, exported);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                let items = u64::from(section.count()).saturating_mul(PLANNED_ITEM_BYTES);
                self.frame.own.plan = self.frame.own.plan.saturating_add(items);
            }
            _ => {}
        }
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        match *alias {
            ComponentAlias::InstanceExport { kind, .. } => self.frame.learns(kind, None),
            ComponentAlias::CoreInstanceExport { .. } => self.frame.own.item(),
            ComponentAlias::Outer { kind, count, index } => {
                let kind = match kind {
                    ComponentOuterAliasKind::CoreModule => ComponentExternalKind::Module,
                    ComponentOuterAliasKind::Component => ComponentExternalKind::Component,
                    ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => return,
                };
                let found = match (count as usize).checked_sub(1) {
                    None => self.frame.knows(kind, index),
                    Some(up) => self.outer.iter().rev().nth(up).and_then(|frame| frame.knows(kind, index)),
                };
                self.frame.learns(kind, found);
            }
        }
    }
}

impl Frame {
    /// What an instance of it takes, now that it was read to its end.
    fn takes(&self) -> Footprint {
        let mut taken = self.own;
        if !self.component {
            let references = self.references.min(self.functions).saturating_mul(FUNCTION_BYTES);
            taken.fixed = taken.fixed.saturating_add(references).saturating_add(INSTANCE_BYTES);
            taken.instances = 1;
        }
        taken
    }

    fn knows(&self, kind: ComponentExternalKind, index: u32) -> Option<Footprint> {
        let known = match kind {
            ComponentExternalKind::Module => &self.modules,
            ComponentExternalKind::Component => &self.components,
            _ => return None,
        };
        known.get(index as usize).copied().flatten()
    }

    fn learns(&mut self, kind: ComponentExternalKind, footprint: Option<Footprint>) {
        match kind {
            ComponentExternalKind::Module => self.modules.push(footprint),
            ComponentExternalKind::Component => self.components.push(footprint),
            _ => {}
        }
        self.own.item();
    }

    fn module(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        let own = &mut self.own;
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    own.fixed = own.fixed.saturating_add(IMPORT_BYTES);
                    self.functions += u64::from(matches!(import.ty, wasmparser::TypeRef::Func(_)));
                }
            }
            Payload::FunctionSection(section) => self.functions += u64::from(section.count()),
            Payload::GlobalSection(section) => {
                let count = u64::from(section.count());
                own.fixed = own.fixed.saturating_add(count * GLOBAL_BYTES);
                own.plan = own.plan.saturating_add(count * PLANNED_GLOBAL_BYTES);
                // Each may begin as a reference to a function.
                self.references += count;
            }
            Payload::ExportSection(section) => self.references += u64::from(section.count()),
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    let page = 1_u64.checked_shl(memory.page_size_log2.unwrap_or(16)).unwrap_or(u64::MAX);
                    own.memory = own.memory.saturating_add(memory.initial.saturating_mul(page));
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let elements = table?.ty.initial.saturating_mul(ELEMENT_BYTES);
                    own.memory = own.memory.saturating_add(elements);
                    self.references += 1;
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    let element = element?;
                    let count = u64::from(match &element.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    });
                    self.references += count;
                    if matches!(element.kind, ElementKind::Passive) {
                        own.fixed = own.fixed.saturating_add(count.saturating_mul(ELEMENT_BYTES));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn known(known: &[Option<Footprint>], index: u32, kind: &'static str) -> Result<Footprint, LoadError> {
    known.get(index as usize).copied().flatten().ok_or(LoadError::Handed { kind })
}

fn not_wasm(error: wasmparser::BinaryReaderError) -> LoadError {
    LoadError::NotWasm(text::clean(error.message(), REASON_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(wat: &str) -> Result<Footprint, LoadError> {
        Footprint::of(&wat::parse_str(wat).unwrap())
    }

    #[test]
    fn globals_count_in_each_instance() {
        let globals = "(global i32 (i32.const 0))".repeat(1000);
        let instances = "(core instance (instantiate $m))".repeat(3);
        let found = of(&format!("(component (core module $m {globals}) {instances})")).unwrap();
        assert_eq!(found.instances, 3);
        assert!(found.fixed >= 3 * 1000 * GLOBAL_BYTES, "{found:?}");
        assert!(matches!(found.fits(1000), Err(LoadError::Footprint { limit: 1000, .. })));
        found.fits(1 << 20).unwrap();
    }

    #[test]
    fn memories_tables_and_references_count() {
        let functions = "(func)".repeat(100);
        let elements = "0 ".repeat(10_000);
        let found = of(&format!(
            "(component (core module $m (memory 2) (table 100 funcref) {functions} (elem func {elements}))
             (core instance (instantiate $m)))"
        ))
        .unwrap();
        assert_eq!(found.memory, (2 << 16) + 100 * ELEMENT_BYTES);
        let passive = 10_000 * ELEMENT_BYTES;
        assert_eq!(found.fixed, INSTANCE_BYTES + passive + 100 * FUNCTION_BYTES, "a function is referred to once");
    }

    /// Components that each instantiate the one before twice.
    fn doubling(levels: usize) -> String {
        let mut text = "(component (core module $m) (component $c0 (alias outer 1 $m (core module $m)) \
                        (core instance (instantiate $m)))"
            .to_owned();
        for level in 1..=levels {
            let below = level - 1;
            text += &format!(
                "(component $c{level} (alias outer 1 $c{below} (component $c)) (instance (instantiate $c)) \
                 (instance (instantiate $c)))"
            );
        }
        text + &format!("(instance (instantiate $c{levels})))")
    }

    #[test]
    fn components_that_instantiate_each_other_twice_are_multiplied_out() {
        assert_eq!(of(&doubling(3)).unwrap().instances, 8);
        let found = of(&doubling(70)).unwrap();
        assert_eq!((found.instances, found.plan), (u64::MAX, u64::MAX), "beyond any number");
        assert!(found.fits(u64::MAX - 1).is_err());
    }

    #[test]
    fn what_a_component_was_handed_cannot_be_instantiated() {
        let module = "(component (import \"m\" (core module $m)) (core instance (instantiate $m)))";
        assert!(matches!(of(module), Err(LoadError::Handed { kind: "core module" })));
        let component = "(component (import \"c\" (component $c)) (instance (instantiate $c)))";
        assert!(matches!(of(component), Err(LoadError::Handed { kind: "component" })));
    }
}
