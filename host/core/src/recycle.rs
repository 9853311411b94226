//! When an instance is due for replacement. Some runtimes never give back all that they take: a little is lost with
//! each message, until the instance ends in the middle of a batch. Its state is a cache, so a fresh one between two
//! batches costs less.

/// How an instance's memory grows, against its limit and its beginning.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    limit: u64,
    /// Memory at which it is due; 0 until its first batch was seen, so that one comparison serves both.
    due_from: u64,
}

impl Growth {
    /// Of an instance that may have `limit` bytes and was given no batch yet.
    pub fn new(limit: u64) -> Self {
        Self { limit, due_from: 0 }
    }

    /// A batch was handled, and the instance has `memory` bytes now: whether it is to be replaced before the next one.
    ///
    /// It is at three quarters of the limit or more, and at twice what it had after its first batch or more: one that
    /// simply needs much would otherwise begin anew with every batch.
    #[inline]
    pub fn is_due(&mut self, memory: u64) -> bool {
        memory >= self.due_from && self.look(memory)
    }

    #[cold]
    fn look(&mut self, memory: u64) -> bool {
        if self.due_from > 0 {
            return true;
        }
        let three_quarters = self.limit - self.limit / 4;
        self.due_from = three_quarters.max(memory.saturating_mul(2)).max(1);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After which of these batches an instance with 1000 bytes at most is due.
    fn due(memory: &[u64]) -> Vec<usize> {
        let mut growth = Growth::new(1000);
        (0..memory.len()).filter(|&batch| growth.is_due(memory[batch])).collect()
    }

    #[test]
    fn one_that_grows_is_due_at_three_quarters_of_its_limit() {
        assert_eq!(due(&[100, 300, 749, 750, 751]), [3, 4]);
    }

    #[test]
    fn one_that_needs_much_from_the_beginning_is_not_due() {
        assert_eq!(due(&[900, 900, 950, 1000]), []);
        assert_eq!(due(&[400, 790, 799, 800, 801]), [3, 4], "twice its beginning is more than three quarters");
        assert_eq!(due(&[600, 1000]), [], "it cannot come to twice its beginning");
    }

    #[test]
    fn the_first_batch_is_never_the_last() {
        assert_eq!(due(&[1000]), []);
        assert_eq!(due(&[0, 749, 750]), [2], "no memory at all is no beginning that could be doubled");
        let mut none = Growth::new(0);
        assert!(!none.is_due(0) && !none.is_due(0) && none.is_due(1));
        let mut endless = Growth::new(u64::MAX);
        assert!(!endless.is_due(u64::MAX) && endless.is_due(u64::MAX));
    }
}
