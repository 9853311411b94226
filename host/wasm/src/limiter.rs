//! Guest memory: everything that one instance takes shares one bound.

use wasmtime::ResourceLimiter;

use crate::footprint::ELEMENT_BYTES;

/// Counts what the instance's memories and tables take beside what it has from the start, and remembers a refusal, so that the trap that follows it is
/// told from any other.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: usize,
    /// Globals, function references and whatever else does not grow.
    fixed: usize,
    memory: usize,
    tables: usize,
    last: usize,
    refused: Option<usize>,
}

impl Limiter {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        Self { limit, fixed: 0, memory: 0, tables: 0, last: 0, refused: None }
    }

    /// So many bytes are taken already.
    pub(crate) fn begin_with(&mut self, fixed: u64) {
        self.fixed = usize::try_from(fixed).unwrap_or(usize::MAX);
    }

    /// Bytes that the instance takes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.fixed.saturating_add(self.memory).saturating_add(self.tables) as u64
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// A call begins: an earlier refusal that the guest coped with explains nothing in it.
    pub(crate) fn forget_refusal(&mut self) {
        self.refused = None;
    }

    /// Bytes that were asked for in vain since the call began.
    pub(crate) fn refused(&self) -> Option<usize> {
        self.refused
    }

    fn allow(&mut self, more: usize) -> bool {
        let wanted = self.fixed.saturating_add(self.memory).saturating_add(self.tables).saturating_add(more);
        let allowed = wanted <= self.limit;
        if !allowed {
            self.refused = Some(wanted);
        }
        allowed
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        self.last = 0;
        // Beyond its own maximum a memory does not grow whatever is said here, and no limit of ours is to blame.
        if maximum.is_some_and(|maximum| desired > maximum) || !self.allow(more) {
            return Ok(false);
        }
        self.memory += more;
        self.last = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory -= std::mem::take(&mut self.last);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current).saturating_mul(ELEMENT_BYTES as usize);
        if maximum.is_some_and(|maximum| desired > maximum) || !self.allow(more) {
            return Ok(false);
        }
        self.tables += more;
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    // Every memory reserves 4 GiB of addresses, however small it is.
    fn memories(&self) -> usize {
        8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_the_bound() {
        let mut limiter = Limiter::new(1000);
        assert!(limiter.memory_growing(0, 600, None).unwrap());
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert!(!limiter.memory_growing(0, 241, None).unwrap());
        assert_eq!(limiter.refused(), Some(1001));
        assert_eq!(limiter.memory_bytes(), 760);
    }

    #[test]
    fn what_does_not_grow_counts_too() {
        let mut limiter = Limiter::new(1000);
        limiter.begin_with(500);
        assert!(!limiter.memory_growing(0, 501, None).unwrap());
        assert!(limiter.memory_growing(0, 500, None).unwrap());
        assert_eq!(limiter.memory_bytes(), 1000);
    }

    #[test]
    fn a_failed_growth_is_given_back() {
        let mut limiter = Limiter::new(1000);
        assert!(limiter.memory_growing(0, 600, None).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(limiter.memory_growing(0, 1000, None).unwrap());
    }
}
