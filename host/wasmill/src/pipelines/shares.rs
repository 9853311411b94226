//! What each partition and each pipeline may use of the memory of the process.

/// A pipeline's share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// Partitions of its topics, those that other processes hold included.
    pub partitions: u64,
    /// Bytes that may be fetched ahead for a partition.
    pub prefetch_bytes: u64,
    /// Bytes of its outputs on their way.
    pub buffer_bytes: u64,
}

/// With less a client does not get on: only here more than `memory` may be used, by thousands of partitions.
const LEAST_PREFETCH_BYTES: u64 = 64 << 10;
const LEAST_BUFFER_BYTES: u64 = 1 << 20;

impl Share {
    /// Of pipelines that start together, by the partitions of each: half of the memory is for what is fetched ahead, in
    /// equal parts for all partitions; a quarter for what is on its way out, in equal parts for the pipelines; the rest
    /// is spans.
    pub fn of_all(memory_bytes: u64, partitions: &[u64]) -> Vec<Self> {
        let all: u64 = partitions.iter().sum();
        let prefetch_bytes = (memory_bytes / 2 / all.max(1)).max(LEAST_PREFETCH_BYTES);
        let buffer_bytes = (memory_bytes / 4 / (partitions.len() as u64).max(1)).max(LEAST_BUFFER_BYTES);
        partitions.iter().map(|&partitions| Self { partitions, prefetch_bytes, buffer_bytes }).collect()
    }

    /// Bytes that a broker may put into one answer: a quarter of what may be fetched ahead of all partitions, as it may be
    /// several times as large once it is decompressed.
    pub fn fetch_bytes(&self) -> u64 {
        (self.prefetch_bytes.saturating_mul(self.partitions.max(1)) / 4).clamp(1 << 20, 50 << 20)
    }

    /// Of a pipeline that starts beside others, which keep what they have: as much as if all had started together, and no
    /// more than is left.
    pub fn beside(memory_bytes: u64, others: &[Self], partitions: u64) -> Self {
        let all: u64 = others.iter().map(|other| other.partitions).sum::<u64>() + partitions;
        let fair_prefetch = memory_bytes / 2 / all.max(1);
        let fair_buffer = memory_bytes / 4 / (others.len() as u64 + 1);
        let fetched = others.iter().map(|other| other.prefetch_bytes * other.partitions).sum();
        let sent = others.iter().map(|other| other.buffer_bytes).sum();
        let left_prefetch = (memory_bytes / 2).saturating_sub(fetched) / partitions.max(1);
        let left_buffer = (memory_bytes / 4).saturating_sub(sent);
        Self {
            partitions,
            prefetch_bytes: fair_prefetch.min(left_prefetch).max(LEAST_PREFETCH_BYTES),
            buffer_bytes: fair_buffer.min(left_buffer).max(LEAST_BUFFER_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: u64 = 512 << 20;

    /// What all of them may fetch ahead, and may have on its way out.
    fn sums(shares: &[Share]) -> (u64, u64) {
        let fetched = shares.iter().map(|share| share.prefetch_bytes * share.partitions).sum();
        (fetched, shares.iter().map(|share| share.buffer_bytes).sum())
    }

    #[test]
    fn half_of_the_memory_is_fetched_ahead_in_equal_parts_and_a_quarter_is_on_its_way_out() {
        for partitions in [vec![1], vec![3, 4], vec![60, 1, 3], vec![64; 64]] {
            let shares = Share::of_all(MEMORY, &partitions);
            let (all, pipelines) = (partitions.iter().sum::<u64>(), partitions.len() as u64);
            let (fetched, sent) = sums(&shares);
            assert!(fetched <= MEMORY / 2 && fetched > MEMORY / 2 - all, "{partitions:?}: {shares:?}");
            assert!(sent <= MEMORY / 4 && sent > MEMORY / 4 - pipelines, "{partitions:?}: {shares:?}");
            assert!(shares.iter().all(|share| share.prefetch_bytes == shares[0].prefetch_bytes), "{shares:?}");
        }
    }

    #[test]
    fn no_partition_and_no_pipeline_gets_less_memory_than_a_client_needs() {
        let least = |share: &Share| (share.prefetch_bytes, share.buffer_bytes) == (64 << 10, 1 << 20);
        let shares = Share::of_all(16 << 20, &[100; 1000]);
        assert!(shares.iter().all(least), "{:?}", shares[0]);
        assert!(least(&Share::beside(16 << 20, &shares, 1)), "nothing is left");
        let none = Share::of_all(16 << 20, &[0]);
        assert_eq!(
            none[0].prefetch_bytes,
            Share::of_all(16 << 20, &[1])[0].prefetch_bytes,
            "topics without partitions"
        );
    }

    #[test]
    fn a_pipeline_that_comes_later_gets_what_others_gave_back_and_never_more_than_is_left() {
        let mut shares = Share::of_all(MEMORY, &[4, 4, 8]);
        // The last one goes; one of the same size takes exactly its place.
        let gone = shares.pop().expect("three");
        assert_eq!(Share::beside(MEMORY, &shares, 8), gone);
        // A smaller one gets no more than if all had started together.
        let small = Share::beside(MEMORY, &shares, 2);
        assert_eq!(small.prefetch_bytes, MEMORY / 2 / 10);
        shares.push(Share::beside(MEMORY, &shares, 12));
        let (fetched, sent) = sums(&shares);
        assert!(fetched <= MEMORY / 2 && sent <= MEMORY / 4, "{shares:?}");
    }

    #[test]
    fn restarted_one_by_one_pipelines_come_to_the_shares_of_a_start_together() {
        let mut shares = Share::of_all(MEMORY, &[4, 4]);
        shares.push(Share::beside(MEMORY, &shares, 4));
        for _ in 0..2 {
            for index in 0..3 {
                let one = shares.remove(index);
                shares.insert(index, Share::beside(MEMORY, &shares, one.partitions));
            }
        }
        assert_eq!(shares, Share::of_all(MEMORY, &[4, 4, 4]));
    }
}
