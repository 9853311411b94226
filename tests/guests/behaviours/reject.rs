//! Rejects, with `reason`; what it emits before that must not be published.

use guests::Trigger;
use wasmill_handler::prelude::*;

struct Reject {
    trigger: Trigger,
    reason: String,
}

handler!(Reject);

impl Handler for Reject {
    fn init(context: &Context) -> Result<Self, String> {
        let reason = context.config("reason").unwrap_or("rejected on request").to_owned();
        Ok(Self { trigger: Trigger::new(context, &["reason"])?, reason })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        out.forward(message);
        if self.trigger.hit(message) {
            return Err(Failure::reject(&self.reason));
        }
        ack()
    }
}
