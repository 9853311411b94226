//! Panics with a text that names the offset; the text must be in the log.

use guests::Trigger;
use wasmill_handler::prelude::*;

struct Panic(Trigger);

handler!(Panic);

impl Handler for Panic {
    fn init(context: &Context) -> Result<Self, String> {
        Trigger::new(context, &[]).map(Self)
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        if self.0.hit(message) {
            panic!("cannot bear offset {}", message.offset());
        }
        out.forward(message);
        ack()
    }
}
