//! Sends every value in upper case, key kept, headers dropped: the README's handler, and the benchmark of a map.

use wasmill_handler::prelude::*;

handler!(upper);

fn upper(message: &Message, out: &mut Outputs) -> Verdict {
    out.send(message.key(), message.value().map(|v| v.to_ascii_uppercase()).as_deref());
    ack()
}
