//! The plain world, `messages`, with wit-bindgen and nothing else. A value's first byte says what happens: `!` rejects,
//! `?` asks for a retry after 5 ms until attempt 3, `@topic` goes to that topic; anything else is sent on in upper case
//! with its headers.

// What `generate!` expands to.
#![allow(unsafe_code, clippy::too_many_arguments)]

wit_bindgen::generate!({ path: "../../wit", world: "messages" });

use wasmill::handler::log::{Level, write};

struct Plain;

export!(Plain);

impl Guest for Plain {
    fn init(context: Context) -> Result<(), String> {
        if let Some(setting) = context.config.iter().find(|setting| setting.key == "refuse") {
            return Err(setting.value.clone());
        }
        write(Level::Info, &format!("{} has {} settings", context.pipeline, context.config.len()));
        Ok(())
    }

    fn handle(message: Message) -> Result<Vec<Output>, Failure> {
        let value = message.value.as_deref().unwrap_or_default();
        let topic = match value {
            [b'!', ..] => return Err(Failure::Reject("rejected on request".into())),
            [b'?', ..] if message.attempt < 3 => return Err(Failure::Retry((5, "retried on request".into()))),
            [b'@', name @ ..] => Some(String::from_utf8_lossy(name).into_owned()),
            _ => None,
        };
        let value = message.value.map(|value| value.to_ascii_uppercase());
        let headers = message.headers;
        Ok(vec![Output { topic, partition: None, timestamp: None, key: message.key, value, headers }])
    }
}
