//! A handler, and the loop that takes it through a batch.

use crate::message::Batch;
use crate::{Context, Message, Outputs, Verdict, host};

/// A handler with state. A function `fn(&Message, &mut Outputs) -> Verdict` is one without.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a handler", label = "needs `impl Handler`")]
pub trait Handler: Sized + 'static {
    /// Makes the handler, once for each instance, before its first message.
    ///
    /// # Errors
    /// A text for the operator. It keeps the pipeline from starting and is shown as it is.
    fn init(context: &Context) -> Result<Self, String>;

    /// Handles one message.
    ///
    /// # Errors
    /// Why the message is not acknowledged; what was sent for it is not published.
    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict;
}

/// Something that can become a running handler.
#[doc(hidden)]
pub trait Entry: 'static {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn start(self, context: &Context) -> Result<Box<dyn Running>, String>;
}

/// A running handler of whatever type. One dynamic call for each batch, none for each message.
pub(crate) trait Running {
    /// Takes the handler through a batch; returns how many messages it reached.
    fn handle(&mut self, batch: &Batch<'_>, out: &mut Outputs) -> u32;
}

/// What stands behind a name given to [`handler!`](crate::handler!) that lives only as a type or only as a value.
#[doc(hidden)]
pub mod fallback {
    use super::{Context, Entry, Handler, Message, Outputs, Running, Verdict};
    use std::marker::PhantomData;

    /// In the place of a type where the name is a function, and of a value where the name is a type.
    pub struct Target;

    /// Picks the entry of a name's two meanings, `Self` its type and `V` its value.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` is neither a `Handler` nor a function over a message",
        note = "a handler is a `fn(&Message, &mut Outputs) -> Verdict` or a type that implements `Handler`"
    )]
    pub trait Pick<V> {
        fn pick(value: V) -> impl Entry;
    }

    impl<H: Handler, V> Pick<V> for H {
        fn pick(_: V) -> impl Entry {
            Stateful::<H>(PhantomData)
        }
    }

    impl<F: Fn(&Message, &mut Outputs) -> Verdict + 'static> Pick<F> for Target {
        fn pick(value: F) -> impl Entry {
            Function(value)
        }
    }

    pub(crate) struct Stateful<H>(pub(crate) PhantomData<H>);
    pub(crate) struct Function<F>(pub(crate) F);

    #[allow(private_interfaces)]
    impl<H: Handler> Entry for Stateful<H> {
        fn start(self, context: &Context) -> Result<Box<dyn Running>, String> {
            let mut handler = H::init(context)?;
            Ok(Box::new(super::Each(move |message: &Message, out: &mut Outputs| handler.handle(message, out))))
        }
    }

    #[allow(private_interfaces)]
    impl<F: Fn(&Message, &mut Outputs) -> Verdict + 'static> Entry for Function<F> {
        fn start(self, _context: &Context) -> Result<Box<dyn Running>, String> {
            Ok(Box::new(super::Each(self.0)))
        }
    }
}

struct Each<F>(F);

impl<F: FnMut(&Message, &mut Outputs) -> Verdict> Running for Each<F> {
    fn handle(&mut self, batch: &Batch<'_>, out: &mut Outputs) -> u32 {
        out.begin(batch);
        let mut reached = 0;
        for message in batch.messages() {
            out.at_message(reached);
            let verdict = (self.0)(&message, out);
            reached += 1;
            if let Err(failure) = verdict {
                host::fail(reached - 1, failure.retry_after_ms(), failure.reason());
                // Whatever came after would overtake this message; the host would discard it.
                if failure.is_retry() {
                    break;
                }
            }
        }
        out.flush();
        reached
    }
}
