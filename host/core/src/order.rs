//! What is handled in order.

/// What is handled in order. There is one policy so far; [`Dispatch`](crate::Dispatch) asks for it.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Order {
    /// Messages of a partition, by offset.
    #[default]
    Partition,
}
