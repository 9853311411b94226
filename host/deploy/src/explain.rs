//! An error in one line.

/// An error with its causes. What to do about it comes last, whichever of them knew it.
pub fn explain(error: &anyhow::Error) -> String {
    const HINT: &str = "; hint: ";
    let mut causes: Vec<String> = Vec::new();
    let mut hints = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let (cause, hint) = cause.split_once(HINT).unwrap_or((&cause, ""));
        // Some errors say their cause themselves.
        if !causes.last().is_some_and(|last| last.ends_with(cause)) {
            causes.push(cause.to_owned());
        }
        if !hint.is_empty() {
            hints += HINT;
            hints += hint;
        }
    }
    causes.join(": ") + &hints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_comes_after_every_cause_and_no_cause_twice() {
        let file = std::io::Error::other("no such file");
        let error = anyhow::Error::from(file).context("cannot read a.wasm; hint: build it first").context("pipeline a");
        assert_eq!(explain(&error), "pipeline a: cannot read a.wasm: no such file; hint: build it first");
        let path = std::path::Path::new("no/such/wasmill.toml");
        let text = explain(&wasmill_config::load(path).expect_err("no file").into());
        assert_eq!(text.matches("No such file").count(), 1, "{text}");
    }
}
