//! Why a text will not do.

use std::path::PathBuf;

/// What Linux takes.
const PATH_CHARS: usize = 4096;

/// What is wrong, to be read after the text in a message (`has no port`), and what to write instead.
pub(crate) type Refusal = (String, String);

/// Refuses a text.
pub(crate) fn refusal<T>(problem: impl Into<String>, hint: impl Into<String>) -> Result<T, Refusal> {
    Err((problem.into(), hint.into()))
}

/// A text that is not empty, not too long and without characters of control.
pub(crate) fn plain(text: &str, max_chars: usize) -> Result<String, Refusal> {
    match text.chars().count() {
        0 => refusal("is empty", "write a name"),
        count if count > max_chars => refusal(format!("has {count} characters"), format!("write at most {max_chars}")),
        _ if text.chars().any(char::is_control) => refusal("has a control character", "write visible characters"),
        _ => Ok(text.to_owned()),
    }
}

/// A path.
pub(crate) fn path(text: &str) -> Result<PathBuf, Refusal> {
    plain(text, PATH_CHARS).map(PathBuf::from)
}
