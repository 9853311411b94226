//! What can go wrong, by what the caller must do about it: engine, load (the plugin is refused), start (the instance
//! is refused) and call (the instance is over).

use std::path::PathBuf;

use wasmill_core::ErrorClass;

use crate::grants::NotGranted;

/// The engine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The runtime refused the configuration.
    #[error("cannot set up the WebAssembly engine: {0}")]
    Runtime(String),
    /// Cached code is native code that is trusted as it is; a directory that others can write is no place for it.
    #[error("cache {}: {reason}", directory.display())]
    Cache {
        /// The directory as given.
        directory: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The thread that ends calls at their deadline could not be started.
    #[error("cannot start the epoch thread: {0}")]
    Ticker(#[source] std::io::Error),
}

/// The plugin is refused. Nothing of it has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Larger than the engine's limit.
    #[error("the plugin has {size} bytes; at most {limit} are accepted")]
    TooLarge {
        /// Bytes given.
        size: u64,
        /// Bytes accepted.
        limit: u64,
    },
    /// Neither a component nor a core module.
    #[error("this is not WebAssembly: {0}")]
    NotWasm(String),
    /// WebAssembly in text that does not parse. Several lines, with the place.
    #[error("this is no WebAssembly text: {0}")]
    Text(String),
    /// A core module that says nothing of the world it was made for.
    #[error(
        "this is a core module without a component type; hint: `wasmill build FILE.wasm` makes a component of it, if it \
         exports what one of the worlds of wasmill:handler does"
    )]
    NoComponentType,
    /// A core module that cannot be wrapped as a component.
    #[error("cannot turn the core module into a component: {0}")]
    Encode(String),
    /// The code was refused by the compiler.
    #[error("cannot compile the plugin: {0}")]
    Compile(String),
    /// An import that no handler gets.
    #[error("the plugin imports `{import}`, which no handler gets; what can be imported: {allowed}")]
    Import {
        /// The import as the plugin names it.
        import: String,
        /// The names that would be allowed.
        allowed: String,
    },
    /// An import of the other world.
    #[error(
        "the plugin exports the `handle` of world `messages` and imports `{import}`, which belongs to world `batches`; \
         a handler lives in one world"
    )]
    TwoWorlds {
        /// The import as the plugin names it.
        import: String,
    },
    /// An allowed import that is used with another type.
    #[error("the plugin's imports do not fit this host: {0}")]
    ImportType(String),
    /// No `handle` or no `init`.
    #[error(
        "the plugin exports no function `{name}`; it exports {found}. A handler exports `init` and `handle` of world \
         `batches` or of world `messages` of wasmill:handler"
    )]
    NoExport {
        /// What is missing.
        name: &'static str,
        /// What is there.
        found: String,
    },
    /// An instance takes more than it may, before its first call.
    #[error(
        "an instance of the plugin takes {needed} bytes ({instances} core instances; {memory} bytes of memories and tables); \
         limits.memory allows {limit}"
    )]
    Footprint {
        /// Bytes that an instance takes, or the plan by which it is made if that is more.
        needed: u64,
        /// Bytes that it may take.
        limit: u64,
        /// Bytes of linear memories and tables among them.
        memory: u64,
        /// Instances of core modules.
        instances: u64,
    },
    /// Components hand modules or components to each other, so what an instance takes cannot be known beforehand.
    #[error("the plugin instantiates a {kind} that it was handed from outside, which no handler may")]
    Handed {
        /// What it is.
        kind: &'static str,
    },
    /// The instance was tried and did not come to be.
    #[error("an instance of the plugin cannot be made: {0}")]
    Instance(String),
    /// `handle` or `init` is something else than the contract says.
    #[error("the plugin's export `{name}` fits neither world of wasmill:handler: {reason}")]
    ExportType {
        /// The name of the export.
        name: &'static str,
        /// How it differs.
        reason: String,
    },
}

