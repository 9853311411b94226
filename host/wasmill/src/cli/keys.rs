//! Keys of the configuration in an answer, for people.

/// ` (members, topics)`, or nothing.
pub fn in_brackets(keys: &[String]) -> String {
    if keys.is_empty() { String::new() } else { format!(" ({})", keys.join(", ")) }
}

/// What stands outside the pipelines and was not applied.
pub fn outside(process: &[String]) -> Option<String> {
    (!process.is_empty()).then(|| format!("not applied: {}; hint: restart the process", process.join(", ")))
}
