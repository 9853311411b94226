//! Does not start, in the way `how` says: `error` (with `reason`), `panic`, `spin` or `hoard`.

use std::hint::black_box;
use wasmill_handler::prelude::*;

struct InitFails;

handler!(InitFails);

impl Handler for InitFails {
    fn init(context: &Context) -> Result<Self, String> {
        context.only(&["how", "reason"])?;
        match context.config("how").unwrap_or("error") {
            "error" => Err(context.config("reason").unwrap_or("refused on request").to_owned()),
            "panic" => panic!("cannot bear to start"),
            "spin" => loop {
                black_box(());
            },
            "hoard" => {
                let mut hoarded = Vec::new();
                loop {
                    hoarded.push(vec![0x5au8; 1 << 20]);
                    black_box(&hoarded);
                }
            }
            other => Err(format!("config `how`: `{other}` is not one of `error`, `panic`, `spin`, `hoard`")),
        }
    }

    fn handle(&mut self, _message: &Message, _out: &mut Outputs) -> Verdict {
        ack()
    }
}
