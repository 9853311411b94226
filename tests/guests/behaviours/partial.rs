//! Reaches only `reach` (0) messages of a batch and says nothing of the rest, as the contract allows. The reached ones
//! are forwarded. `reach = 0` makes no progress at all.

// What `generate!` expands to.
#![allow(unsafe_code, clippy::too_many_arguments)]

wit_bindgen::generate!({ path: "../../wit", world: "batches" });

use std::cell::Cell;
use wasmill::handler::outcome;

thread_local! {
    static REACH: Cell<u32> = const { Cell::new(0) };
}

struct Partial;

export!(Partial);

impl Guest for Partial {
    fn init(context: Context) -> Result<(), String> {
        for setting in context.config {
            match setting.key.as_str() {
                "reach" => REACH.set(setting.value.parse().map_err(|error| format!("config `reach`: {error}"))?),
                other => return Err(format!("config `{other}` is unknown")),
            }
        }
        Ok(())
    }

    fn handle(_source: u32, _partition: i32, _data: Vec<u8>, table: Vec<u32>, stride: u32, count: u32) -> u32 {
        let reach = REACH.get().min(count);
        let mut rows = Vec::new();
        for (index, row) in (0..reach).zip(table.chunks_exact(stride as usize)) {
            rows.extend_from_slice(&[index, 0, row[0], row[1], row[2], row[3], row[4], row[5], 0, 0, 0, 0]);
        }
        if reach > 0 {
            outcome::emit(&[], &rows, 12, reach);
        }
        reach
    }
}
