//! A commit's metadata with the founding count at its end; see `start.rs`.

/// Adds the founding count to a commit's metadata, if both fit.
pub(super) fn seal(note: &str, founding: Option<i32>, limit_bytes: usize) -> String {
    match founding.map(|founding| format!("{note}#{founding}")) {
        Some(sealed) if sealed.len() <= limit_bytes => sealed,
        _ => note.to_owned(),
    }
}

/// Takes the founding count off again.
pub(super) fn open(sealed: &str) -> (&str, Option<i32>) {
    match sealed.rsplit_once('#') {
        Some((note, count)) if !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) => {
            (note, count.parse().ok().filter(|count| *count > 0))
        }
        _ => (sealed, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_founding_count_is_added_and_taken_off_again() {
        assert_eq!(seal("v1;x#y", Some(12), 4096), "v1;x#y#12");
        assert_eq!(open("v1;x#y#12"), ("v1;x#y", Some(12)));
        assert_eq!(open("#3"), ("", Some(3)));
        assert_eq!(open("foreign # text"), ("foreign # text", None));
        assert_eq!(open("v1#"), ("v1#", None));
        let long = "x".repeat(4095);
        assert_eq!(seal(&long, Some(12), 4096), long, "a note must not be refused for the sake of the count");
    }
}
