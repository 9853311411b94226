//! A position in a partition, and the one grammar in which every command takes it.
//!
//! | written | means |
//! |---|---|
//! | `earliest`, `beginning` | the oldest message |
//! | `latest`, `end` | behind the newest message |
//! | `1812` | this offset |
//! | `last:100`, short `-100` | 100 messages before the end |
//! | `2026-01-31T00:00:00Z`, `time:1769817600000` | the first message of this time (RFC 3339, or milliseconds since 1970) or later |
//! | `2026-01-31 00:00:00` | the same, in UTC |
//! | `2h ago`, short `2h` | the first message that is no older |
//!
//! A command says which [forms](Form) it takes. One that moves a group or a pipeline takes [`Form::CERTAIN`] alone: a number
//! below zero, an age without `ago` and a time without a zone are too easily a slip.

use std::fmt;

use jiff::Timestamp;

/// A place in a partition.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Position {
    /// The oldest message.
    Earliest,
    /// Behind the newest message.
    Latest,
    /// This offset.
    Offset(i64),
    /// So many messages before the end. Markers and compacted messages count, so fewer may come.
    Last(u64),
    /// The first message of this time or later, in milliseconds since 1970; behind the newest one if there is none.
    Time(i64),
}

/// A way to write a position.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Form {
    /// `earliest`.
    Earliest,
    /// `latest`.
    Latest,
    /// `1812`.
    Offset,
    /// `last:100`.
    Last,
    /// `-100`.
    ShortLast,
    /// `2026-01-31T00:00:00Z`.
    Time,
    /// `2026-01-31 00:00:00`, without a zone: it is UTC.
    PlainTime,
    /// `time:1769817600000`.
    Millis,
    /// `2h ago`.
    Age,
    /// `2h`.
    ShortAge,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 10] = [
        Self::Earliest,
        Self::Latest,
        Self::Offset,
        Self::Last,
        Self::ShortLast,
        Self::Time,
        Self::PlainTime,
        Self::Millis,
        Self::Age,
        Self::ShortAge,
    ];

    /// The forms that cannot be mistaken for something else.
    pub const CERTAIN: [Self; 7] =
        [Self::Earliest, Self::Latest, Self::Offset, Self::Last, Self::Time, Self::Millis, Self::Age];

    /// How to write one of these forms, for a help text or a hint.
    pub fn list(forms: &[Self]) -> String {
        let shown: Vec<&str> = forms.iter().filter_map(|form| form.shown()).collect();
        match shown.as_slice() {
            [] => String::new(),
            [one] => (*one).to_owned(),
            [one, other] => format!("{one} or {other}"),
            [first @ .., last] => format!("{}, or {last}", first.join(", ")),
        }
    }

    fn shown(self) -> Option<&'static str> {
        Some(match self {
            Self::Earliest => "earliest",
            Self::Latest => "latest",
            Self::Offset => "an offset",
            Self::Last => "last:N for N messages before the end",
            Self::Time => "a time such as 2026-01-31T00:00:00Z",
            Self::Age => "an age such as `2h ago`",
            // Short or old forms of those above.
            Self::ShortLast | Self::PlainTime | Self::Millis | Self::ShortAge => return None,
        })
    }

    /// What a text of this form is, to be read after it.
    pub fn what(self) -> &'static str {
        match self {
            Self::Earliest | Self::Latest => "is an end of a partition",
            Self::Offset => "is an offset",
            Self::Last => "counts from the end of a partition",
            Self::ShortLast => "is short for so many messages before the end",
            Self::Time => "is a time",
            Self::PlainTime => "is a time without a zone such as `Z`",
            Self::Millis => "is a time in milliseconds",
            Self::Age => "is an age",
            Self::ShortAge => "is an age without `ago`",
        }
    }
}

/// Why a text is not a position, or none that is taken here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}{hint}", self.problem().map(|problem| format!("{problem}; hint: ")).unwrap_or_default())]
pub struct BadPosition {
    /// What was written.
    pub text: String,
    /// The form that it has and that is not taken here; `None`: it has none.
    pub form: Option<Form>,
    /// What to write instead.
    pub hint: String,
}

