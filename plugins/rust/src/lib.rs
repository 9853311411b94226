//! Write a [wasmill](https://github.com/wasmill/wasmill) handler in Rust: a function over a message.
//!
//! ```
//! use wasmill_handler::prelude::*;
//!
//! handler!(upper);
//!
//! fn upper(message: &Message, out: &mut Outputs) -> Verdict {
//!     out.send(message.key(), message.value().map(|v| v.to_ascii_uppercase()).as_deref());
//!     ack()
//! }
//! ```
//!
//! The nouns: a [`Message`] is borrowed from the batch it came in; [`Outputs`] collects what is to be published, a
//! [`Draft`] is an output that needs more than key and value, a [`Topic`] is where it goes; a [`Verdict`] says what
//! became of the message, a [`Failure`] why it was not acknowledged; a [`Handler`] is a handler with state, made from a
//! [`Context`]; [`testing`] runs one off-wasm, in an ordinary unit test.
//!
//! A handler is called once for each message, in offset order for each partition, by one thread. An instance serves
//! one or more partitions and is thrown away after a trap or when its partitions move, so its state is a cache: nothing
//! that must survive may live only there.

#[cfg(any(test, target_os = "unknown"))]
mod arena;
mod context;
mod handler;
mod host;
pub mod log;
mod message;
mod outputs;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod verdict;

#[cfg(target_arch = "wasm32")]
mod abi;

pub use context::Context;
pub use handler::Handler;
pub use message::{Header, Headers, Message, NotText};
pub use outputs::{Buffer, Draft, Outputs, Topic};
pub use verdict::{Failure, Verdict, ack};

/// Everything a handler usually names.
pub mod prelude {
    pub use crate::{Context, Failure, Handler, Message, Outputs, Topic, Verdict, ack, handler, log};
}

/// What [`handler!`](crate::handler!) expands to. Not for use by hand; it changes without notice.
#[doc(hidden)]
pub mod __private {
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    pub use crate::abi::cabi_realloc;
    #[cfg(target_arch = "wasm32")]
    pub use crate::abi::{COMPONENT_TYPE, handle, init};
    pub use crate::handler::{Entry, fallback};
}

/// Makes a function or a type the handler of this crate; once in a `cdylib`.
///
/// It takes a function `fn(&Message, &mut Outputs) -> Verdict`, or a type that implements [`Handler`]. Off-wasm it only
/// checks that.
#[macro_export]
macro_rules! handler {
    ($handler:path) => {
        const _: () = {
            // A name lives as a type, as a value, or as both. The glob fills in whichever of the two `$handler` is not;
            // `Entry` then picks the type if there is one, and the function if not.
            #[allow(unused_imports)]
            use $crate::__private::fallback::*;
            #[allow(unused_imports)]
            use $handler as Target;

            #[allow(dead_code)]
            fn entry() -> impl $crate::__private::Entry {
                <Target as $crate::__private::fallback::Pick<_>>::pick(Target)
            }

            $crate::__exports!(entry);
        };
    };
}

/// The exports of world `batches`, for wasm only. They are made in the handler's own crate, so that no linker drops
/// them and a crate that merely depends on this one exports nothing.
#[doc(hidden)]
#[macro_export]
#[cfg(target_arch = "wasm32")]
macro_rules! __exports {
    ($entry:ident) => {
        #[unsafe(link_section = "component-type:wasmill:handler@0.1.0:batches")]
        #[used]
        static COMPONENT_TYPE: [u8; $crate::__private::COMPONENT_TYPE.len()] = *$crate::__private::COMPONENT_TYPE;

        #[unsafe(export_name = "init")]
        unsafe extern "C" fn init(
            pipeline: *const u8,
            pipeline_len: usize,
            group: *const u8,
            group_len: usize,
            digest: *const u8,
            digest_len: usize,
            settings: *const [usize; 4],
            settings_len: usize,
        ) -> *const u8 {
            // SAFETY: the host calls this with what the canonical ABI prescribes for `init`, passed on as it is.
            unsafe {
                $crate::__private::init(
                    $entry(),
                    (pipeline, pipeline_len),
                    (group, group_len),
                    (digest, digest_len),
                    (settings, settings_len),
                )
            }
        }

        #[unsafe(export_name = "handle")]
        unsafe extern "C" fn handle(
            source: u32,
            partition: i32,
            data: *const u8,
            data_len: usize,
            table: *const u32,
            table_len: usize,
            stride: u32,
            count: u32,
        ) -> u32 {
            // SAFETY: the host calls this with what the canonical ABI prescribes for `handle`, passed on as it is.
            unsafe { $crate::__private::handle(source, partition, (data, data_len), (table, table_len), stride, count) }
        }

        #[cfg(target_os = "unknown")]
        #[unsafe(export_name = "cabi_realloc")]
        unsafe extern "C" fn cabi_realloc(old: *mut u8, old_len: usize, align: usize, len: usize) -> *mut u8 {
            // SAFETY: the host calls this with what the canonical ABI prescribes for `cabi_realloc`.
            unsafe { $crate::__private::cabi_realloc(old, old_len, align, len) }
        }
    };
}

/// Nothing off-wasm.
#[doc(hidden)]
#[macro_export]
#[cfg(not(target_arch = "wasm32"))]
macro_rules! __exports {
    ($entry:ident) => {};
}
