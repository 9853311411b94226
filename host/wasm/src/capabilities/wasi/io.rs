//! `wasi:io`: streams that are the log or empty, and waiting, which ends with the call's deadline: epochs do not reach
//! a guest that sleeps in the host.

use std::time::Instant;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, LinkerInstance, Lower, Resource, ResourceType, WasmList};

use crate::error::Stop;
use crate::spec::LogLevel;
use crate::state::State;

/// What a guest is told it can write at once. A longer write is taken too.
const WRITE_BYTES: u64 = 64 << 10;
/// Timers of one instance at a time.
const TIMERS: usize = 4096;

/// `error`: none is ever made.
pub(crate) enum IoError {}
/// `pollable`: 0 is always ready, others are timers.
pub(crate) enum Pollable {}
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

const READY: u32 = 0;

/// The timers of an instance, by number from 1 on.
#[derive(Default)]
pub(crate) struct Pollables {
    /// `Some(None)`: a time beyond the clock.
    timers: Vec<Option<Option<Instant>>>,
    free: Vec<u32>,
}

impl Pollables {
    /// A pollable that is ready from `at` on (`None`: never).
    pub(crate) fn timer(&mut self, at: Option<Instant>) -> Result<Resource<Pollable>, Stop> {
        if let Some(number) = self.free.pop() {
            self.timers[number as usize - 1] = Some(at);
            return Ok(Resource::new_own(number));
        }
        if self.timers.len() >= TIMERS {
            return Err(Stop::protocol(format!("more than {TIMERS} timers at a time")));
        }
        self.timers.push(Some(at));
        Ok(Resource::new_own(self.timers.len() as u32))
    }

    /// When the pollable becomes ready; `None`: it always is.
    fn when(&self, pollable: &Resource<Pollable>) -> Option<Option<Instant>> {
        let index = pollable.rep().checked_sub(1)?;
        self.timers.get(index as usize).copied().flatten()
    }

    fn is_ready(&self, pollable: &Resource<Pollable>, now: Instant) -> bool {
        self.when(pollable).is_none_or(|at| at.is_some_and(|at| at <= now))
    }

    fn drop(&mut self, number: u32) {
        let Some(index) = number.checked_sub(1) else { return };
        if self.timers.get_mut(index as usize).and_then(Option::take).is_some() {
            self.free.push(number);
        }
    }
}

/// Adds `error`, `poll` and `streams`.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut error = linker.instance("wasi:io/error@0.2.12")?;
    error.resource("error", ResourceType::host::<IoError>(), |_, _| Ok(()))?;
    error.func_wrap("[method]error.to-debug-string", |_: StoreContextMut<'_, State>, (_,): (Resource<IoError>,)| {
        Ok(("error".to_owned(),))
    })?;
    poll(&mut linker.instance("wasi:io/poll@0.2.12")?)?;
    let mut streams = linker.instance("wasi:io/streams@0.2.12")?;
    input(&mut streams)?;
    output(&mut streams)
}

fn poll(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.resource("pollable", ResourceType::host::<Pollable>(), |mut cx, number| {
        cx.data_mut().wasi.pollables.drop(number);
        Ok(())
    })?;
    interface.func_wrap(
        "[method]pollable.ready",
        |cx: StoreContextMut<'_, State>, (pollable,): (Resource<Pollable>,)| {
            Ok((cx.data().wasi.pollables.is_ready(&pollable, Instant::now()),))
        },
    )?;
    interface.func_wrap(
        "[method]pollable.block",
        |cx: StoreContextMut<'_, State>, (pollable,): (Resource<Pollable>,)| {
            if let Some(at) = cx.data().wasi.pollables.when(&pollable) {
                cx.data().watch.wait_until(at)?;
            }
            Ok(())
        },
    )?;
    interface.func_wrap("poll", |cx: StoreContextMut<'_, State>, (pollables,): (Vec<Resource<Pollable>>,)| {
        if pollables.is_empty() {
            return Err(Stop::protocol("poll was called with nothing to wait for").into());
        }
        let known = &cx.data().wasi.pollables;
        let when = |pollable| known.when(pollable);
        // Nothing to wait for if one is always ready; else the first timer, if there is one that ever ends.
        if pollables.iter().all(|pollable| when(pollable).is_some()) {
            cx.data().watch.wait_until(pollables.iter().filter_map(|pollable| when(pollable).flatten()).min())?;
        }
        let now = Instant::now();
        let ready = |(index, pollable)| known.is_ready(pollable, now).then_some(index as u32);
        Ok((pollables.iter().enumerate().filter_map(ready).collect::<Vec<u32>>(),))
    })
}

