//! Sends each message where its headers say: `to` (a topic; else the default output), `to-partition`, `to-timestamp`.
//! Key, value and headers are kept, and a header `routed-from` says `topic/partition/offset`. An unknown topic rejects.

use std::str;
use wasmill_handler::prelude::*;

handler!(route);

fn route(message: &Message, out: &mut Outputs) -> Verdict {
    let topic = match message.header("to") {
        Some(name) => Topic::named(str::from_utf8(name)?)?,
        None => Topic::DEFAULT,
    };
    let from = format!("{}/{}/{}", message.topic(), message.partition(), message.offset());
    let mut draft = out.to(topic).key(message.key()).value(message.value()).headers_of(message);
    draft = draft.header("routed-from", Some(from.as_bytes()));
    if let Some(partition) = message.header("to-partition") {
        draft = draft.partition(str::from_utf8(partition)?.parse()?);
    }
    if let Some(timestamp) = message.header("to-timestamp") {
        draft = draft.timestamp(str::from_utf8(timestamp)?.parse()?);
    }
    draft.send();
    ack()
}
