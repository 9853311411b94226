//! librdkafka properties that a file may not set.

use wasmill_core::owned_property;

use crate::refusal::Refusal;

/// Why a property may not be set, and what to write instead; `None`: it may.
pub(crate) fn refuse(name: &str) -> Option<Refusal> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c)) {
        let hint = "names are of `a-z 0-9 . _ -`: `\"security.protocol\"`";
        return Some(("is not a property of librdkafka".to_owned(), hint.to_owned()));
    }
    let owned = owned_property(name)?;
    Some((format!("belongs to wasmill: {}", owned.reason), owned.instead.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_a_property() {
        for name in ["", "Security.Protocol", "a b", "größe"] {
            assert!(refuse(name).unwrap().0.starts_with("is not a property"), "{name}");
        }
        assert_eq!(refuse("security.protocol"), None);
    }

    #[test]
    fn says_why_a_property_is_owned_and_what_to_write_instead() {
        assert!(refuse("acks").unwrap().0.starts_with("belongs to wasmill: an output must be confirmed"));
        assert!(refuse("linger.ms").unwrap().1.contains("`linger`"));
        assert!(refuse("queue.buffering.max.ms").unwrap().1.contains("`linger`"));
    }
}
