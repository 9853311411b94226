//! Why a call is refused: the answer to every one that does not succeed.

use serde::{Deserialize, Deserializer, Serialize};
use wasmill_config::Finding;

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// All of it, for people.
    pub error: String,
    /// The same for machines, where there is more to say.
    #[serde(flatten)]
    pub detail: Detail,
}

/// What a refusal says beside its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Detail {
    /// Of a handler that was not let in.
    Gate {
        /// The gate.
        gate: String,
        /// Why, without the gate.
        reason: String,
    },
    /// Of a group that did not swap.
    Group {
        /// At which gate of that process.
        #[serde(deserialize_with = "present")]
        gate: Option<String>,
        /// The process that refuses, if it is one.
        #[serde(deserialize_with = "present")]
        process: Option<String>,
    },
    /// Of a configuration that has mistakes.
    File {
        /// The mistakes with their places, and the warnings.
        findings: Vec<Finding>,
    },
    /// Nothing.
    None {},
}

/// A field that may be null and is there: by it this detail is told from others.
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(field)
}

impl Refusal {
    /// For this reason.
    pub fn of(error: impl Into<String>) -> Self {
        Self { error: error.into(), detail: Detail::None {} }
    }
}

#[cfg(test)]
mod tests {
    use wasmill_config::Severity;

    use super::*;
    use crate::api::tests::round_trip;

    fn refusal(detail: Detail) -> Refusal {
        Refusal { error: "no".to_owned(), detail }
    }

    #[test]
    fn a_refusal_is_sent_as_pinned() {
        round_trip(&Refusal::of("no"), r#"{"error":"no"}"#);
        let gate = Detail::Gate { gate: "imports".to_owned(), reason: "why".to_owned() };
        round_trip(&refusal(gate), r#"{"error":"no","gate":"imports","reason":"why"}"#);
        let group = Detail::Group { gate: None, process: None };
        round_trip(&refusal(group), r#"{"error":"no","gate":null,"process":null}"#);
        let group = Detail::Group { gate: Some("size".to_owned()), process: Some("p".to_owned()) };
        round_trip(&refusal(group), r#"{"error":"no","gate":"size","process":"p"}"#);
        let finding = Finding {
            severity: Severity::Error,
            file: "wasmill.toml".to_owned(),
            line: 3,
            column: 1,
            width: 4,
            key: "lane".to_owned(),
            message: "unknown key `lane`".to_owned(),
            hint: Some("did you mean `lanes`?".to_owned()),
            source: "lane = 1".to_owned(),
        };
        round_trip(
            &refusal(Detail::File { findings: vec![finding] }),
            r#"{"error":"no","findings":[{"column":1,"file":"wasmill.toml","hint":"did you mean `lanes`?","key":"lane","line":3,"message":"unknown key `lane`","severity":"error","source":"lane = 1","width":4}]}"#,
        );
    }

    #[test]
    fn a_refusal_whose_detail_is_not_understood_is_read_without_it() {
        for text in [r#"{"error":"no","findings":[{"line":1}]}"#, r#"{"error":"no","gate":7}"#] {
            assert_eq!(serde_json::from_str::<Refusal>(text).expect(text), Refusal::of("no"), "{text}");
        }
    }
}
