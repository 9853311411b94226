//! Where the host puts what it hands over: bump allocation, taken back all at once when a call is over. Two general
//! allocations and frees a batch less, and one contiguous place that a steady stream of batches keeps reusing.
//!
//! Safe code: it hands out pointers, the host writes behind them.

/// The unit of allocation. Its alignment is that of everything here: large copies in the host are many times slower
/// when source and destination lie a few bytes off each other within a page.
#[derive(Clone, Copy)]
#[repr(align(16))]
struct Block(#[allow(dead_code)] [u8; BLOCK]);

const BLOCK: usize = 16;
/// The first chunk, in blocks: 64 KiB.
const LEAST: usize = 4096;

/// See the module. Not freed between calls: memory of a wasm instance never shrinks anyway.
pub(crate) struct Arena {
    /// Only its capacity is used. It is never grown in place, so that pointers into it stay good.
    chunk: Vec<Block>,
    /// Blocks given away of `chunk`.
    used: usize,
    /// Chunks that are full, until the call is over.
    full: Vec<Vec<Block>>,
    /// How large the next chunk should be at least.
    wanted: usize,
}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self { chunk: Vec::new(), used: 0, full: Vec::new(), wanted: LEAST }
    }

    /// `size` bytes, aligned to 16, until the next `reset`.
    pub(crate) fn allocate(&mut self, size: usize) -> *mut u8 {
        let blocks = size.div_ceil(BLOCK);
        if blocks > self.chunk.capacity() - self.used {
            let full = std::mem::replace(&mut self.chunk, Vec::with_capacity(blocks.max(self.wanted)));
            self.used = 0;
            if full.capacity() > 0 {
                self.full.push(full);
            }
        }
        // `as_mut_ptr` makes no reference to the content, so it leaves alone what was given away before.
        let place = self.chunk.as_mut_ptr().wrapping_add(self.used);
        self.used += blocks;
        place.cast()
    }

    /// Takes back everything. If it did not fit one chunk, the next one will hold as much.
    pub(crate) fn reset(&mut self) {
        if !self.full.is_empty() {
            let blocks = self.full.iter().map(Vec::capacity).sum::<usize>() + self.chunk.capacity();
            self.wanted = blocks.next_power_of_two();
            self.full.clear();
            self.chunk = Vec::new();
        }
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_aligned_and_do_not_overlap() {
        let mut arena = Arena::new();
        let sizes = [1, 16, 0, 70_000, 17, 200_000, 3];
        let mut places: Vec<(usize, usize)> = sizes.map(|size| (arena.allocate(size).addr(), size)).to_vec();
        assert!(places.iter().all(|(at, _)| at % 16 == 0));
        places.retain(|(_, size)| *size > 0);
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
    }

    #[test]
    fn a_steady_stream_settles_in_one_chunk() {
        let mut arena = Arena::new();
        let mut chunks = || {
            arena.allocate(300_000);
            arena.allocate(60_000);
            let chunks = arena.full.len() + 1;
            arena.reset();
            chunks
        };
        assert_eq!([chunks(), chunks(), chunks()], [2, 1, 1]);
    }
}
