//! `topics`: the numbers of output topics and the names of input topics.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use super::names::of_version;
use crate::error::Stop;
use crate::spec::OutputNames;
use crate::text;

/// The interface's name.
pub(crate) const INTERFACE: &str = "wasmill:handler/topics@0.1.0";

/// What the pipeline grants.
pub(crate) struct Topics {
    pub(crate) outputs: Arc<OutputNames>,
    pub(crate) sources: Arc<Vec<String>>,
}

impl Topics {
    /// The number of an output topic, or a text for the handler that says what there is.
    pub(crate) fn number(&self, name: &str) -> Result<u32, String> {
        self.outputs.number(name).ok_or_else(|| {
            let name = text::clean(name, 300);
            format!(
                "the pipeline grants no output topic `{name}`; granted: {}; hint: `output = {{ topic = \"...\", \
                 topics = [\"{name}\"] }}` grants it beside the default output",
                self.outputs.listed()
            )
        })
    }

    /// The name behind a `source` number.
    pub(crate) fn source(&self, number: u32) -> Option<&str> {
        self.sources.get(number as usize).map(String::as_str)
    }
}

/// Adds the interface to the linker. `topics` finds the context in a store's data; shared, as it is read beside the
/// guest's memory.
pub(crate) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    version: &str,
    topics: impl Fn(&T) -> &Topics + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let mut interface = linker.instance(&of_version(INTERFACE, version))?;
    interface.func_wrap("number", move |cx: StoreContextMut<'_, T>, (name,): (WasmStr,)| {
        let name = name.to_str(&cx)?;
        Ok((topics(cx.data()).number(&name),))
    })?;
    interface.func_wrap("source-name", move |cx: StoreContextMut<'_, T>, (source,): (u32,)| {
        let topics = topics(cx.data());
        let Some(name) = topics.source(source) else {
            let known = topics.sources.len();
            return Err(Stop::protocol(format!("source-name: source {source} of {known}")).into());
        };
        Ok((name.to_owned(),))
    })
}
