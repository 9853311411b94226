//! Forwards messages whose offset is a multiple of `keep` (10) and drops the others.

use wasmill_handler::prelude::*;

struct Filter {
    keep: i64,
}

handler!(Filter);

impl Handler for Filter {
    fn init(context: &Context) -> Result<Self, String> {
        context.only(&["keep"])?;
        Ok(Self { keep: context.parse("keep")?.unwrap_or(10) })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        if message.offset() % self.keep == 0 {
            out.forward(message);
        }
        ack()
    }
}
