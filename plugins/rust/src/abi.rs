//! The canonical ABI of world `batches`, by hand: the one file of this crate with `unsafe` in it.
//!
//! Generated bindings would copy every list out of its allocation and bring a code generator into each handler's
//! build. The world has two exports and five imports over integers, strings and lists of integers, which is little
//! enough to write down. What the functions below claim of the host is what a host that checked this component's type
//! (`batches.component-type`, held to `wit/handler.wit` by a test) guarantees:
//!
//! - a (pointer, length) pair given to an export or written into a return area was allocated by `cabi_realloc` with
//!   that length and alignment and filled; strings are UTF-8
//! - an import only reads what it is given, and only during the call
//! - exports are not re-entered, and there is one thread

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::{ptr, slice, str};

use crate::handler::{Entry, Running};
use crate::log::Level;
use crate::message::Batch;
use crate::{Context, Outputs};

#[cfg(target_feature = "atomics")]
compile_error!("a wasmill handler has one thread: build without the target feature `atomics`");

/// World `batches` as the component model encodes it.
pub const COMPONENT_TYPE: &[u8; include_bytes!("batches.component-type").len()] =
    include_bytes!("batches.component-type");

#[cfg(target_os = "unknown")]
pub use memory::cabi_realloc;

/// A list as the canonical ABI passes it: where and how many.
type List<T> = (*const T, usize);

struct Instance {
    handler: Box<dyn Running>,
    out: Outputs,
}

thread_local! {
    static INSTANCE: RefCell<Option<Instance>> = const { RefCell::new(None) };
}

/// Export `init`. Returns a `result<_, string>`.
///
/// # Safety
/// The lists are as the canonical ABI lowers a `context`, see the module.
#[allow(private_interfaces)]
pub unsafe fn init(
    entry: impl Entry,
    pipeline: List<u8>,
    group: List<u8>,
    digest: List<u8>,
    settings: List<[usize; 4]>,
) -> *const u8 {
    show_panics();
    // SAFETY: given by the caller.
    let context = unsafe {
        let text = |at: usize, len| string((ptr::with_exposed_provenance(at), len));
        let pair = |&[key, key_len, value, value_len]: &[usize; 4]| (text(key, key_len), text(value, value_len));
        let pairs = list(settings).iter().map(pair).collect();
        memory::free(settings);
        Context { pipeline: string(pipeline), group: string(group), digest: string(digest), settings: pairs }
    };
    let words = match entry.start(&context) {
        Ok(handler) => {
            INSTANCE.set(Some(Instance { handler, out: Outputs::default() }));
            [0, 0, 0]
        }
        Err(reason) => {
            let reason = reason.leak();
            [1, reason.as_ptr().expose_provenance(), reason.len()]
        }
    };
    memory::reset();
    // Leaked: `init` is called once, and an instance that refuses is thrown away.
    Box::leak(Box::new(words)).as_ptr().cast()
}

/// Export `handle`.
///
/// # Safety
/// The lists are as the canonical ABI lowers `list<u8>` and `list<u32>`, see the module.
pub unsafe fn handle(source: u32, partition: i32, data: List<u8>, table: List<u32>, stride: u32, count: u32) -> u32 {
    // SAFETY: given by the caller. Nothing takes these lists back before the end of this function, and the host does not
    // write to what it has handed over.
    let (bytes, words) = unsafe { (list(data), list(table)) };
    let reached = INSTANCE.with_borrow_mut(|instance| {
        let Instance { handler, out } = instance.as_mut().expect("the host calls `init` first");
        let batch = Batch::new(source, partition, bytes, words, stride as usize, count as usize);
        handler.handle(&batch, out)
    });
    // SAFETY: given by the caller; the batch that borrowed them is gone.
    unsafe {
        memory::free(data);
        memory::free(table);
    }
    memory::reset();
    reached
}

/// Import `outcome.emit`.
pub(crate) fn emit(data: &[u8], table: &[u32], stride: u32, count: u32) {
    // SAFETY: both lists are borrowed for the call, which is as long as the host reads them.
    unsafe { raw::emit(data.as_ptr(), data.len(), table.as_ptr(), table.len(), stride, count) }
}

/// Import `outcome.fail`.
pub(crate) fn fail(message: u32, retry_after_ms: Option<u32>, reason: &str) {
    let (some, ms) = (u32::from(retry_after_ms.is_some()), retry_after_ms.unwrap_or_default());
    // SAFETY: the text is borrowed for the call, which is as long as the host reads it.
    unsafe { raw::fail(message, some, ms, reason.as_ptr(), reason.len()) }
}

/// Import `log.write`.
pub(crate) fn log(level: Level, text: &str) {
    // SAFETY: the text is borrowed for the call; `Level` numbers its levels in the order of the contract's enum.
    unsafe { raw::write(level as u32, text.as_ptr(), text.len()) }
}

