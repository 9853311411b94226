//! Sleeps `ms` milliseconds (an hour) in the host's clock: no wasm code runs meanwhile.

use guests::Trigger;
use std::thread::sleep;
use std::time::Duration;
use wasmill_handler::prelude::*;

struct Sleep {
    trigger: Trigger,
    time: Duration,
}

handler!(Sleep);

impl Handler for Sleep {
    fn init(context: &Context) -> Result<Self, String> {
        let time = Duration::from_millis(context.parse("ms")?.unwrap_or(3_600_000));
        Ok(Self { trigger: Trigger::new(context, &["ms"])?, time })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        if self.trigger.hit(message) {
            sleep(self.time);
        }
        out.forward(message);
        ack()
    }
}
