//! `wasi:filesystem`: linked by every toolchain and granted to nobody. There is no directory to begin from, so a guest
//! has no descriptor to call any of this with; should one, it is told that access is denied.

use wasmtime::component::types::{ComponentFunc, Type};
use wasmtime::component::{Linker, ResourceType, Val};

use crate::error::Stop;

enum Descriptor {}
enum DirectoryEntries {}

const FUNCTIONS: &[&str] = &[
    "[method]descriptor.read-via-stream",
    "[method]descriptor.write-via-stream",
    "[method]descriptor.append-via-stream",
    "[method]descriptor.advise",
    "[method]descriptor.sync-data",
    "[method]descriptor.get-flags",
    "[method]descriptor.get-type",
    "[method]descriptor.set-size",
    "[method]descriptor.set-times",
    "[method]descriptor.read",
    "[method]descriptor.write",
    "[method]descriptor.read-directory",
    "[method]descriptor.sync",
    "[method]descriptor.create-directory-at",
    "[method]descriptor.stat",
    "[method]descriptor.stat-at",
    "[method]descriptor.set-times-at",
    "[method]descriptor.link-at",
    "[method]descriptor.open-at",
    "[method]descriptor.readlink-at",
    "[method]descriptor.remove-directory-at",
    "[method]descriptor.rename-at",
    "[method]descriptor.symlink-at",
    "[method]descriptor.unlink-file-at",
    "[method]descriptor.is-same-object",
    "[method]descriptor.metadata-hash",
    "[method]descriptor.metadata-hash-at",
    "[method]directory-entry-stream.read-directory-entry",
    "filesystem-error-code",
];

/// Adds both interfaces.
pub(crate) fn add_to_linker<T: 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    types.resource("descriptor", ResourceType::host::<Descriptor>(), |_, _| Ok(()))?;
    types.resource("directory-entry-stream", ResourceType::host::<DirectoryEntries>(), |_, _| Ok(()))?;
    for name in FUNCTIONS {
        types.func_new(name, move |_, ty, _, results| deny(name, &ty, results))?;
    }
    let mut preopens = linker.instance("wasi:filesystem/preopens@0.2.12")?;
    preopens.func_new("get-directories", |_, ty, _, results| match (ty.results().next(), results) {
        (Some(Type::List(_)), [result]) => {
            *result = Val::List(Vec::new());
            Ok(())
        }
        _ => Err(Stop::protocol("get-directories with another type than WASI's").into()),
    })
}

/// The answer "access denied" in the function's own type.
fn deny(name: &str, ty: &ComponentFunc, results: &mut [Val]) -> wasmtime::Result<()> {
    let error = || Some(Box::new(Val::Enum("access".to_owned())));
    let denied = match ty.results().next() {
        Some(Type::Result(result)) if matches!(result.err(), Some(Type::Enum(_))) => Val::Result(Err(error())),
        Some(Type::Option(_)) => Val::Option(None),
        Some(Type::Bool) => Val::Bool(false),
        _ => return Err(Stop::protocol(format!("{name} with another type than WASI's")).into()),
    };
    let [result] = results else { return Err(Stop::protocol(format!("{name} gives one result")).into()) };
    *result = denied;
    Ok(())
}
