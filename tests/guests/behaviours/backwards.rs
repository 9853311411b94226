//! Forwards every message, the last one of the batch first, as the contract allows: outputs of a message may come behind
//! those of a later one.

// What `generate!` expands to.
#![allow(unsafe_code, clippy::too_many_arguments)]

wit_bindgen::generate!({ path: "../../wit", world: "batches" });

use wasmill::handler::outcome;

struct Backwards;

export!(Backwards);

impl Guest for Backwards {
    fn init(context: Context) -> Result<(), String> {
        match context.config.first() {
            Some(setting) => Err(format!("config `{}` is unknown", setting.key)),
            None => Ok(()),
        }
    }

    fn handle(_source: u32, _partition: i32, _data: Vec<u8>, table: Vec<u32>, stride: u32, count: u32) -> u32 {
        let mut rows = Vec::new();
        for index in (0..count).rev() {
            let row = &table[(index * stride) as usize..];
            rows.extend_from_slice(&[index, 0, row[0], row[1], row[2], row[3], row[4], row[5], 0, 0, 0, 0]);
        }
        outcome::emit(&[], &rows, 12, count);
        count
    }
}
