//! `wasi:cli`: an empty environment, standard output and error as log lines, an input that is at its end, no terminal,
//! and an exit that ends the call as a trap would.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

use super::io::{Input, Output};
use super::stdio::{ERR, OUT};
use crate::error::Stop;

/// `terminal-input` and `terminal-output`: there is none.
enum TerminalInput {}
enum TerminalOutput {}

/// Adds every interface of `wasi:cli` that a library has.
pub(crate) fn add_to_linker<T: 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut environment = linker.instance("wasi:cli/environment@0.2.12")?;
    environment.func_wrap("get-environment", |_: StoreContextMut<'_, T>, ()| Ok((Vec::<(String, String)>::new(),)))?;
    environment.func_wrap("get-arguments", |_: StoreContextMut<'_, T>, ()| Ok((Vec::<String>::new(),)))?;
    environment.func_wrap("initial-cwd", |_: StoreContextMut<'_, T>, ()| Ok((None::<String>,)))?;

    let mut exit = linker.instance("wasi:cli/exit@0.2.12")?;
    exit.func_wrap("exit", |_: StoreContextMut<'_, T>, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
        Err(Stop::Exit(status.is_err().into()).into())
    })?;
    exit.func_wrap("exit-with-code", |_: StoreContextMut<'_, T>, (code,): (u8,)| -> wasmtime::Result<()> {
        Err(Stop::Exit(code).into())
    })?;

    linker
        .instance("wasi:cli/stdin@0.2.12")?
        .func_wrap("get-stdin", |_: StoreContextMut<'_, T>, ()| Ok((Resource::<Input>::new_own(0),)))?;
    linker
        .instance("wasi:cli/stdout@0.2.12")?
        .func_wrap("get-stdout", |_: StoreContextMut<'_, T>, ()| Ok((Resource::<Output>::new_own(OUT),)))?;
    linker
        .instance("wasi:cli/stderr@0.2.12")?
        .func_wrap("get-stderr", |_: StoreContextMut<'_, T>, ()| Ok((Resource::<Output>::new_own(ERR),)))?;
    terminals(linker)
}

fn terminals<T: 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let input = ResourceType::host::<TerminalInput>();
    linker.instance("wasi:cli/terminal-input@0.2.12")?.resource("terminal-input", input, |_, _| Ok(()))?;
    let output = ResourceType::host::<TerminalOutput>();
    linker.instance("wasi:cli/terminal-output@0.2.12")?.resource("terminal-output", output, |_, _| Ok(()))?;
    linker
        .instance("wasi:cli/terminal-stdin@0.2.12")?
        .func_wrap("get-terminal-stdin", |_: StoreContextMut<'_, T>, ()| Ok((None::<Resource<TerminalInput>>,)))?;
    for name in ["stdout", "stderr"] {
        linker
            .instance(&format!("wasi:cli/terminal-{name}@0.2.12"))?
            .func_wrap(&format!("get-terminal-{name}"), |_: StoreContextMut<'_, T>, ()| {
                Ok((None::<Resource<TerminalOutput>>,))
            })?;
    }
    Ok(())
}
