//! What a pipeline may grant to its handler beyond computing: a clock, and random bytes.

/// One thing that can be granted.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Grant {
    /// The time, and timers to wait for: `wasi:clocks`.
    Clock,
    /// Random bytes: `wasi:random`.
    Random,
}

impl Grant {
    /// Every grant that there is.
    pub const ALL: [Self; 2] = [Self::Clock, Self::Random];

    /// As `grant` in a pipeline's table names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Random => "random",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of grants: what a pipeline gives, or what a handler needs.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Default)]
pub struct Grants(u8);

impl Grants {
    /// A handler that only computes.
    pub const NONE: Self = Self(0);
    /// Everything that there is.
    pub const ALL: Self = Self(Grant::Clock.bit() | Grant::Random.bit());

    /// Whether it is among them.
    pub const fn contains(self, one: Grant) -> bool {
        self.0 & one.bit() != 0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, one: Grant) -> Self {
        Self(self.0 | one.bit())
    }

    /// Those of them that are not among `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// One after the other, always in the same order.
    pub fn iter(self) -> impl Iterator<Item = Grant> {
        Grant::ALL.into_iter().filter(move |one| self.contains(*one))
    }

    /// Their names, in the order of [`iter`](Self::iter).
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.iter().map(Grant::as_str)
    }

    /// The line of a pipeline's table that grants them: `grant = ["clock"]`.
    pub fn line(self) -> String {
        let names: Vec<String> = self.names().map(|name| format!("\"{name}\"")).collect();
        format!("grant = [{}]", names.join(", "))
    }
}

impl std::fmt::Debug for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(all: I) -> Self {
        all.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        let clock: Grants = [Grant::Clock, Grant::Clock].into_iter().collect();
        assert!(clock.contains(Grant::Clock) && !clock.contains(Grant::Random) && !clock.is_empty());
        assert_eq!(Grants::NONE.iter().count(), 0);
        assert!(Grants::default().is_empty());
        assert_eq!(Grants::ALL, Grant::ALL.into_iter().collect());
        assert_eq!(Grants::ALL.without(clock), Grants::NONE.with(Grant::Random));
        assert_eq!(clock.without(Grants::ALL), Grants::NONE);
    }

    #[test]
    fn names_come_in_one_order_however_they_were_put_in() {
        let all = Grants::NONE.with(Grant::Random).with(Grant::Clock);
        assert_eq!(all.names().collect::<Vec<_>>(), ["clock", "random"]);
        assert_eq!(all.line(), r#"grant = ["clock", "random"]"#);
        assert_eq!(format!("{all:?}"), "{Clock, Random}");
    }
}
