//! A program that burns CPU and does nothing else: what a handler that misbehaves is set beside.

use std::hint::black_box;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// From one look at the clocks to the next.
const PIECE: Duration = Duration::from_micros(500);

/// Burns `percent` of one CPU on one thread until standard input ends. What another program takes away is made up for,
/// as long as there is anything left to take.
pub fn burn(percent: u64) -> Result<()> {
    ensure!(percent <= 100, "`percent={percent}` is more than one thread can burn; hint: 0 to 100");
    let ended = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&ended);
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ends.store(true, Relaxed);
    });
    let (began, share) = (Instant::now(), percent as f64 / 100.0);
    while !ended.load(Relaxed) {
        if burnt()? < began.elapsed().mul_f64(share) {
            let piece = Instant::now();
            while piece.elapsed() < PIECE {
                black_box(());
            }
        } else {
            thread::sleep(PIECE);
        }
    }
    Ok(())
}

/// CPU time of this thread so far.
fn burnt() -> Result<Duration> {
    let path = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}; hint: this needs Linux"))?;
    let nanoseconds = text.split_whitespace().next().and_then(|first| first.parse().ok());
    nanoseconds.map(Duration::from_nanos).with_context(|| format!("{path} has {text:?}"))
}
