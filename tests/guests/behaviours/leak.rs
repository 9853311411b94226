//! Loses `kib` KiB (64) of memory with each message, as some runtimes do, and handles all of them well.

use guests::Trigger;
use std::hint::black_box;
use wasmill_handler::prelude::*;

struct Leak {
    trigger: Trigger,
    bytes: usize,
}

handler!(Leak);

impl Handler for Leak {
    fn init(context: &Context) -> Result<Self, String> {
        let kib: usize = context.parse("kib")?.unwrap_or(64);
        Ok(Self { trigger: Trigger::new(context, &["kib"])?, bytes: kib << 10 })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        if self.trigger.hit(message) {
            black_box(vec![0x5a_u8; self.bytes].leak());
        }
        out.forward(message);
        ack()
    }
}