/// Import `topics.number`.
pub(crate) fn topic_number(name: &str) -> Result<u32, String> {
    let mut area = [0usize; 3];
    // SAFETY: the name is borrowed for the call; a `result<u32, string>` is three words.
    unsafe { raw::number(name.as_ptr(), name.len(), &raw mut area) };
    let [tag, word, len] = area;
    match tag as u8 {
        // A `u32` is a word of wasm32.
        0 => Ok(word as u32),
        // SAFETY: the host lowered a string behind tag 1.
        _ => Err(unsafe { string((ptr::with_exposed_provenance(word), len)) }),
    }
}

/// Import `topics.source-name`.
pub(crate) fn source_name(source: u32) -> String {
    let mut area = [0usize; 2];
    // SAFETY: a string is two words.
    unsafe { raw::source_name(source, &raw mut area) };
    // SAFETY: the host lowered a string.
    unsafe { string((ptr::with_exposed_provenance(area[0]), area[1])) }
}

/// # Safety
/// As in the module; and the list is not taken back while the result is in use.
unsafe fn list<'a, T>((at, len): List<T>) -> &'a [T] {
    if len == 0 {
        return &[];
    }
    // SAFETY: `at` has `len` elements, says the caller; `cabi_realloc` aligned it.
    unsafe { slice::from_raw_parts(at, len) }
}

/// # Safety
/// The list is a string of the host's, as in the module.
unsafe fn string(text: List<u8>) -> String {
    // SAFETY: given by the caller, and the copy is made before anything is taken back.
    unsafe {
        let copy = str::from_utf8_unchecked(list(text)).to_owned();
        memory::free(text);
        copy
    }
}

/// A panic ends in a trap that knows where but not why; this says why first.
fn show_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic.payload_as_str().unwrap_or("a value that is no text");
        match panic.location() {
            Some(place) => log(Level::Error, &format!("panicked at {place}: {what}")),
            None => log(Level::Error, &format!("panicked: {what}")),
        }
    }));
}

/// Without WASI nobody but the host calls `cabi_realloc`, so what it gives away is taken back call by call.
#[cfg(target_os = "unknown")]
mod memory {
    use super::List;
    use crate::arena::Arena;
    use std::cell::RefCell;
    use std::ptr;

    thread_local! {
        static ARENA: RefCell<Arena> = const { RefCell::new(Arena::new()) };
    }

    /// Export `cabi_realloc`: memory for what the host hands over.
    ///
    /// # Safety
    /// `old` has `old_len` bytes and came from here.
    pub unsafe fn cabi_realloc(old: *mut u8, old_len: usize, align: usize, len: usize) -> *mut u8 {
        assert!(align <= 16, "nothing in the contract is aligned to more than 16");
        let new = ARENA.with_borrow_mut(|arena| arena.allocate(len));
        if old_len > 0 {
            // SAFETY: both have that many bytes, and the arena gave them away separately.
            unsafe { ptr::copy_nonoverlapping(old, new, old_len.min(len)) };
        }
        new
    }

    /// Nothing: see `reset`.
    ///
    /// # Safety
    /// None needed; the other `free` does.
    pub(super) unsafe fn free<T>(_: List<T>) {}

    /// Takes back all that the host was given since the last time.
    pub(super) fn reset() {
        ARENA.with_borrow_mut(Arena::reset);
    }
}

/// WASI's C library has a `cabi_realloc` of its own, and keeps and frees what its own imports lowered: an arena would
/// take that from under it.
#[cfg(not(target_os = "unknown"))]
mod memory {
    use super::List;
    use std::alloc::{Layout, dealloc};

    /// Frees a list that the host lowered.
    ///
    /// # Safety
    /// It came from `cabi_realloc` and nothing refers to it any more.
    pub(super) unsafe fn free<T>((at, len): List<T>) {
        let layout = Layout::array::<T>(len).expect("a list of the host's fits memory");
        if layout.size() > 0 {
            // SAFETY: given by the caller; both `cabi_realloc` and the global allocator are the C library's `malloc`.
            unsafe { dealloc(at.cast_mut().cast(), layout) };
        }
    }

    pub(super) fn reset() {}
}

/// The imports as the canonical ABI lowers them.
mod raw {
    #[link(wasm_import_module = "wasmill:handler/outcome@0.1.0")]
    unsafe extern "C" {
        pub fn emit(data: *const u8, data_len: usize, table: *const u32, table_len: usize, stride: u32, count: u32);
        pub fn fail(message: u32, retry: u32, retry_after_ms: u32, reason: *const u8, reason_len: usize);
    }
    #[link(wasm_import_module = "wasmill:handler/topics@0.1.0")]
    unsafe extern "C" {
        pub fn number(name: *const u8, name_len: usize, result: *mut [usize; 3]);
        #[link_name = "source-name"]
        pub fn source_name(source: u32, result: *mut [usize; 2]);
    }
    #[link(wasm_import_module = "wasmill:handler/log@0.1.0")]
    unsafe extern "C" {
        pub fn write(level: u32, text: *const u8, text_len: usize);
    }
}
