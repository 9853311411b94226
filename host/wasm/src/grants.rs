//! What a pipeline may grant to its handler beyond computing: a clock, and chance. Neither can be kept from a plugin
//! once it is linked, so it is asked for by import and answered before anything of the plugin runs.

use crate::capabilities;

/// What is granted, or needed.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Grants {
    /// The time, and timers to wait for: `wasi:clocks`.
    pub clock: bool,
    /// Random bytes: `wasi:random`.
    pub random: bool,
}

/// One of them.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Capability {
    /// `clock`.
    Clock,
    /// `random`.
    Random,
}

impl Capability {
    /// As `grant` in a pipeline's table names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Random => "random",
        }
    }
}

impl Grants {
    /// Nothing.
    pub const NONE: Self = Self { clock: false, random: false };
    /// Everything that there is.
    pub const ALL: Self = Self { clock: true, random: true };

    /// Whether it is among them.
    pub fn has(self, one: Capability) -> bool {
        match one {
            Capability::Clock => self.clock,
            Capability::Random => self.random,
        }
    }

    /// These and one more.
    #[must_use]
    pub fn with(mut self, one: Capability) -> Self {
        match one {
            Capability::Clock => self.clock = true,
            Capability::Random => self.random = true,
        }
        self
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        [Capability::Clock, Capability::Random].into_iter().filter(move |one| self.has(*one))
    }

    /// The line of a pipeline's table that grants them: `grant = ["clock"]`.
    pub fn line(self) -> String {
        let names: Vec<String> = self.iter().map(|one| format!("\"{}\"", one.as_str())).collect();
        format!("grant = [{}]", names.join(", "))
    }
}

/// A plugin asks for more than is granted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the plugin imports `{import}`, which the pipeline does not grant; hint: add `{}` to the pipeline's table",
    .needed.line()
)]
pub struct NotGranted {
    /// The first import that is not granted, as the plugin names it.
    pub import: String,
    /// What would have to be granted in all, what is granted already included.
    pub needed: Grants,
}

/// Imports that give something, and what each of them gives.
pub(crate) type Asked = Vec<(String, Capability)>;

/// What of these imports asks for a grant. Each comes with whether it has functions: an interface that is imported for
/// its types alone (a file's times are those of `wasi:clocks/wall-clock`) gives nothing.
pub(crate) fn asked<'a>(imports: impl Iterator<Item = (&'a str, bool)>) -> Asked {
    let asks = |(name, functions): (&'a str, bool)| {
        let one = capabilities::wasi::capability(name).filter(|_| functions)?;
        Some((name.to_owned(), one))
    };
    imports.filter_map(asks).collect()
}

/// Whether all that is asked for is granted.
pub(crate) fn check(asked: &Asked, granted: Grants) -> Result<(), NotGranted> {
    let Some((import, _)) = asked.iter().find(|(_, one)| !granted.has(*one)) else { return Ok(()) };
    Err(NotGranted { import: import.clone(), needed: asked.iter().fold(granted, |all, (_, one)| all.with(*one)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_interfaces_with_functions_of_clocks_and_chance_ask() {
        let asked = asked(
            [
                ("wasi:io/poll@0.2.6", true),
                ("wasi:clocks/wall-clock@0.2.6", false),
                ("wasi:clocks/monotonic-clock@0.2.6", true),
                ("wasi:random/insecure-seed@0.2.6", true),
                ("wasi:cli/exit@0.2.6", true),
            ]
            .into_iter(),
        );
        let names: Vec<_> = asked.iter().map(|(name, one)| (name.as_str(), *one)).collect();
        assert_eq!(
            names,
            [
                ("wasi:clocks/monotonic-clock@0.2.6", Capability::Clock),
                ("wasi:random/insecure-seed@0.2.6", Capability::Random),
            ]
        );
    }

    #[test]
    fn the_line_to_add_keeps_what_is_granted() {
        let asked = vec![("r".to_owned(), Capability::Random)];
        let clock = Grants { clock: true, ..Grants::NONE };
        let refused = check(&asked, clock).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the plugin imports `r`, which the pipeline does not grant; hint: add `grant = [\"clock\", \"random\"]` to \
             the pipeline's table"
        );
        check(&asked, refused.needed).unwrap();
        check(&Asked::new(), Grants::NONE).unwrap();
    }
}
