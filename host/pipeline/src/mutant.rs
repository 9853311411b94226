//! Deliberate mistakes for the ledger test, which must notice each of them. They exist only in a build with the
//! `mutants` feature; without it [`is`] is a constant and the branches are gone.

/// A mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(feature = "mutants"), allow(dead_code))]
pub enum Mutant {
    /// A call counts as complete when its outputs are handed to the producer, before the broker confirmed them.
    CommitBeforeDelivery,
    /// One more than the watermark is committed.
    WatermarkPlusOne,
    /// A generation is not closed: what it completes later is committed over the head of the next owner.
    NoFence,
    /// What waits for a retry counts as complete when the partition is revoked.
    DropRetriesOnRevoke,
}

/// Whether the process was started with that mistake.
#[cfg(feature = "mutants")]
pub fn is(mutant: Mutant) -> bool {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Option<Mutant>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| match std::env::var("WASMILL_MUTANT").as_deref() {
        Ok("commit-before-delivery") => Some(Mutant::CommitBeforeDelivery),
        Ok("watermark-plus-one") => Some(Mutant::WatermarkPlusOne),
        Ok("no-fence") => Some(Mutant::NoFence),
        Ok("drop-retries-on-revoke") => Some(Mutant::DropRetriesOnRevoke),
        _ => None,
    });
    *chosen == Some(mutant)
}

/// Never, in an ordinary build.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is(_: Mutant) -> bool {
    false
}
