//! `wasi:random`: bytes from the operating system, whichever kind is asked for.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::error::Stop;

/// Bytes that can be asked for at once: they are made in the host's memory, which no limit of the guest's bounds.
const AT_ONCE: u64 = 1 << 20;

/// Adds all three interfaces.
pub(crate) fn add_to_linker<T: 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    for (interface, bytes, number) in [
        ("wasi:random/random@0.2.12", "get-random-bytes", "get-random-u64"),
        ("wasi:random/insecure@0.2.12", "get-insecure-random-bytes", "get-insecure-random-u64"),
    ] {
        let mut interface = linker.instance(interface)?;
        interface.func_wrap(bytes, |_: StoreContextMut<'_, T>, (length,): (u64,)| {
            if length > AT_ONCE {
                let what = format!("{length} random bytes were asked for; at most {AT_ONCE} are given at once");
                return Err(Stop::protocol(what).into());
            }
            let mut bytes = vec![0; length as usize];
            getrandom::fill(&mut bytes).map_err(wasmtime::Error::msg)?;
            Ok((bytes,))
        })?;
        interface.func_wrap(number, |_: StoreContextMut<'_, T>, ()| Ok((word()?,)))?;
    }
    let mut seed = linker.instance("wasi:random/insecure-seed@0.2.12")?;
    seed.func_wrap("insecure-seed", |_: StoreContextMut<'_, T>, ()| Ok(((word()?, word()?),)))
}

fn word() -> wasmtime::Result<u64> {
    getrandom::u64().map_err(wasmtime::Error::msg)
}
