//! Emits outputs of `bytes` (100) each: without end, or `outputs` of them for each message.

use guests::Trigger;
use wasmill_handler::prelude::*;

struct Flood {
    trigger: Trigger,
    outputs: Option<u64>,
    value: Vec<u8>,
}

handler!(Flood);

impl Handler for Flood {
    fn init(context: &Context) -> Result<Self, String> {
        Ok(Self {
            trigger: Trigger::new(context, &["outputs", "bytes"])?,
            outputs: context.parse("outputs")?,
            value: vec![b'.'; context.parse("bytes")?.unwrap_or(100)],
        })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        if !self.trigger.hit(message) {
            out.forward(message);
            return ack();
        }
        let mut sent = 0;
        while self.outputs.is_none_or(|outputs| sent < outputs) {
            out.send(message.key(), Some(&self.value));
            sent += 1;
        }
        ack()
    }
}
