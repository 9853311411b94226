//! Forwards every message as it is.

use wasmill_handler::prelude::*;

handler!(echo);

fn echo(message: &Message, out: &mut Outputs) -> Verdict {
    out.forward(message);
    ack()
}
