//! What each world may import, put together: here the capabilities are told where an instance keeps what is theirs.

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::capabilities::{log, outcome, topics, wasi};
use crate::state::State;
use crate::world::World;

/// A linker for each world.
pub(crate) struct Linkers {
    batches: Linker<State>,
    messages: Linker<State>,
}

impl Linkers {
    /// With the contract's own interfaces in this version of it.
    pub(crate) fn new(engine: &Engine, version: &str) -> wasmtime::Result<Self> {
        let messages = common(engine, version)?;
        let mut batches = common(engine, version)?;
        topics::add_to_linker(&mut batches, version, |state| &state.topics)?;
        outcome::add_to_linker(&mut batches, version, |state| &mut state.outcome)?;
        Ok(Self { batches, messages })
    }

    /// What a plugin of this world may import.
    pub(crate) fn of(&self, world: World) -> &Linker<State> {
        match world {
            World::Batches => &self.batches,
            World::Messages => &self.messages,
        }
    }
}

/// What both worlds may import.
fn common(engine: &Engine, version: &str) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::<State>::new(engine);
    log::add_to_linker(&mut linker, version, |state| &mut state.log)?;
    wasi::add_to_linker(&mut linker, State::wasi)?;
    Ok(linker)
}