type Read = (Result<Vec<u8>, StreamError>,);
type Counted = (Result<u64, StreamError>,);
type Done = (Result<(), StreamError>,);

fn input(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.resource("input-stream", ResourceType::host::<Input>(), |_, _| Ok(()))?;
    for name in ["read", "blocking-read"] {
        let name = format!("[method]input-stream.{name}");
        interface.func_wrap(
            &name,
            |_: StoreContextMut<'_, State>, _: (Resource<Input>, u64)| -> wasmtime::Result<Read> {
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    for name in ["skip", "blocking-skip"] {
        let name = format!("[method]input-stream.{name}");
        interface.func_wrap(
            &name,
            |_: StoreContextMut<'_, State>, _: (Resource<Input>, u64)| -> wasmtime::Result<Counted> {
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    interface.func_wrap("[method]input-stream.subscribe", |_: StoreContextMut<'_, State>, _: (Resource<Input>,)| {
        Ok((Resource::<Pollable>::new_own(READY),))
    })
}

fn output(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.resource("output-stream", ResourceType::host::<Output>(), |_, _| Ok(()))?;
    interface.func_wrap(
        "[method]output-stream.check-write",
        |_: StoreContextMut<'_, State>, _: (Resource<Output>,)| -> wasmtime::Result<Counted> { Ok((Ok(WRITE_BYTES),)) },
    )?;
    for name in ["write", "blocking-write-and-flush"] {
        let name = format!("[method]output-stream.{name}");
        interface.func_wrap(
            &name,
            |mut cx: StoreContextMut<'_, State>,
             (stream, bytes): (Resource<Output>, WasmList<u8>)|
             -> wasmtime::Result<Done> {
                // Taken out while guest memory is read in place.
                let mut stdio = std::mem::take(&mut cx.data_mut().wasi.stdio);
                let room = cx.data_mut().log.room();
                let written = stdio.take(stream.rep(), bytes.as_le_slice(&cx), room, cx.data().log.line_bytes);
                if written.level >= LogLevel::Warn {
                    let mut words = std::mem::take(&mut cx.data_mut().log.words);
                    words.stream(bytes.as_le_slice(&cx));
                    cx.data_mut().log.words = words;
                }
                cx.data_mut().log.write_all(&written);
                cx.data_mut().wasi.stdio = stdio;
                Ok((Ok(()),))
            },
        )?;
    }
    for name in ["flush", "blocking-flush"] {
        let name = format!("[method]output-stream.{name}");
        interface
            .func_wrap(&name, |_: StoreContextMut<'_, State>, _: (Resource<Output>,)| -> wasmtime::Result<Done> {
                Ok((Ok(()),))
            })?;
    }
    for name in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        let name = format!("[method]output-stream.{name}");
        interface.func_wrap(
            &name,
            |_: StoreContextMut<'_, State>, _: (Resource<Output>, u64)| -> wasmtime::Result<Done> { Ok((Ok(()),)) },
        )?;
    }
    for name in ["splice", "blocking-splice"] {
        let name = format!("[method]output-stream.{name}");
        interface.func_wrap(
            &name,
            |_: StoreContextMut<'_, State>, _: (Resource<Output>, Resource<Input>, u64)| -> wasmtime::Result<Counted> {
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    interface.func_wrap("[method]output-stream.subscribe", |_: StoreContextMut<'_, State>, _: (Resource<Output>,)| {
        Ok((Resource::<Pollable>::new_own(READY),))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_numbered_again_and_bounded() {
        let mut pollables = Pollables::default();
        let first = pollables.timer(None).unwrap();
        pollables.drop(first.rep());
        pollables.drop(first.rep());
        for _ in 0..TIMERS {
            pollables.timer(Some(Instant::now())).unwrap();
        }
        assert!(pollables.timer(None).is_err());
        assert_eq!(pollables.timers.len(), TIMERS);
    }
}
