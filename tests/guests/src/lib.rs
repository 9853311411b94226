//! What the guests share: when a behaviour shows itself.

use wasmill_handler::prelude::*;

/// The settings of every guest with a [`Trigger`].
pub const SETTINGS: &[&str] = &["when", "prefix", "partition", "until_attempt"];

/// When a guest misbehaves. Every other message is echoed.
pub struct Trigger {
    prefix: Option<Vec<u8>>,
    partition: Option<i32>,
    until_attempt: u32,
}

impl Trigger {
    /// Reads `when` (`always` or `value-prefix`), `prefix`, `partition` and `until_attempt`, and refuses settings that
    /// are neither these nor `own`.
    ///
    /// # Errors
    /// If a setting is unknown or does not parse.
    pub fn new(context: &Context, own: &[&str]) -> Result<Self, String> {
        context.only(&[SETTINGS, own].concat())?;
        let prefix = match context.config("when").unwrap_or("always") {
            "always" => None,
            "value-prefix" => Some(context.config("prefix").unwrap_or("!").into()),
            other => return Err(format!("config `when`: `{other}` is neither `always` nor `value-prefix`")),
        };
        let until_attempt = context.parse("until_attempt")?.unwrap_or(u32::MAX);
        Ok(Self { prefix, partition: context.parse("partition")?, until_attempt })
    }

    /// Whether this message sets the behaviour off.
    pub fn hit(&self, message: &Message) -> bool {
        message.attempt() < self.until_attempt
            && self.partition.is_none_or(|partition| partition == message.partition())
            && self.prefix.as_ref().is_none_or(|prefix| message.value().unwrap_or_default().starts_with(prefix))
    }
}

/// What outputs say of the version that made them.
pub struct Stamp(String);

impl Stamp {
    /// The first twelve characters of the digest.
    ///
    /// # Errors
    /// There are settings.
    pub fn new(context: &Context) -> Result<Self, String> {
        context.only(&[])?;
        Ok(Self(context.digest().get(..12).ok_or("a digest is longer")?.to_owned()))
    }

    /// What outputs end with.
    pub fn digest(&self) -> &str {
        &self.0
    }

    /// Sends the message's value on, stamped. `wait` is sent at its third attempt, with the attempt in front of the stamp.
    ///
    /// # Errors
    /// It waits.
    pub fn send(&self, message: &Message, out: &mut Outputs) -> Verdict {
        let value = message.value().unwrap_or_default();
        let mut stamped = value.to_vec();
        if value == b"wait" {
            if message.attempt() < 3 {
                return Err(Failure::retry("not yet"));
            }
            stamped.extend_from_slice(format!(" attempt {}", message.attempt()).as_bytes());
        }
        stamped.push(b' ');
        stamped.extend_from_slice(self.0.as_bytes());
        out.to(Topic::DEFAULT).key(message.key()).value(Some(&stamped)).send();
        ack()
    }
}

/// An order as JSON, priced by `price`: the handlers `price` and `price_raised` differ in that alone. The number is the last of
/// the key's digits; what has none is rejected.
///
/// # Errors
/// A key without a number.
pub fn priced(message: &Message, out: &mut Outputs, price: impl Fn(u64) -> u64) -> Verdict {
    let key = std::str::from_utf8(message.key().unwrap_or_default())?;
    let digits = key.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| Failure::reject(format!("no number in `{key}`")))?;
    let order = format!(
        r#"{{"customer":{{"name":"customer {}"}},"items":[{{"name":"delivery","price":5}},{{"name":"item","price":{}}}]}}"#,
        number % 7,
        price(number)
    );
    out.send(message.key(), Some(order.as_bytes()));
    ack()
}
