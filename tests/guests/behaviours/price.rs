//! Sends an order as JSON for each message, its price by the number in the key.

use wasmill_handler::prelude::*;

handler!(price);

fn price(message: &Message, out: &mut Outputs) -> Verdict {
    guests::priced(message, out, |number| 100 + number % 10)
}
