//! Computes without end; or, with `rounds`, that many rounds and then acknowledges.

use guests::Trigger;
use std::hint::black_box;
use wasmill_handler::prelude::*;

struct Spin {
    trigger: Trigger,
    rounds: Option<u64>,
}

handler!(Spin);

impl Handler for Spin {
    fn init(context: &Context) -> Result<Self, String> {
        Ok(Self { trigger: Trigger::new(context, &["rounds"])?, rounds: context.parse("rounds")? })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        if self.trigger.hit(message) {
            let mut round = 0u64;
            while self.rounds.is_none_or(|rounds| round < rounds) {
                round = black_box(round + 1);
            }
        }
        out.forward(message);
        ack()
    }
}
