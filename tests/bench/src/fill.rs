//! The input: numbered messages, as many in each partition.

use std::io::Write;

use anyhow::{Result, ensure};

use crate::producer::{Outputs, Producer};

const BATCH: usize = 2_048;

/// What a topic is filled with.
pub struct Input {
    /// In all partitions together.
    pub messages: u64,
    /// Of the topic.
    pub partitions: usize,
    /// Of a value.
    pub bytes: usize,
    /// Every value whose number this divides begins with `!`, which has a handler of `tests/guests` misbehave; 0: none.
    pub bad: u64,
}

/// Writes messages with numbered values and keys of eight digits.
pub fn fill(bootstrap: &str, topic: &str, input: &Input) -> Result<()> {
    let &Input { messages, partitions, bytes, bad } = input;
    ensure!(bytes >= 20, "values of {bytes} bytes have no room for a number; hint: 20 or more");
    let producer = Producer::open(bootstrap, topic)?;
    let mut left = vec![messages / partitions as u64; partitions];
    left[0] += messages % partitions as u64;
    let letters: Vec<u8> = (b'a'..=b'z').cycle().take(bytes).collect();
    let mut keys = vec![Vec::new(); BATCH];
    let mut values = vec![letters; BATCH];
    let (mut number, mut memory) = (0u64, Vec::with_capacity(BATCH));
    while left.iter().any(|left| *left > 0) {
        for (partition, left) in left.iter_mut().enumerate() {
            let count = (*left).min(BATCH as u64) as usize;
            for (key, value) in keys.iter_mut().zip(&mut values).take(count) {
                key.clear();
                write!(key, "{:08}", number % 100_000_000)?;
                write!(value.as_mut_slice(), "message {number:012}")?;
                number += 1;
                if bad > 0 && number.is_multiple_of(bad) {
                    value[0] = b'!';
                }
            }
            let mut outputs = Outputs::reuse(&mut memory);
            for (key, value) in keys.iter().zip(&values).take(count) {
                outputs.push(key, value, 0);
            }
            producer.send(outputs, partition as i32, 0, &mut memory)?;
            *left -= count as u64;
        }
        producer.poll(0)?;
    }
    producer.flush()
}
