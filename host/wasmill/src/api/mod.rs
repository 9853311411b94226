//! Requests and answers of the admin port. The server writes these types and the command line reads them; nothing else
//! names a field of them. One file for each subject, as in `admin`.
//!
//! Both halves may be of different versions. A request with a field that the process does not know is refused: passed
//! over, it would do something else than what was asked. An answer with such a field is read without it, and a word that
//! is not known is kept as it is (`Other`). So a field that is added to an answer is an `Option`, or has `serde(default)`.

pub mod error;
pub mod history;
pub mod operate;
pub mod partition;
pub mod reload;
pub mod restart;
pub mod seek;
pub mod status;
pub mod swap;

/// The path of a call to this pipeline; `path` is what the router has.
pub fn of_pipeline(path: &str, name: &str) -> String {
    path.replace("{name}", name)
}

/// A request without anything to say.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

#[cfg(test)]
pub mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;

    /// The type is sent as `text`, and `text` is read as the same again; so it is with a field that nobody knows.
    pub fn round_trip<T: Serialize + DeserializeOwned>(value: &T, text: &str) {
        let sent = serde_json::to_value(value).expect("plain data");
        assert_eq!(sent.to_string(), text);
        let again = |text: &str| {
            let read: T = serde_json::from_str(text).expect(text);
            serde_json::to_value(read).expect("plain data")
        };
        assert_eq!(again(text), sent);
        if let Some(fields) = text.strip_prefix('{').filter(|fields| *fields != "}") {
            assert_eq!(again(&format!("{{\"of a later version\":[1],{fields}")), sent);
        }
    }

    /// A request is sent as `text` and read again; one with a field that nobody knows is refused.
    pub fn round_trip_of_request<T: Serialize + DeserializeOwned>(value: &T, text: &str) {
        let sent = serde_json::to_value(value).expect("plain data");
        assert_eq!(sent.to_string(), text);
        let read: T = serde_json::from_str(text).expect(text);
        assert_eq!(serde_json::to_value(read).expect("plain data"), sent);
        assert!(serde_json::from_str::<T>(r#"{"of a later version":1}"#).is_err());
    }

    #[test]
    fn a_path_names_the_pipeline() {
        assert_eq!(of_pipeline(seek::PATH, "orders"), "/api/v1/pipelines/orders/seek");
        round_trip_of_request(&Nothing {}, "{}");
    }
}