impl BadPosition {
    /// What is wrong with a text that is a position, and none that is taken here.
    pub fn problem(&self) -> Option<String> {
        self.form.map(|form| format!("`{}` {}, which is not taken here", self.text, form.what()))
    }
}

impl Position {
    /// Reads a position in any form. Ages are counted back from `now_ms`, in milliseconds since 1970.
    ///
    /// # Errors
    /// It has none of the forms.
    pub fn parse(text: &str, now_ms: i64) -> Result<Self, BadPosition> {
        Self::parse_as(text, now_ms, &Form::ALL)
    }

    /// [`Position::parse`], of these forms alone.
    ///
    /// # Errors
    /// It has none of the forms, or one that is not among `forms`.
    pub fn parse_as(text: &str, now_ms: i64, forms: &[Form]) -> Result<Self, BadPosition> {
        let text = text.trim();
        let form = match read(text, now_ms) {
            Some((position, form)) if forms.contains(&form) => return Ok(position),
            other => other.map(|(_, form)| form),
        };
        Err(BadPosition { text: text.to_owned(), form, hint: format!("write {}", Form::list(forms)) })
    }

    /// The offset in a partition that holds `low` up to `end`; one outside of that becomes its nearest end. `at_time` finds
    /// the offset of a time.
    pub fn within(self, low: i64, end: i64, at_time: impl FnOnce() -> i64) -> i64 {
        match self {
            Self::Earliest => low,
            Self::Latest => end,
            Self::Offset(offset) => offset.min(end).max(low),
            Self::Last(count) => end.saturating_sub_unsigned(count).max(low),
            Self::Time(_) => at_time(),
        }
    }
}

/// A form that [`Position::parse`] reads, whatever the age is counted back from.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Offset(offset) => offset.fmt(f),
            Self::Last(count) => write!(f, "last:{count}"),
            Self::Time(ms) => write!(f, "time:{ms}"),
        }
    }
}

fn read(text: &str, now_ms: i64) -> Option<(Position, Form)> {
    match text {
        "earliest" | "beginning" => return Some((Position::Earliest, Form::Earliest)),
        "latest" | "end" => return Some((Position::Latest, Form::Latest)),
        _ => {}
    }
    if let Some(count) = text.strip_prefix('-') {
        return Some((Position::Last(count.parse().ok()?), Form::ShortLast));
    }
    if let Some(count) = text.strip_prefix("last:") {
        return Some((Position::Last(count.parse().ok()?), Form::Last));
    }
    if let Some(ms) = text.strip_prefix("time:") {
        return Some((Position::Time(ms.parse().ok().filter(|ms| *ms >= 0)?), Form::Millis));
    }
    if let Ok(offset) = text.parse::<i64>() {
        return Some((Position::Offset(offset), Form::Offset));
    }
    if let Some(ms) = time_ms(text) {
        return Some((Position::Time(ms), Form::Time));
    }
    if let Some(ms) = time_ms(&format!("{text}Z")) {
        return Some((Position::Time(ms), Form::PlainTime));
    }
    let (age, form) = match text.strip_suffix("ago") {
        Some(age) => (age.trim_end(), Form::Age),
        None => (text, Form::ShortAge),
    };
    let age_ms = humantime::parse_duration(age).ok()?.as_millis();
    let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX);
    Some((Position::Time(now_ms.saturating_sub(age_ms).max(0)), form))
}

