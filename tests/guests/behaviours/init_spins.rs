//! Never comes back from `init`.

use std::hint::black_box;
use wasmill_handler::prelude::*;

struct InitSpins;

handler!(InitSpins);

impl Handler for InitSpins {
    fn init(_: &Context) -> Result<Self, String> {
        loop {
            black_box(());
        }
    }

    fn handle(&mut self, _: &Message, _: &mut Outputs) -> Verdict {
        ack()
    }
}
