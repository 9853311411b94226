//! Outputs in flight: a ticket for each call that emitted something, counted down by delivery reports.
//!
//! A message's opaque word is its ticket's number and how far its input lies behind the first of the batch, so that a
//! report needs no allocation, no pointer and no lock of its own: one lock for each batch sent and one for each batch
//! of reports.

use std::sync::{Arc, Mutex, MutexGuard};

use slab::Slab;
use wasmill_core::{Fence, RunId};
use wasmill_kafka::{DeliveryError, DeliverySink, Report};

use super::partition::Partition;

/// The sender's own hold on a ticket while it is still sending: reports may come before the last send.
const HOLD: u64 = 1 << 40;

/// A call whose outputs are on their way.
struct Ticket {
    partition: Arc<Partition>,
    fence: Fence,
    run: RunId,
    first: i64,
    last: i64,
    left: u64,
    abandoned: bool,
    refused: Vec<(i64, DeliveryError)>,
}

/// The tickets of one producer.
pub struct Flight {
    tickets: Mutex<Slab<Ticket>>,
    on_fatal: Box<dyn Fn(&str) + Send + Sync>,
}

/// The number of an open ticket.
#[derive(Clone, Copy)]
pub struct TicketId(u32);

impl TicketId {
    /// The opaque word of an output of the message `offset`; `first` is the first offset of the call.
    pub fn token(self, first: i64, offset: i64) -> u64 {
        // A batch's offsets lie closer together than u32::MAX: the lane ends a batch at a larger gap.
        u64::from(self.0) << 32 | (offset - first) as u64 & 0xffff_ffff
    }
}

impl Flight {
    /// No tickets. `on_fatal` hears of a producer that can send nothing any more.
    pub fn new(on_fatal: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        Self { tickets: Mutex::new(Slab::new()), on_fatal }
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Ticket>> {
        self.tickets.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Opens a ticket for a call's outputs. It stays open until [`Flight::sent`] said how many there were.
    pub fn open(&self, partition: &Arc<Partition>, fence: Fence, run: RunId, first: i64) -> TicketId {
        partition.lock().tickets += 1;
        let ticket = Ticket {
            partition: partition.clone(),
            fence,
            run,
            first,
            last: first,
            left: HOLD,
            abandoned: false,
            refused: Vec::new(),
        };
        TicketId(u32::try_from(self.lock().insert(ticket)).expect("tickets in flight are bounded by the spans"))
    }

    /// All `count` outputs of the ticket are with the producer; it answers for messages up to the offset `last`.
    pub fn sent(&self, id: TicketId, count: u64, last: i64) {
        let finished = {
            let mut tickets = self.lock();
            let Some(ticket) = tickets.get_mut(id.0 as usize) else { return };
            ticket.last = last;
            ticket.left -= HOLD - count;
            (ticket.left == 0).then(|| tickets.remove(id.0 as usize))
        };
        if let Some(ticket) = finished {
            ticket.finish();
        }
    }

    /// Sending ended early after `count` outputs: the ticket is only waited for, never complete.
    pub fn abandon(&self, id: TicketId, count: u64) {
        if let Some(ticket) = self.lock().get_mut(id.0 as usize) {
            ticket.abandoned = true;
        }
        self.sent(id, count, 0);
    }
}

impl Ticket {
    fn finish(mut self) {
        // Outputs of messages behind the last settled one went out before the call had to stop: those messages are
        // handed over again, and what the broker says of them now is not about what they come to then.
        self.refused.retain(|(offset, _)| *offset <= self.last);
        if self.abandoned {
            self.partition.abandon(self.fence);
        } else if self.refused.is_empty() {
            self.partition.complete(self.fence, self.run, true);
        } else {
            self.partition.refuse(self.fence, self.run, self.first, self.last, &self.refused);
        }
    }
}

impl DeliverySink for Flight {
    fn delivered(&self, reports: &[Report]) {
        let mut finished = Vec::new();
        let mut tickets = self.lock();
        let mut rest = reports;
        while let Some(report) = rest.first() {
            let slot = (report.token >> 32) as usize;
            // Reports of one call mostly come together: one subtraction for the run of them.
            let run = rest.iter().take_while(|other| (other.token >> 32) as usize == slot).count();
            let (now, later) = rest.split_at(run);
            rest = later;
            let Some(ticket) = tickets.get_mut(slot) else { continue };
            for report in now {
                if let Some(error) = &report.error {
                    if error.class.is_refusal() {
                        ticket.refused.push((ticket.first + (report.token & 0xffff_ffff) as i64, (**error).clone()));
                    } else {
                        ticket.abandoned = true;
                    }
                }
            }
            ticket.left -= run as u64;
            if ticket.left == 0 {
                finished.push(tickets.remove(slot));
            }
        }
        drop(tickets);
        finished.into_iter().for_each(Ticket::finish);
    }

    fn fatal(&self, text: &str) {
        (self.on_fatal)(text);
    }
}
