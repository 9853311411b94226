//! Asks for a retry after `after_ms` (0), with `reason`; what it emits before that must not be published. With `by` its
//! outputs say so in a header of that name: which process handled a message.

use guests::Trigger;
use std::time::Duration;
use wasmill_handler::prelude::*;

const BY: &str = "by";

struct Retry {
    trigger: Trigger,
    after: Duration,
    reason: String,
    by: Option<String>,
}

handler!(Retry);

impl Handler for Retry {
    fn init(context: &Context) -> Result<Self, String> {
        let after = Duration::from_millis(context.parse("after_ms")?.unwrap_or(0));
        let reason = context.config("reason").unwrap_or("retried on request").to_owned();
        let by = context.config("by").map(str::to_owned);
        Ok(Self { trigger: Trigger::new(context, &["after_ms", "reason", "by"])?, after, reason, by })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        match &self.by {
            None => out.forward(message),
            Some(by) => {
                let draft = out.to(Topic::DEFAULT).key(message.key()).value(message.value());
                draft.header(BY, Some(by.as_bytes())).send();
            }
        }
        if self.trigger.hit(message) {
            return Err(Failure::retry_after(self.after, &self.reason));
        }
        ack()
    }
}
