//! Says things that cannot be: for a message whose value begins with `!`, what the setting `lie` names (README.md
//! lists them); all others are forwarded. With `lie = "list"`, `init` refuses and names every lie.

// What `generate!` expands to.
#![allow(unsafe_code, clippy::too_many_arguments)]

wit_bindgen::generate!({ path: "../../wit", world: "batches" });

use std::cell::Cell;
use wasmill::handler::{outcome, topics};

const ABSENT: u32 = u32::MAX;
const DATA: &[u8] = b"own bytes";

/// What a lie works on: the batch's sizes and the message that asked for it.
struct Scene {
    index: u32,
    count: u32,
    input: u32,
    header_rows: u32,
}

type Row = [u32; 12];
type Lie = fn(&Scene);

impl Scene {
    /// An honest row: a value of this call's data, no key.
    fn row(&self) -> Row {
        [self.index, 0, 0, ABSENT, self.input, 3, 0, 0, 0, 0, 0, 0]
    }

    /// Emits an honest row but for some words.
    fn emit(&self, words: &[(usize, u32)]) {
        let mut row = self.row();
        for (column, word) in words {
            row[*column] = *word;
        }
        outcome::emit(DATA, &row, 12, 1);
    }

    /// Emits an honest row with one header row, as given.
    fn emit_header(&self, header: [u32; 4]) {
        let mut row = self.row();
        row[6..8].copy_from_slice(&[self.header_rows, 1]);
        outcome::emit(DATA, &[&row[..], &header].concat(), 12, 1);
    }
}

/// Every lie by name. The last two are told by what `handle` returns.
const LIES: &[(&str, Lie)] = &[
    ("message-out-of-range", |s| s.emit(&[(0, s.count)])),
    ("message-max", |s| s.emit(&[(0, u32::MAX)])),
    ("topic-unknown", |s| s.emit(&[(1, 1_000)])),
    ("topic-max", |s| s.emit(&[(1, u32::MAX)])),
    ("key-start", |s| s.emit(&[(2, s.input + DATA.len() as u32 + 1), (3, 0)])),
    ("key-length", |s| s.emit(&[(2, s.input), (3, DATA.len() as u32 + 1)])),
    ("value-start", |s| s.emit(&[(4, u32::MAX), (5, 1)])),
    ("value-length", |s| s.emit(&[(5, DATA.len() as u32 + 1)])),
    ("value-overflow", |s| s.emit(&[(4, s.input + 2), (5, u32::MAX - 1)])),
    ("input-overrun", |s| s.emit(&[(4, s.input - 1), (5, 2)])),
    ("input-overflow", |s| s.emit(&[(4, 0), (5, u32::MAX - 1)])),
    ("header-first", |s| s.emit(&[(6, s.header_rows), (7, 1)])),
    ("header-first-max", |s| s.emit(&[(6, u32::MAX), (7, 1)])),
    ("header-count", |s| s.emit(&[(6, 0), (7, s.header_rows + 1)])),
    ("header-count-max", |s| s.emit(&[(6, 1), (7, u32::MAX)])),
    ("header-name-absent", |s| s.emit_header([0, ABSENT, 0, ABSENT])),
    ("header-name-span", |s| s.emit_header([s.input, DATA.len() as u32 + 1, 0, ABSENT])),
    ("header-value-span", |s| s.emit_header([s.input, 3, s.input + 1, DATA.len() as u32])),
    ("header-rows-ragged", |s| outcome::emit(DATA, &[&s.row()[..], &[0, 0, 0]].concat(), 12, 1)),
    ("partition-negative", |s| s.emit(&[(10, u32::MAX), (11, 2)])),
    ("partition-max", |s| s.emit(&[(10, i32::MAX as u32), (11, 2)])),
    ("timestamp-negative", |s| s.emit(&[(8, u32::MAX), (9, u32::MAX), (11, 1)])),
    ("timestamp-max", |s| s.emit(&[(8, u32::MAX), (9, i32::MAX as u32), (11, 1)])),
    ("flags-unknown", |s| s.emit(&[(11, u32::MAX)])),
    ("stride-short", |s| outcome::emit(DATA, &s.row()[..11], 11, 1)),
    ("stride-zero", |s| outcome::emit(DATA, &s.row(), 0, 1)),
    ("stride-max", |s| outcome::emit(DATA, &s.row(), u32::MAX, 1)),
    ("count-too-many", |s| outcome::emit(DATA, &s.row(), 12, 2)),
    ("count-max", |s| outcome::emit(DATA, &s.row(), 12, u32::MAX)),
    // 12 * 0x55555556 is 8 in 32 bits.
    ("count-overflow", |s| outcome::emit(DATA, &s.row(), 12, 0x5555_5556)),
    ("table-empty", |_| outcome::emit(DATA, &[], 12, 1)),
    ("fail-out-of-range", |s| outcome::fail(s.count, None, "of nobody")),
    ("fail-max", |_| outcome::fail(u32::MAX, Some(0), "of nobody")),
    ("fail-megabytes", |s| outcome::fail(s.index, None, &"long ".repeat(1 << 20))),
    ("fail-control", |s| outcome::fail(s.index, None, "\x1b[31mred\r\nX-Injected: yes\0")),
    ("retry-after-max", |s| outcome::fail(s.index, Some(u32::MAX), "much later")),
    ("source-unknown", |_| drop(topics::source_name(u32::MAX))),
    ("topic-megabytes", |_| drop(topics::number(&"long".repeat(1 << 20)))),
    ("verdict-twice", |s| {
        outcome::fail(s.index, None, "the first counts");
        outcome::fail(s.index, Some(0), "the second does not");
    }),
    ("reached-too-many", |_| ()),
    ("reached-max", |_| ()),
];

thread_local! {
    static LIE: Cell<(&'static str, Lie)> = const { Cell::new(("", |_| ())) };
}

struct Liar;

export!(Liar);

impl Guest for Liar {
    fn init(context: Context) -> Result<(), String> {
        let asked = context.config.iter().find(|setting| setting.key == "lie");
        let asked = asked.map_or("list", |setting| setting.value.as_str());
        match LIES.iter().find(|(name, _)| *name == asked) {
            Some(lie) => {
                LIE.set(*lie);
                Ok(())
            }
            None => Err(LIES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ")),
        }
    }

    fn handle(_source: u32, _partition: i32, data: Vec<u8>, table: Vec<u32>, stride: u32, count: u32) -> u32 {
        let (rows, headers) = table.split_at((stride * count) as usize);
        let (name, lie) = LIE.get();
        let mut lied = false;
        for (index, row) in (0..).zip(rows.chunks_exact(stride as usize)) {
            let value = data.get(row[2] as usize..).unwrap_or_default();
            if row[3] != ABSENT && row[3] > 0 && value.starts_with(b"!") {
                lied = true;
                lie(&Scene { index, count, input: data.len() as u32, header_rows: headers.len() as u32 / 4 });
            } else {
                outcome::emit(&[], &[index, 0, row[0], row[1], row[2], row[3], row[4], row[5], 0, 0, 0, 0], 12, 1);
            }
        }
        match name {
            "reached-too-many" if lied => count + 1,
            "reached-max" if lied => u32::MAX,
            _ => count,
        }
    }
}
