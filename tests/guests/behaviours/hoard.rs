//! Takes memory, a MiB at a time, and never gives it back: without end, or `mib` of it for each message.

use guests::Trigger;
use wasmill_handler::prelude::*;

struct Hoard {
    trigger: Trigger,
    mib: Option<u32>,
    hoarded: Vec<Vec<u8>>,
}

handler!(Hoard);

impl Handler for Hoard {
    fn init(context: &Context) -> Result<Self, String> {
        Ok(Self { trigger: Trigger::new(context, &["mib"])?, mib: context.parse("mib")?, hoarded: Vec::new() })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        if self.trigger.hit(message) {
            let mut taken = 0;
            while self.mib.is_none_or(|mib| taken < mib) {
                self.hoarded.push(vec![0x5a; 1 << 20]);
                taken += 1;
            }
        }
        out.forward(message);
        ack()
    }
}
