//! What an instance is told once, before its first message.

use std::fmt::Display;
use std::str::FromStr;

/// What an instance is told once, before its first message. Not which topics and partitions: an instance may serve
/// several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    pub(crate) pipeline: String,
    pub(crate) group: String,
    pub(crate) digest: String,
    pub(crate) settings: Vec<(String, String)>,
}

impl Context {
    /// The pipeline's name in wasmill.toml.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// The consumer group the pipeline belongs to.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// SHA-256 of the plugin's bytes, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The pipeline's `config` table, sorted by key.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A setting of the pipeline's `config` table, as text; `None` if it is not written there.
    pub fn config(&self, key: &str) -> Option<&str> {
        self.settings().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// A setting that must be there.
    ///
    /// # Errors
    /// If it is not: a text that names it, for `init` to return.
    pub fn require(&self, key: &str) -> Result<&str, String> {
        self.config(key).ok_or_else(|| format!("config `{key}` is missing"))
    }

    /// A setting as a number, a `bool` or whatever else text can be parsed into; `None` if it is not written.
    ///
    /// # Errors
    /// If it does not parse: a text with the setting as typed, for `init` to return.
    pub fn parse<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Option<T>, String> {
        let Some(value) = self.config(key) else { return Ok(None) };
        value.parse().map(Some).map_err(|error| format!("config `{key}`: `{value}` is not usable: {error}"))
    }

    /// Refuses settings that the handler does not know, so that a misspelt one is noticed before the first message.
    ///
    /// # Errors
    /// A text that names the first unknown setting and all known ones, for `init` to return.
    pub fn only(&self, known: &[&str]) -> Result<(), String> {
        let Some((unknown, _)) = self.settings().find(|(key, _)| !known.contains(key)) else { return Ok(()) };
        let known: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
        match known.as_slice() {
            [] => Err(format!("config `{unknown}` is unknown; this handler has no settings")),
            _ => Err(format!("config `{unknown}` is unknown; hint: this handler knows {}", known.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        let settings = [("limit", "12"), ("mask", "yes")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        Context { settings: settings.to_vec(), ..Context::default() }
    }

    #[test]
    fn a_setting_is_parsed_and_a_missing_one_is_none() {
        assert_eq!(context().parse::<u32>("limit"), Ok(Some(12)));
        assert_eq!(context().parse::<u32>("absent"), Ok(None));
    }

    #[test]
    fn an_unusable_setting_is_named_as_typed() {
        let error = context().parse::<bool>("mask").unwrap_err();
        assert_eq!(error, "config `mask`: `yes` is not usable: provided string was not `true` or `false`");
        assert_eq!(context().require("absent").unwrap_err(), "config `absent` is missing");
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        assert_eq!(context().only(&["limit", "mask"]), Ok(()));
        let error = context().only(&["limit"]).unwrap_err();
        assert_eq!(error, "config `mask` is unknown; hint: this handler knows `limit`");
        assert_eq!(context().only(&[]).unwrap_err(), "config `limit` is unknown; this handler has no settings");
    }
}