/// What is asked of a plugin before it runs, in the order in which it is asked.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum LoadKind {
    /// Its size.
    Size,
    /// That it is WebAssembly, whole, and says what it was made for.
    Format,
    /// Its imports.
    Imports,
    /// Its exports.
    Contract,
    /// What an instance takes.
    Instance,
    /// Its code.
    Compile,
}

impl LoadKind {
    /// Every kind, in that order.
    pub const ALL: [Self; 6] = [Self::Size, Self::Format, Self::Imports, Self::Contract, Self::Instance, Self::Compile];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Format => "format",
            Self::Imports => "imports",
            Self::Contract => "contract",
            Self::Instance => "instance",
            Self::Compile => "compile",
        }
    }
}

impl LoadError {
    /// What it was refused at.
    pub fn kind(&self) -> LoadKind {
        match self {
            Self::TooLarge { .. } => LoadKind::Size,
            Self::NotWasm(_) | Self::Text(_) | Self::NoComponentType | Self::Encode(_) => LoadKind::Format,
            Self::Import { .. } | Self::TwoWorlds { .. } | Self::ImportType(_) => LoadKind::Imports,
            Self::NoExport { .. } | Self::ExportType { .. } => LoadKind::Contract,
            Self::Footprint { .. } | Self::Handed { .. } | Self::Instance(_) => LoadKind::Instance,
            Self::Compile(_) => LoadKind::Compile,
        }
    }
}

/// The instance was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It asks for something that is not granted. Nothing of it has run.
    #[error(transparent)]
    NotGranted(#[from] NotGranted),
    /// A trap while starting or in `init`.
    #[error("the handler trapped while starting: {0}")]
    Trap(String),
    /// `init` took longer than `limits.init_time`: processor time and waits.
    #[error("the handler's init did not end within limits.init_time")]
    Deadline,
    /// The wall clock ended `init`, and little of that time was its own. What it had, in words.
    #[error("the handler's init did not come to its end: {0}")]
    TimeCap(String),
    /// The instance needs more memory than it may have.
    #[error("the handler needs more memory to start than limits.memory allows")]
    Memory,
    /// `init` said no. The text is the handler's, cut and escaped.
    #[error("the handler refused to start: {0}")]
    Refused(String),
    /// The plugin does not fit the host after all.
    #[error("the plugin cannot be linked: {0}")]
    Imports(String),
}

/// The call failed as a whole: nothing it emitted or said counts, and the instance must be replaced.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// `Trap`, `Deadline`, `TimeCap`, `Memory`, `OutputLimit`, `Protocol` or `Cancelled`.
    pub class: ErrorClass,
    /// One line, safe to show.
    pub message: String,
    /// The guest's frames with their function names, innermost first, safe to show.
    pub backtrace: Option<String>,
}

impl CallError {
    /// The message and the frames below it.
    pub fn full(&self) -> String {
        self.backtrace.iter().fold(self.message.clone(), |text, frames| text + "\n" + frames)
    }
}

/// Why the host itself ended a call. Travels through the runtime as an error and is found again behind it.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the call took longer than its deadline of {0:?}")]
    Deadline(std::time::Duration),
    #[error(
        "the call lasted until limits.time_cap, {cap:?}, in which it had a processor or a wait for {charged:?}; hint: the \
         machine is busy, or a quota holds the process"
    )]
    TimeCap { cap: std::time::Duration, charged: std::time::Duration },
    #[error("the call was cancelled")]
    Cancelled,
    #[error("output limit: {0}")]
    OutputLimit(String),
    #[error("the handler broke the contract: {0}")]
    Protocol(String),
    #[error("the handler left with exit({0})")]
    Exit(u8),
}

impl Stop {
    /// A broken contract. What is said names the number and its bound, never the guest's bytes.
    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol(what.into())
    }

    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::Deadline(_) => ErrorClass::Deadline,
            Self::TimeCap { .. } => ErrorClass::TimeCap,
            Self::Cancelled => ErrorClass::Cancelled,
            Self::OutputLimit(_) => ErrorClass::OutputLimit,
            Self::Protocol(_) => ErrorClass::Protocol,
            Self::Exit(_) => ErrorClass::Trap,
        }
    }
}
