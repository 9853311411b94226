//! Sends each value on with a space and the first twelve characters of its own digest behind it, so that outputs tell which
//! version was given which message. The value `wait` is retried until its third attempt, which it says as well.

use guests::Stamp;
use wasmill_handler::prelude::*;

struct Stamps(Stamp);

handler!(Stamps);

impl Handler for Stamps {
    fn init(context: &Context) -> Result<Self, String> {
        Stamp::new(context).map(Self)
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        self.0.send(message, out)
    }
}
