//! Traps, in the way `how` says: `unreachable` or `stack` (recursion without end). A backtrace names `blow_up` or
//! `recurse`. What it emits before that must not be published.

use guests::Trigger;
use std::hint::black_box;
use wasmill_handler::prelude::*;

struct Trap {
    trigger: Trigger,
    stack: bool,
}

handler!(Trap);

impl Handler for Trap {
    fn init(context: &Context) -> Result<Self, String> {
        let stack = match context.config("how").unwrap_or("unreachable") {
            "unreachable" => false,
            "stack" => true,
            other => return Err(format!("config `how`: `{other}` is neither `unreachable` nor `stack`")),
        };
        Ok(Self { trigger: Trigger::new(context, &["how"])?, stack })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        out.forward(message);
        if self.trigger.hit(message) {
            if self.stack {
                black_box(recurse(0));
            }
            blow_up();
        }
        ack()
    }
}

#[inline(never)]
fn blow_up() {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable()
}

#[inline(never)]
#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    recurse(black_box(depth + 1)) + black_box(1)
}
