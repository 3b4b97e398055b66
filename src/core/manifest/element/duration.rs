//! A duration: whole numbers with units, as in `250ms`, `10s`, `1m30s`, `2h`. A bare number is none, because it does
//! not say of what.

use std::time::Duration;

use schemars::{Schema, json_schema};

use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, Placed, ValueError};
use crate::manifest::reader::{Field, Reader};

/// The longest duration: far longer than anybody waits, and short enough to be added to any time.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The units, the largest first: in this order they can follow each other.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number alone.
    #[error("the duration '{0}' has no unit")]
    NoUnit(String),
    /// Anything else.
    #[error("'{0}' is no duration")]
    Malformed(String),
    /// Nothing takes no time.
    #[error("a duration cannot be zero")]
    Zero,
    /// Longer than a year.
    #[error("the duration '{0}' is longer than a year")]
    TooLong(String),
}

/// Reads a duration.
///
/// # Errors
/// Where it is none, is zero, or is longer than a year.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DurationError::NoUnit(text.to_owned()));
    }
    let mut total = Duration::ZERO;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_while(after, |c| c.is_ascii_lowercase());
        let (_, millis) = units.find(|(name, _)| *name == unit).ok_or_else(malformed)?;
        if number.is_empty() {
            return Err(malformed());
        }
        // A number that does not fit is a duration that is too long.
        let millis = number.parse().unwrap_or(u64::MAX).saturating_mul(*millis);
        total = total.saturating_add(Duration::from_millis(millis));
        rest = after;
    }
    match total {
        Duration::ZERO if text.is_empty() => Err(malformed()),
        Duration::ZERO => Err(DurationError::Zero),
        total if total > LONGEST => Err(DurationError::TooLong(text.to_owned())),
        total => Ok(total),
    }
}

fn split_while(text: &str, inside: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !inside(c)).unwrap_or(text.len()))
}

/// Reads a key's duration.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<Duration>> {
    let text = match &field.node.content {
        Content::Number(number) => number.clone(),
        _ => field.text("a duration, as in '10s'", reader)?.value,
    };
    match parse(&text) {
        Ok(duration) => Some(field.placed(duration)),
        Err(error) => {
            let hint = hint(&error);
            field.bad_value(error.into(), hint, reader);
            None
        }
    }
}

/// What to write instead.
pub(super) fn hint(error: &DurationError) -> Option<Hint> {
    match error {
        DurationError::NoUnit(number) => Hint::advise(format!("write '{number}s' or '{number}ms'")),
        _ => Hint::advise("write it in whole numbers with units, as in '250ms', '10s', '1m30s' or '2h'"),
    }
}

/// A duration reader's error, as a value's.
pub(super) fn refused(error: DurationError) -> (ValueError, Option<Hint>) {
    let hint = hint(&error);
    (error.into(), hint)
}

/// The schema of a duration.
pub(super) fn schema() -> Schema {
    json_schema!({
        "type": "string",
        "description": "Whole numbers with units: 250ms, 10s, 1m30s, 2h",
        "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$|\\$\\{",
        "minLength": 2,
    })
}

/// The schema of a duration with a default.
pub(super) fn schema_with_default(default: &str) -> Schema {
    let mut schema = schema();
    schema.insert("default".to_owned(), default.into());
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1h1m1s1ms", 3_661_001),
            ("090s", 90_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for (text, expected) in [
            ("10", "the duration '10' has no unit"),
            ("", "'' is no duration"),
            ("s", "'s' is no duration"),
            ("1.5s", "'1.5s' is no duration"),
            ("-1s", "'-1s' is no duration"),
            ("30s1m", "'30s1m' is no duration"),
            ("1s1s", "'1s1s' is no duration"),
            ("1S", "'1S' is no duration"),
            ("1 s", "'1 s' is no duration"),
            ("0s", "a duration cannot be zero"),
            ("9000h", "the duration '9000h' is longer than a year"),
            ("99999999999999999999s", "the duration '99999999999999999999s' is longer than a year"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
