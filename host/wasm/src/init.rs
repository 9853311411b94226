//! `init`: the first call of every instance, in both worlds.

use wasmtime::Store;
use wasmtime::component::{ComponentType, Instance, Lower};

use crate::spec::InstanceSpec;
use crate::state::State;
use crate::text;

/// A refusal's text is cut to this.
const REASON_BYTES: usize = 2 * 1024;

/// What `init` is told.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Context<'a> {
    pipeline: &'a str,
    group: &'a str,
    digest: &'a str,
    config: Vec<Setting<'a>>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Setting<'a> {
    key: &'a str,
    value: &'a str,
}

pub(crate) type Parameters<'a> = (Context<'a>,);
pub(crate) type Returned = (Result<(), String>,);

/// Calls the guest's `init`. `Ok(Err(text))` is a refusal by the handler, safe to show.
pub(crate) fn call(
    store: &mut Store<State>,
    instance: Instance,
    spec: &InstanceSpec,
    digest: &str,
) -> wasmtime::Result<Result<(), String>> {
    let init = instance.get_typed_func::<Parameters<'_>, Returned>(&mut *store, "init")?;
    let mut config: Vec<Setting<'_>> = spec.config.iter().map(|(key, value)| Setting { key, value }).collect();
    config.sort_by_key(|setting| setting.key);
    let context = Context { pipeline: &spec.pipeline, group: &spec.group, digest, config };
    let (answer,) = init.call(&mut *store, (context,))?;
    Ok(answer.map_err(|refusal| text::clean(&refusal, REASON_BYTES)))
}
