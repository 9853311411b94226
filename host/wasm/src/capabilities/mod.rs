//! What a handler can do beyond computing: one file for each interface it may import. This file says which world may
//! import what; whatever is not listed here is refused by name when a plugin is loaded.

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::grants::Capability;
use crate::plugin::World;
use crate::state::State;

pub(crate) mod log;
pub(crate) mod outcome;
pub(crate) mod topics;
pub(crate) mod wasi;
mod words;

/// Interfaces of types alone.
const TYPES: &str = "wasmill:handler/types@0.1.0";
const PLAIN: &str = "wasmill:handler/plain@0.1.0";

/// What a plugin of world `batches` may import, the contract's own in this version of it.
pub(crate) fn batches(engine: &Engine, version: &str) -> wasmtime::Result<Linker<State>> {
    let mut linker = common(engine, version)?;
    topics::add_to_linker(&mut linker, version)?;
    outcome::add_to_linker(&mut linker, version)?;
    Ok(linker)
}

/// What a plugin of world `messages` may import.
pub(crate) fn messages(engine: &Engine, version: &str) -> wasmtime::Result<Linker<State>> {
    common(engine, version)
}

fn common(engine: &Engine, version: &str) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    log::add_to_linker(&mut linker, version)?;
    wasi::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// An interface of the contract's, in this version.
fn of_version(interface: &str, version: &str) -> String {
    let name = interface.split_once('@').map_or(interface, |(name, _)| name);
    format!("{name}@{version}")
}

/// The names of the interfaces that a world may import.
pub(crate) fn allowed(world: World) -> Vec<&'static str> {
    let mut names = match world {
        World::Batches => vec![TYPES, log::INTERFACE, topics::INTERFACE, outcome::INTERFACE],
        World::Messages => vec![TYPES, PLAIN, log::INTERFACE],
    };
    names.extend(wasi::INTERFACES);
    names
}

/// What the host does about an import.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Grant {
    /// The contract's own: every handler of its world gets it.
    Always,
    /// One of the interfaces that toolchains link whether a handler uses it or not, bounded and empty-handed.
    Wasi,
    /// Only in a pipeline that grants this.
    IfGranted(Capability),
    /// The plugin is refused for it.
    Refused,
}

/// What becomes of an import of a plugin of this world; of one whose world is not known, in either. `functions`: it is
/// imported for more than its types.
pub(crate) fn grant(import: &str, functions: bool, world: Option<World>) -> Grant {
    let worlds = world.map_or(vec![World::Batches, World::Messages], |world| vec![world]);
    if is_allowed(import, wasi::INTERFACES) {
        wasi::capability(import).filter(|_| functions).map_or(Grant::Wasi, Grant::IfGranted)
    } else if worlds.into_iter().any(|world| is_allowed(import, &allowed(world))) {
        Grant::Always
    } else {
        Grant::Refused
    }
}

/// Whether `import` is one of `allowed`: the same interface, in a version that is compatible.
pub(crate) fn is_allowed(import: &str, allowed: &[&str]) -> bool {
    allowed.iter().any(|name| *name == import || family(name).is_some() && family(name) == family(import))
}

/// An interface without the part of its version that may differ: `a:b/c@0.2.6` is of the family `a:b/c`, 0, 2.
fn family(name: &str) -> Option<(&str, &str, &str)> {
    let (interface, version) = name.split_once('@')?;
    let mut parts = version.splitn(3, '.');
    let (major, minor) = (parts.next()?, parts.next()?);
    // A pre-release is compatible with nothing but itself.
    let patch = parts.next()?;
    patch.bytes().all(|digit| digit.is_ascii_digit()).then_some((interface, major, minor))
}

#[cfg(test)]
mod tests {
    use wasmtime::component::Component;

    use super::*;

    #[test]
    fn two_versions_of_an_interface_stand_side_by_side() {
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        log::add_to_linker(&mut linker, "0.1.9").unwrap();
        log::add_to_linker(&mut linker, "0.2.0").unwrap();
        let links = |version: &str| {
            let text = format!(
                r#"(component (import "wasmill:handler/log@{version}" (instance
                    (type $levels (enum "trace" "debug" "info" "warn" "error"))
                    (export "level" (type $level (eq $levels)))
                    (export "write" (func (param "level" $level) (param "text" string))))))"#
            );
            linker.instantiate_pre(&Component::new(&engine, wat::parse_str(text).unwrap()).unwrap()).is_ok()
        };
        for yes in ["0.1.0", "0.1.9", "0.2.0", "0.2.1"] {
            assert!(links(yes), "{yes}");
        }
        assert!(!links("0.3.0"));
    }

    #[test]
    fn a_later_patch_of_an_allowed_interface_is_allowed() {
        let allowed = ["wasi:io/poll@0.2.6"];
        for yes in ["wasi:io/poll@0.2.6", "wasi:io/poll@0.2.0", "wasi:io/poll@0.2.12"] {
            assert!(is_allowed(yes, &allowed), "{yes}");
        }
        for no in ["wasi:io/poll@0.3.0", "wasi:io/poll@0.2.0-rc", "wasi:io/streams@0.2.6", "wasi:io/poll", "poll"] {
            assert!(!is_allowed(no, &allowed), "{no}");
        }
    }
}
