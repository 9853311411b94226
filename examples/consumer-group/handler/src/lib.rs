//! Logs every message with where it came from, and acknowledges it.

use wasmill_handler::prelude::*;

handler!(show);

fn show(message: &Message, _out: &mut Outputs) -> Verdict {
    let place = format!("{}/{}/{}", message.topic(), message.partition(), message.offset());
    log::info!("message at {place}: {} = {}", text(message.key()), text(message.value()));
    ack()
}

fn text(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "(absent)".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_handler::testing::{Harness, Sample};

    #[test]
    fn logs_each_message_with_its_place_and_emits_nothing() {
        let run = Harness::function(show)
            .source("test-topic", 2)
            .message(Sample::new().key("Key-C").value("Value-C"))
            .message(Sample::new().key("Key-G").value("Value-G"))
            .message(Sample::new().value("no key").offset(7))
            .run();
        assert!(run.all_acknowledged());
        assert!(run.outputs.is_empty());
        let lines: Vec<_> = run.log.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(
            lines,
            [
                "message at test-topic/2/0: Key-C = Value-C",
                "message at test-topic/2/1: Key-G = Value-G",
                "message at test-topic/2/7: (absent) = no key",
            ]
        );
    }
}
