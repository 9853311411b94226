//! A wasmill handler. Begin here: this one sends every value on in upper case.

use wasmill_handler::prelude::*;

struct MyHandler {
    suffix: String,
}

handler!(MyHandler);

impl Handler for MyHandler {
    /// Once for each instance. An error keeps the pipeline from starting and is shown as it is.
    fn init(context: &Context) -> Result<Self, String> {
        context.only(&["suffix"])?;
        Ok(Self { suffix: context.config("suffix").unwrap_or_default().to_owned() })
    }

    /// Once for each message. `?` rejects the message with the error's text.
    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        let text = message.text()?;
        let upper = text.to_uppercase() + &self.suffix;
        out.send(message.key(), Some(upper.as_bytes()));
        ack()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_handler::testing::{Harness, Outcome, Sample};

    #[test]
    fn sends_upper_case_with_the_suffix() {
        let run = Harness::new::<MyHandler>().config("suffix", "!").message("hello").run();
        assert!(run.all_acknowledged());
        assert_eq!(run.values(), ["HELLO!"]);
    }

    #[test]
    fn rejects_what_is_no_text() {
        let run = Harness::new::<MyHandler>().message(Sample::new().value(b"\xff")).run();
        assert_eq!(run.outcomes, [Outcome::Reject { reason: "the value is not UTF-8 from byte 0".into() }]);
    }
}
