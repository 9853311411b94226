//! The end of a member's client, within a bound.
//!
//! librdkafka closes a consumer when every commit was answered, and until then keeps it in the group
//! (`rd_kafka_cgrp_try_terminate`, `wait_commit_cnt`). That can be never: a request that a dying connection did not get to
//! send is sent again and again without being counted as a try (`rd_kafka_buf_retry`), and one that was sent has three times
//! `socket.timeout.ms`. rust-rdkafka's destructor polls for as long. So it runs on a thread of its own that is waited for
//! within a bound, and with a commit unanswered it does not run at all: such a client is *abandoned*, destroyed without the
//! ceremony. It sends nothing more, heartbeats included; the group notices when the session times out, as after a crash.
//!
//! Callbacks may arrive on that thread. By then the gate is shut and the handler let go of ([`super::rebalance::Rebalancer::give_up`]): they
//! find nothing to do and wait for nobody.

use std::mem::ManuallyDrop;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::context::Context;

/// How long the client may take to end once its partitions are given back. librdkafka gives its last request, `LeaveGroup`,
/// five seconds and looks once a second.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(7);

/// How the client went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is gone.
    InTime,
    /// It ends by itself later, on a thread that nobody waits for.
    LeftBehind,
}

/// Ends the client until `deadline`. `answered`: no commit is on its way.
pub(super) fn end(consumer: BaseConsumer<Context>, answered: bool, deadline: Instant) -> Ended {
    let consumer = Arc::new(Mutex::new(Some(consumer)));
    let (done, ended) = mpsc::channel();
    let thread = thread::Builder::new().name("leaving".into()).spawn({
        let consumer = Arc::clone(&consumer);
        move || {
            let consumer = consumer.lock().take();
            match consumer {
                Some(consumer) if answered => drop(consumer),
                Some(consumer) => abandon(consumer),
                None => {}
            }
            // Nobody listening any more is fine: then nobody waits.
            let _ = done.send(());
        }
    });
    if let Err(error) = thread {
        // To destroy it here could take for ever.
        std::mem::forget(consumer.lock().take());
        tracing::error!(%error, "no thread to close a kafka consumer on; it is left behind");
        return Ended::LeftBehind;
    }
    if ended.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {
        return Ended::InTime;
    }
    tracing::warn!(
        commit_unanswered = !answered,
        "a kafka consumer did not end in time and is left behind; the group may notice only when its session times out"
    );
    Ended::LeftBehind
}

/// Destroys the client without closing the consumer first. It may take as long as a request that was sent is given
/// (`socket.timeout.ms`); requests that were not are dropped, and no more are made.
fn abandon(consumer: BaseConsumer<Context>) {
    // Not dropped: that would close it. The Rust side stays, a few hundred bytes, and with it what librdkafka's log callback
    // points to.
    let consumer = ManuallyDrop::new(consumer);
    // SAFETY: the client is alive and destroyed here alone, since the destructor never runs. Whatever else had it is done
    // with it: the gate is shut, queues and commit lane are given back. Nobody polls it, so no callback but the log's runs.
    unsafe { sys::rd_kafka_destroy_flags(consumer.client().native_ptr(), sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) }
}
