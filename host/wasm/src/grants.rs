//! Whether a pipeline grants what a plugin imports. A clock and random bytes cannot be kept from a plugin once it is
//! linked, so they are asked for by import and answered before anything of the plugin runs.

use wasmill_core::{Grant, Grants};

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
pub(crate) type Asked = Vec<(String, Grant)>;

/// Whether all that is asked for is granted.
pub(crate) fn check(asked: &Asked, granted: Grants) -> Result<(), NotGranted> {
    let Some((import, _)) = asked.iter().find(|(_, one)| !granted.contains(*one)) else { return Ok(()) };
    let needed = granted.iter().chain(asked.iter().map(|(_, one)| *one)).collect();
    Err(NotGranted { import: import.clone(), needed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_add_keeps_what_is_granted() {
        let asked = vec![("r".to_owned(), Grant::Random)];
        let refused = check(&asked, Grants::NONE.with(Grant::Clock)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the plugin imports `r`, which the pipeline does not grant; hint: add `grant = [\"clock\", \"random\"]` to \
             the pipeline's table"
        );
        check(&asked, refused.needed).unwrap();
        check(&Asked::new(), Grants::NONE).unwrap();
    }
}
