//! How large a handler may be.

/// A handler has more bytes than are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused at the gate `size`: {}", self.reason())]
pub struct TooLarge {
    bytes: u64,
    most: u64,
}

impl TooLarge {
    /// How large it is, and what to do.
    pub fn reason(&self) -> String {
        let (bytes, most) = (bytesize::ByteSize(self.bytes), bytesize::ByteSize(self.most));
        format!("the handler has {bytes}, and {most} are accepted; hint: limits.component")
    }
}

/// Whether a handler of so many bytes may be loaded, where `most` are accepted.
pub fn fits(bytes: u64, most: u64) -> Result<(), TooLarge> {
    if bytes <= most { Ok(()) } else { Err(TooLarge { bytes, most }) }
}
