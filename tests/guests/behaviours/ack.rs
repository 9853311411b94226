//! Looks at every value and emits nothing: the benchmark of a call.

use std::hint::black_box;
use wasmill_handler::prelude::*;

handler!(look);

fn look(message: &Message, _out: &mut Outputs) -> Verdict {
    black_box(message.value().and_then(|value| value.first()));
    ack()
}
