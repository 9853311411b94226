//! As `stamp`, but it traps at its first message, and at every other one.

use guests::Stamp;
use wasmill_handler::prelude::*;

struct Stamps;

handler!(Stamps);

impl Handler for Stamps {
    fn init(context: &Context) -> Result<Self, String> {
        Stamp::new(context).map(|_| Self)
    }

    fn handle(&mut self, _: &Message, _: &mut Outputs) -> Verdict {
        core::arch::wasm32::unreachable()
    }
}
