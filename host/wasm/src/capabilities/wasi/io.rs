//! `wasi:io`: streams that are the log or empty, and waiting, which ends with the call's deadline: epochs do not reach
//! a guest that sleeps in the host.

use std::time::Instant;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, LinkerInstance, Lower, Resource, ResourceType, WasmList};

use super::context::WasiView;
use super::pollables::{Pollable, READY};
use crate::error::Stop;
use crate::spec::LogLevel;

/// What a guest is told it can write at once. A longer write is taken too.
const WRITE_BYTES: u64 = 64 << 10;

/// `error`: none is ever made.
pub(crate) enum IoError {}
/// `input-stream`: always at its end.
pub(crate) enum Input {}
/// `output-stream`: standard output or error.
pub(crate) enum Output {}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[expect(dead_code, reason = "nothing written to a log fails")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

/// Adds `error`, `poll` and `streams`.
pub(crate) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    view: impl Fn(&mut T) -> WasiView<'_> + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let mut error = linker.instance("wasi:io/error@0.2.12")?;
    error.resource("error", ResourceType::host::<IoError>(), |_, _| Ok(()))?;
    error.func_wrap("[method]error.to-debug-string", |_: StoreContextMut<'_, T>, (_,): (Resource<IoError>,)| {
        Ok(("error".to_owned(),))
    })?;
    poll(&mut linker.instance("wasi:io/poll@0.2.12")?, view)?;
    let mut streams = linker.instance("wasi:io/streams@0.2.12")?;
    input(&mut streams)?;
    output(&mut streams, view)
}

fn poll<T: 'static>(
    interface: &mut LinkerInstance<'_, T>,
    view: impl Fn(&mut T) -> WasiView<'_> + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    interface.resource("pollable", ResourceType::host::<Pollable>(), move |mut cx, number| {
        view(cx.data_mut()).wasi.pollables.drop(number);
        Ok(())
    })?;
    interface.func_wrap(
        "[method]pollable.ready",
        move |mut cx: StoreContextMut<'_, T>, (pollable,): (Resource<Pollable>,)| {
            Ok((view(cx.data_mut()).wasi.pollables.is_ready(&pollable, Instant::now()),))
        },
    )?;
    interface.func_wrap(
        "[method]pollable.block",
        move |mut cx: StoreContextMut<'_, T>, (pollable,): (Resource<Pollable>,)| {
            let view = view(cx.data_mut());
            if let Some(at) = view.wasi.pollables.when(&pollable) {
                view.watch.wait_until(at)?;
            }
            Ok(())
        },
    )?;
    interface.func_wrap("poll", move |mut cx: StoreContextMut<'_, T>, (pollables,): (Vec<Resource<Pollable>>,)| {
        if pollables.is_empty() {
            return Err(Stop::protocol("poll was called with nothing to wait for").into());
        }
        let view = view(cx.data_mut());
        let known = &view.wasi.pollables;
        let when = |pollable| known.when(pollable);
        // Nothing to wait for if one is always ready; else the first timer, if there is one that ever ends.
        if pollables.iter().all(|pollable| when(pollable).is_some()) {
            view.watch.wait_until(pollables.iter().filter_map(|pollable| when(pollable).flatten()).min())?;
        }
        let now = Instant::now();
        let ready = |(index, pollable)| known.is_ready(pollable, now).then_some(index as u32);
        Ok((pollables.iter().enumerate().filter_map(ready).collect::<Vec<u32>>(),))
    })
}

type Read = (Result<Vec<u8>, StreamError>,);
type Counted = (Result<u64, StreamError>,);
type Done = (Result<(), StreamError>,);

fn input<T: 'static>(interface: &mut LinkerInstance<'_, T>) -> wasmtime::Result<()> {
    interface.resource("input-stream", ResourceType::host::<Input>(), |_, _| Ok(()))?;
    for name in ["read", "blocking-read"] {
        let name = format!("[method]input-stream.{name}");
        interface.func_wrap(
            &name,
            |_: StoreContextMut<'_, T>, _: (Resource<Input>, u64)| -> wasmtime::Result<Read> {
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    for name in ["skip", "blocking-skip"] {
        let name = format!("[method]input-stream.{name}");
        interface.func_wrap(
            &name,
            |_: StoreContextMut<'_, T>, _: (Resource<Input>, u64)| -> wasmtime::Result<Counted> {
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    interface.func_wrap("[method]input-stream.subscribe", |_: StoreContextMut<'_, T>, _: (Resource<Input>,)| {
        Ok((Resource::<Pollable>::new_own(READY),))
    })
}

fn output<T: 'static>(
    interface: &mut LinkerInstance<'_, T>,
    view: impl Fn(&mut T) -> WasiView<'_> + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    interface.resource("output-stream", ResourceType::host::<Output>(), |_, _| Ok(()))?;
    interface.func_wrap(
        "[method]output-stream.check-write",
        |_: StoreContextMut<'_, T>, _: (Resource<Output>,)| -> wasmtime::Result<Counted> { Ok((Ok(WRITE_BYTES),)) },
    )?;
    for name in ["write", "blocking-write-and-flush"] {
        let name = format!("[method]output-stream.{name}");
        interface.func_wrap(
            &name,
            move |cx: StoreContextMut<'_, T>,
                  (stream, bytes): (Resource<Output>, WasmList<u8>)|
                  -> wasmtime::Result<Done> {
                write(cx, view, &stream, &bytes);
                Ok((Ok(()),))
            },
        )?;
    }
    for name in ["flush", "blocking-flush"] {
        let name = format!("[method]output-stream.{name}");
        interface.func_wrap(&name, |_: StoreContextMut<'_, T>, _: (Resource<Output>,)| -> wasmtime::Result<Done> {
            Ok((Ok(()),))
        })?;
    }
    for name in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        let name = format!("[method]output-stream.{name}");
        interface
            .func_wrap(&name, |_: StoreContextMut<'_, T>, _: (Resource<Output>, u64)| -> wasmtime::Result<Done> {
                Ok((Ok(()),))
            })?;
    }
    for name in ["splice", "blocking-splice"] {
        let name = format!("[method]output-stream.{name}");
        interface.func_wrap(
            &name,
            |_: StoreContextMut<'_, T>, _: (Resource<Output>, Resource<Input>, u64)| -> wasmtime::Result<Counted> {
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    interface.func_wrap("[method]output-stream.subscribe", |_: StoreContextMut<'_, T>, _: (Resource<Output>,)| {
        Ok((Resource::<Pollable>::new_own(READY),))
    })
}

/// What is written to a stream: complete lines go to the log, and what is an error's becomes last words.
fn write<T>(
    mut cx: StoreContextMut<'_, T>,
    view: impl Fn(&mut T) -> WasiView<'_>,
    stream: &Resource<Output>,
    bytes: &WasmList<u8>,
) {
    let WasiView { wasi, log, .. } = view(cx.data_mut());
    let (room, line_bytes) = (log.room(), log.line_bytes);
    // Taken out while guest memory is read in place.
    let mut stdio = std::mem::take(&mut wasi.stdio);
    let mut words = std::mem::take(&mut log.words);
    let bytes = bytes.as_le_slice(&cx);
    let written = stdio.take(stream.rep(), bytes, room, line_bytes);
    if written.level >= LogLevel::Warn {
        words.stream(bytes);
    }
    let WasiView { wasi, log, .. } = view(cx.data_mut());
    wasi.stdio = stdio;
    log.words = words;
    log.write_all(&written);
}
