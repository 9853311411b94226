//! World `batches`, the fast one: one guest call for each batch.

use wasmill_core::Batch;
use wasmtime::component::{Instance, TypedFunc};
use wasmtime::{AsContextMut, Store};

use crate::state::State;

/// source, partition, data, table, stride, count. Slices: a list of integers is lowered as one copy out of the batch,
/// and as the runtime's functions are covariant in their parameters, one checked once serves every call.
pub(crate) type Parameters<'a> = (u32, i32, &'a [u8], &'a [u32], u32, u32);
pub(crate) type Returned = (u32,);

/// The guest's `handle`, type-checked.
#[derive(Clone, Copy)]
pub(crate) struct Handle(TypedFunc<Parameters<'static>, Returned>);

impl Handle {
    pub(crate) fn find(store: &mut Store<State>, instance: Instance) -> wasmtime::Result<Self> {
        Ok(Self(instance.get_typed_func(store.as_context_mut(), "handle")?))
    }

    /// Hands the batch over; how many messages were reached is as the guest says it.
    pub(crate) fn call(
        &self,
        store: &mut Store<State>,
        source: u32,
        partition: i32,
        batch: &Batch,
    ) -> wasmtime::Result<u32> {
        let handle: TypedFunc<Parameters<'_>, Returned> = self.0;
        let count = batch.len() as u32;
        let stride = batch.stride() as u32;
        let (reached,) = handle.call(store, (source, partition, batch.data(), batch.table(), stride, count))?;
        Ok(reached)
    }
}
