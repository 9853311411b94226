//! Cleans and splits a stream of orders: drops test orders, masks card numbers, and sends each order to the topic of its
//! country's region. What does not parse, or comes from a country nobody has planned for, is rejected.
//!
//! All other bytes of an order stay as they were: the order is parsed only to find what matters.

use std::ops::Range;

use serde::Deserialize;
use wasmill_handler::prelude::*;

/// Countries of the European Union, as ISO 3166-1 writes them.
const EU: &[&str] = &[
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV",
    "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// What matters of an order. Borrowed strings only: one with escapes in it, or a number in its place, does not parse,
/// so a card number cannot be written in a way that the mask would miss.
#[derive(Deserialize)]
struct Order<'a> {
    country: &'a str,
    card: Option<&'a str>,
    #[serde(default)]
    test: bool,
}

struct Orders {
    eu: Topic,
    us: Topic,
    mask: bool,
}

handler!(Orders);

impl Handler for Orders {
    fn init(context: &Context) -> Result<Self, String> {
        context.only(&["mask"])?;
        Ok(Self {
            // Here rather than for each order: a pipeline that does not grant them does not start.
            eu: Topic::named("orders-eu")?,
            us: Topic::named("orders-us")?,
            mask: context.parse("mask")?.unwrap_or(true),
        })
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        // An order that was withdrawn. It does not say where it was sent, so it is withdrawn from both.
        let Some(value) = message.value() else {
            for topic in [self.eu, self.us] {
                out.to(topic).key(message.key()).headers_of(message).send();
            }
            return ack();
        };
        let order: Order = serde_json::from_slice(value)?;
        if order.test {
            return ack();
        }
        let topic = self.topic(order.country)?;
        let draft = out.to(topic).key(message.key()).headers_of(message);
        match order.card.filter(|_| self.mask) {
            None => draft.value(Some(value)).send(),
            Some(card) => {
                let place = place(value, card);
                let masked = draft.value_with(|buffer| {
                    buffer.extend_from_slice(value);
                    mask(&mut buffer[place]);
                });
                masked.send();
            }
        }
        ack()
    }
}

impl Orders {
    fn topic(&self, country: &str) -> Result<Topic, Failure> {
        match country {
            "US" => Ok(self.us),
            country if EU.contains(&country) => Ok(self.eu),
            country => Err(Failure::reject(format!("no topic for country `{country}`"))),
        }
    }
}

/// Where a part that was borrowed from the whole lies in it.
fn place(whole: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// Makes all digits but the last four an asterisk; of four or fewer, all. Spaces and dashes stay.
fn mask(card: &mut [u8]) {
    let digits = card.iter().filter(|byte| byte.is_ascii_digit()).count();
    let shown = if digits > 4 { 4 } else { 0 };
    let hidden = card.iter_mut().filter(|byte| byte.is_ascii_digit()).take(digits - shown);
    hidden.for_each(|byte| *byte = b'*');
}

#[cfg(test)]
mod tests;