/// Milliseconds since 1970 of an RFC 3339 time: a date, a time of day and an offset. `None` of anything else, and of a time
/// before 1970.
pub fn time_ms(text: &str) -> Option<i64> {
    let time: Timestamp = text.parse().ok()?;
    (time >= Timestamp::UNIX_EPOCH).then(|| time.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_772_323_200_000;
    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_position_is_a_word_an_offset_a_count_a_time_or_an_age() {
        for (text, position) in [
            ("earliest", Position::Earliest),
            ("beginning", Position::Earliest),
            (" latest ", Position::Latest),
            ("end", Position::Latest),
            ("0", Position::Offset(0)),
            ("1812", Position::Offset(1812)),
            ("last:100", Position::Last(100)),
            ("-100", Position::Last(100)),
            ("2026-03-01T00:00:00Z", Position::Time(NOW)),
            ("2026-03-01T01:00:00+01:00", Position::Time(NOW)),
            ("2026-03-01T00:00:00.250Z", Position::Time(NOW + 250)),
            ("2026-03-01 00:00:00", Position::Time(NOW)),
            ("2026-03-01T00:00:00", Position::Time(NOW)),
            ("time:12", Position::Time(12)),
            ("2h ago", Position::Time(NOW - 2 * HOUR)),
            ("1h30m ago", Position::Time(NOW - 3 * HOUR / 2)),
            ("24h", Position::Time(NOW - 24 * HOUR)),
            ("7d", Position::Time(NOW - 7 * 24 * HOUR)),
            ("9000years", Position::Time(0)),
        ] {
            assert_eq!(Position::parse(text, NOW), Ok(position), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_to_write() {
        for text in [
            "",
            "-",
            "--1",
            "last:",
            "last:-1",
            "time:-1",
            "time:now",
            "yesterday",
            "2026-03-01",
            "2026-03-01Z",
            "1969-12-31T23:59:59Z",
            "two hours ago",
            "ago",
            "99999999999999999999",
        ] {
            let refused = Position::parse(text, NOW).expect_err(text);
            assert_eq!(refused.form, None, "{text}");
            assert!(refused.to_string().starts_with("write earliest, latest, an offset, last:N"), "{refused}");
            assert!(refused.hint.ends_with("or an age such as `2h ago`"), "{refused}");
        }
    }

    #[test]
    fn a_form_that_is_not_taken_is_named_with_what_was_typed() {
        for (text, said) in [
            ("-1", "`-1` is short for so many messages before the end, which is not taken here; hint: write earliest"),
            ("2h", "`2h` is an age without `ago`, which is not taken here; hint: write earliest"),
            ("2026-03-01T00:00:00", "`2026-03-01T00:00:00` is a time without a zone such as `Z`"),
        ] {
            let refused = Position::parse_as(text, NOW, &Form::CERTAIN).expect_err(text);
            assert!(refused.to_string().starts_with(said), "{refused}");
        }
        let refused = Position::parse_as("12", NOW, &[Form::Time, Form::Age]).expect_err("an offset");
        let said = "`12` is an offset, which is not taken here; hint: write a time such as 2026-01-31T00:00:00Z or an age \
                    such as `2h ago`";
        assert_eq!(refused.to_string(), said);
    }

    #[test]
    fn a_time_has_an_offset() {
        assert_eq!(time_ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(time_ms("2000-02-29T12:00:00Z"), Some(951_825_600_000));
        assert_eq!(time_ms("2026-03-01T00:00:00.250+01:00"), Some(1_772_319_600_250));
        assert_eq!(time_ms("2026-03-01T00:00:00"), None);
        assert_eq!(time_ms("2026-03-01"), None);
        assert_eq!(time_ms("1969-12-31T23:59:59.999Z"), None);
    }

    #[test]
    fn a_position_becomes_an_offset_that_the_partition_holds() {
        for (position, offset) in [
            (Position::Earliest, 10),
            (Position::Latest, 90),
            (Position::Offset(50), 50),
            (Position::Offset(5), 10),
            (Position::Offset(500), 90),
            (Position::Last(20), 70),
            (Position::Last(u64::MAX), 10),
            (Position::Time(7), 42),
        ] {
            assert_eq!(position.within(10, 90, || 42), offset, "{position}");
        }
    }

    fn any_position() -> impl Strategy<Value = Position> {
        prop_oneof![
            Just(Position::Earliest),
            Just(Position::Latest),
            (0..=i64::MAX).prop_map(Position::Offset),
            any::<u64>().prop_map(Position::Last),
            (0..=i64::MAX).prop_map(Position::Time),
        ]
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(position in any_position(), now_ms in any::<i64>()) {
            prop_assert_eq!(Position::parse_as(&position.to_string(), now_ms, &Form::CERTAIN), Ok(position));
        }

        #[test]
        fn no_text_panics(text in ".{0,24}", now_ms in any::<i64>()) {
            let _ = Position::parse(&text, now_ms);
        }
    }
}
