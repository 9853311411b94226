//! Logs lines of `bytes` (100) each at level info: without end, or `lines` of them for each message. Each line begins
//! with its number and with characters that no terminal should see.

use guests::Trigger;
use wasmill_handler::prelude::*;

struct Chatter {
    trigger: Trigger,
    lines: Option<u64>,
    padding: String,
}

handler!(Chatter);

impl Handler for Chatter {
    fn init(context: &Context) -> Result<Self, String> {
        Ok(Self {
            trigger: Trigger::new(context, &["lines", "bytes"])?,
            lines: context.parse("lines")?,
            padding: "x".repeat(context.parse("bytes")?.unwrap_or(100)),
        })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        if self.trigger.hit(message) {
            let mut said = 0;
            while self.lines.is_none_or(|lines| said < lines) {
                log::info!("{said} \x1b[31mred\r\n\u{202e} {}", self.padding);
                said += 1;
            }
        }
        out.forward(message);
        ack()
    }
}
