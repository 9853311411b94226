//! The rules of wasmill, pure: what may be committed, what a verdict leads to, when to wait and when to stop.
//!
//! Nothing here does I/O or reads a clock or a source of randomness; time and chance come in as arguments. The nouns
//! and the modules that own them are listed in this folder's README.md.
#![deny(unsafe_code)]

pub mod backlog;
pub mod backoff;
pub mod batch;
pub mod breaker;
pub mod commit;
pub mod dispatch;
pub mod done;
pub mod emitted;
pub mod fence;
pub mod grants;
pub mod group;
pub mod messages;
pub mod metadata;
pub mod offset;
pub mod order;
pub mod owned_properties;
pub mod partition;
pub mod position;
pub mod rate_limit;
pub mod recycle;
pub mod slice;
pub mod succession;
pub mod tracker;
pub mod trial;
pub mod verdict;

pub use backlog::{Backlog, Call, CallBound, Pick, Route, Side};
pub use backoff::Backoff;
pub use batch::{ABSENT, Batch, BatchFull, HEADER_STRIDE, Headers, MessageRef, STRIDE};
pub use breaker::{Breaker, BreakerPolicy, Opened};
pub use commit::CommitMode;
pub use dispatch::Dispatch;
pub use done::DoneSet;
pub use emitted::{Emitted, EmittedRow, Failure, FailureKind, Span};
pub use fence::{Epoch, Fence, Generation};
pub use grants::{Grant, Grants};
pub use group::{Assignor, OutOfRange, Start};
pub use messages::Messages;
pub use metadata::{CommitNote, RetryNote, VersionNote};
pub use offset::{NextOffset, Offset};
pub use order::Order;
pub use owned_properties::{Clients, OWNED_PROPERTIES, OwnedProperty, owned_property};
pub use position::{BadPosition, Form, Position};
pub use rate_limit::RateLimit;
pub use recycle::Growth;
pub use slice::{Promise, Slice};
pub use succession::{Admit, Succession};
pub use tracker::{Completion, RunId, SpanBound, SpanSize, Tracker};
pub use trial::{Budget, Excess, Pace, Place, Share, Tally};
pub use verdict::{
    AfterCrash, BatchBound, CapEnds, ErrorClass, GivenUp, Judgement, Rest, RetryPolicy, after_crash, exponential, judge,
};
