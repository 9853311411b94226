//! Ports that stay ours while a broker is down.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};
use parking_lot::Mutex;

/// A port of the loopback interface that nobody listens on and that this process has not given away before.
///
/// It lies below the range from which Linux takes the ports of outgoing connections: a broker that restarts
/// could otherwise find its port taken by a client that tries to reach it.
///
/// # Errors
/// No port is free.
pub fn free() -> Result<u16> {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock();
    for _ in 0..1000 {
        let port = rand::random_range(15_000..32_000);
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.push(port);
            return Ok(port);
        }
    }
    bail!("no free port between 15000 and 32000")
}
