//! What is handled in order.

/// What is handled in order. There is one policy so far, so nothing asks for it yet.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Order {
    /// Messages of a partition, by offset.
    #[default]
    Partition,
}
