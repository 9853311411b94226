//! `wasi:clocks`: the time, and timers to wait for.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower};

use super::context::WasiView;

#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Adds both clocks.
pub(crate) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    view: impl Fn(&mut T) -> WasiView<'_> + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let mut wall = linker.instance("wasi:clocks/wall-clock@0.2.12")?;
    wall.func_wrap("now", |_: StoreContextMut<'_, T>, ()| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok((Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() },))
    })?;
    wall.func_wrap("resolution", |_: StoreContextMut<'_, T>, ()| Ok((Datetime { seconds: 0, nanoseconds: 1 },)))?;

    let mut monotonic = linker.instance("wasi:clocks/monotonic-clock@0.2.12")?;
    monotonic.func_wrap("now", move |mut cx: StoreContextMut<'_, T>, ()| {
        Ok((u64::try_from(view(cx.data_mut()).wasi.began.elapsed().as_nanos()).unwrap_or(u64::MAX),))
    })?;
    monotonic.func_wrap("resolution", |_: StoreContextMut<'_, T>, ()| Ok((1_u64,)))?;
    monotonic.func_wrap("subscribe-instant", move |mut cx: StoreContextMut<'_, T>, (at,): (u64,)| {
        let wasi = view(cx.data_mut()).wasi;
        Ok((wasi.pollables.timer(wasi.began.checked_add(Duration::from_nanos(at)))?,))
    })?;
    monotonic.func_wrap("subscribe-duration", move |mut cx: StoreContextMut<'_, T>, (after,): (u64,)| {
        let at = Instant::now().checked_add(Duration::from_nanos(after));
        Ok((view(cx.data_mut()).wasi.pollables.timer(at)?,))
    })
}
