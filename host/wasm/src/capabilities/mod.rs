//! What a handler can do beyond computing: one file for each interface it may import. This file says which world may
//! import what; whatever is not listed here is refused by name when a plugin is loaded.
//!
//! A capability has a context, which is what it keeps between calls, and a function `add_to_linker` that is told how to
//! find that context in the data of a store, whatever else is in there. How is a type parameter and no function pointer:
//! it is inlined into each host function.

use wasmill_core::Grant;

use crate::world::World;

pub(crate) mod log;
mod names;
pub(crate) mod outcome;
pub(crate) mod topics;
pub(crate) mod wasi;
mod words;

pub(crate) use names::is_allowed;

/// Interfaces of types alone.
const TYPES: &str = "wasmill:handler/types@0.1.0";
const PLAIN: &str = "wasmill:handler/plain@0.1.0";

/// The version of the contract that this host keeps.
pub fn contract() -> &'static str {
    log::INTERFACE.split_once('@').map_or("", |(_, version)| version)
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
pub enum Access {
    /// The contract's own: every handler of its world gets it.
    Always,
    /// One of the interfaces that toolchains link whether a handler uses it or not, bounded and empty-handed.
    Wasi,
    /// Only in a pipeline that grants this.
    IfGranted(Grant),
    /// The plugin is refused for it.
    Refused,
}

/// What becomes of an import of a plugin of this world; of one whose world is not known, in either. `functions`: it is
/// imported for more than its types.
pub(crate) fn access(import: &str, functions: bool, world: Option<World>) -> Access {
    let is_contracts = |world| is_allowed(import, &allowed(world));
    if is_allowed(import, wasi::INTERFACES) {
        needed(import, functions).map_or(Access::Wasi, Access::IfGranted)
    } else if world.map_or_else(|| World::ALL.into_iter().any(is_contracts), is_contracts) {
        Access::Always
    } else {
        Access::Refused
    }
}

/// What a pipeline must grant for this import. An interface that is imported for its types alone (a file's times are those
/// of `wasi:clocks/wall-clock`) gives nothing.
pub(crate) fn needed(import: &str, functions: bool) -> Option<Grant> {
    wasi::grant(import).filter(|_| functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_interfaces_with_functions_of_clocks_and_random_need_a_grant() {
        for (import, functions, grant) in [
            ("wasi:io/poll@0.2.6", true, None),
            ("wasi:clocks/wall-clock@0.2.6", false, None),
            ("wasi:clocks/monotonic-clock@0.2.6", true, Some(Grant::Clock)),
            ("wasi:random/insecure-seed@0.2.6", true, Some(Grant::Random)),
            ("wasi:cli/exit@0.2.6", true, None),
        ] {
            assert_eq!(needed(import, functions), grant, "{import}");
        }
    }
}
