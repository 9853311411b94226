//! Asks for a retry after `after_ms` (0), with `reason`; what it emits before that must not be published.

use guests::Trigger;
use std::time::Duration;
use wasmill_handler::prelude::*;

struct Retry {
    trigger: Trigger,
    after: Duration,
    reason: String,
}

handler!(Retry);

impl Handler for Retry {
    fn init(context: &Context) -> Result<Self, String> {
        let after = Duration::from_millis(context.parse("after_ms")?.unwrap_or(0));
        let reason = context.config("reason").unwrap_or("retried on request").to_owned();
        Ok(Self { trigger: Trigger::new(context, &["after_ms", "reason"])?, after, reason })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        out.forward(message);
        if self.trigger.hit(message) {
            return Err(Failure::retry_after(self.after, &self.reason));
        }
        ack()
    }
}
