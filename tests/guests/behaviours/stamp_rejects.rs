//! As `stamp`, but a fifth of all messages is rejected: those whose offset is a multiple of five.

use guests::Stamp;
use wasmill_handler::prelude::*;

struct Stamps(Stamp);

handler!(Stamps);

impl Handler for Stamps {
    fn init(context: &Context) -> Result<Self, String> {
        Stamp::new(context).map(Self)
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        if message.offset() % 5 == 0 {
            return Err(Failure::reject(format!("{} rejects", self.0.digest())));
        }
        self.0.send(message, out)
    }
}
