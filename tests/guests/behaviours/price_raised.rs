//! As `price`, and each hundredth number costs one more.

use wasmill_handler::prelude::*;

handler!(price_raised);

fn price_raised(message: &Message, out: &mut Outputs) -> Verdict {
    guests::priced(message, out, |number| 100 + number % 10 + u64::from(number.is_multiple_of(100)))
}
