//! What is done with a message: *tasks*, batches with what must come of them.

use wasmill_core::{Batch, BatchFull, Emitted};

/// Messages of a batch.
pub const MESSAGES: usize = 128;
/// Bytes of a value that means nothing.
const SIZES: [usize; 2] = [100, 1000];

/// A command of the reference handlers, by the setting `do`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Acknowledges.
    Drop,
    /// Sends key and value, the value in upper case.
    Upper,
    /// Sends the field `name` of a document, without a key.
    Json,
}

impl Command {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Drop, Self::Upper, Self::Json];

    /// As in the setting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Upper => "upper",
            Self::Json => "json",
        }
    }
}

/// One command with one kind of messages.
pub struct Task {
    /// What is done.
    pub command: Command,
    /// Of a value; of documents the mean.
    pub value_bytes: usize,
    /// The messages, sealed. They have no headers.
    pub batch: Batch,
    /// Key and value of each output that must come of the batch.
    expected: Vec<(Option<Vec<u8>>, Vec<u8>)>,
}

impl Task {
    /// All of them.
    pub fn all() -> Result<Vec<Self>, BatchFull> {
        let mut tasks = Vec::new();
        for command in [Command::Drop, Command::Upper] {
            for bytes in SIZES {
                tasks.push(Self::new(command, (0..MESSAGES).map(|index| letters(index, bytes)).collect())?);
            }
        }
        tasks.push(Self::new(Command::Json, documents())?);
        Ok(tasks)
    }

    fn new(command: Command, values: Vec<Vec<u8>>) -> Result<Self, BatchFull> {
        let (mut batch, mut expected) = (Batch::new(), Vec::new());
        for (index, value) in values.iter().enumerate() {
            let key = format!("k{index:08}").into_bytes();
            batch.push(Some(&key), Some(value), index as i64, Some(1_700_000_000_000), 1)?;
            match command {
                Command::Drop => {}
                Command::Upper => expected.push((Some(key), value.to_ascii_uppercase())),
                Command::Json => expected.push((None, name(index).into_bytes())),
            }
        }
        batch.seal();
        let value_bytes = values.iter().map(Vec::len).sum::<usize>() / values.len();
        Ok(Self { command, value_bytes, batch, expected })
    }

    /// Outputs that must come of the batch.
    pub fn outputs(&self) -> usize {
        self.expected.len()
    }

    /// Compares what was emitted with what must be, byte by byte; says what is wrong.
    pub fn check(&self, emitted: &Emitted) -> Result<(), String> {
        if emitted.rows.len() != self.expected.len() {
            return Err(format!("{} outputs in place of {}", emitted.rows.len(), self.expected.len()));
        }
        for (index, (row, (key, value))) in emitted.rows.iter().zip(&self.expected).enumerate() {
            let bytes = |span| emitted.bytes(self.batch.data(), span);
            let right = row.message as usize == index
                && row.topic == 0
                && row.headers == 0
                && bytes(row.key) == key.as_deref()
                && bytes(row.value) == Some(value);
            if !right {
                let value = bytes(row.value).map(String::from_utf8_lossy);
                return Err(format!("output {index} is not what it must be; its value is {value:?}"));
            }
        }
        Ok(())
    }
}

fn letters(seed: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| b"abcdefghijklmnopqrstuvwxyzABCDEF"[(at * 7 + seed) % 32]).collect()
}

/// Orders of about 200 bytes, of which no two are the same.
pub fn documents() -> Vec<Vec<u8>> {
    let document = |index: usize| {
        let name = name(index);
        format!(
            r#"{{"id":{},"customer":{{"city":"Aachen","since":2019}},"name":"{name}","paid":true,"total":{}.25,"items":[{{"sku":"A-17","count":2,"price":19.5}},{{"sku":"B-{index}","count":1,"price":5.25}}],"note":null}}"#,
            10_000_000 + index,
            44 + index,
        )
        .into_bytes()
    };
    (0..MESSAGES).map(document).collect()
}

fn name(index: usize) -> String {
    format!("Ada Lovelace {index}")
}
