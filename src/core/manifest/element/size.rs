//! A size: a whole number with a unit, as in `64MiB` or `1GiB`. A bare number is none, because it does not say of what.

use schemars::{Schema, json_schema};

use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, Placed};
use crate::manifest::reader::{Field, Reader};

/// The units. Powers of 1024 and of 1000 are told apart by their names.
const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// A number alone.
    #[error("the size '{0}' has no unit")]
    NoUnit(String),
    /// Anything else.
    #[error("'{0}' is no size")]
    Malformed(String),
    /// Nothing fits into it.
    #[error("a size cannot be zero")]
    Zero,
    /// More than any machine has.
    #[error("the size '{0}' is larger than any machine")]
    TooLarge(String),
}

/// Reads a size, in bytes.
///
/// # Errors
/// Where it is none, or zero, or beyond what can be counted.
pub(crate) fn parse(text: &str) -> Result<u64, SizeError> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    if number.is_empty() {
        return Err(SizeError::Malformed(text.to_owned()));
    }
    if unit.is_empty() {
        return Err(SizeError::NoUnit(text.to_owned()));
    }
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(SizeError::Malformed(text.to_owned()));
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)) {
        Some(0) => Err(SizeError::Zero),
        // What the kernel counts with has a sign.
        Some(bytes) if i64::try_from(bytes).is_ok() => Ok(bytes),
        _ => Err(SizeError::TooLarge(text.to_owned())),
    }
}

/// Reads a key's size, in bytes.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<u64>> {
    let text = match &field.node.content {
        Content::Number(number) => number.clone(),
        _ => field.text("a size, as in '64MiB'", reader)?.value,
    };
    match parse(&text) {
        Ok(bytes) => Some(field.placed(bytes)),
        Err(error) => {
            let hint = match &error {
                SizeError::NoUnit(number) => format!("write '{number}MiB' or '{number}KiB'"),
                _ => "write a whole number with a unit, as in '64MiB' or '1GiB'".to_owned(),
            };
            field.bad_value(error.into(), Some(Hint::Do(hint)), reader);
            None
        }
    }
}

/// The schema of a size.
pub(crate) fn schema() -> Schema {
    json_schema!({
        "type": "string",
        "description": "A whole number with a unit: 64MiB, 1GiB",
        "pattern": "^[0-9]+([KMGT]iB|[kMG]B)$|\\$\\{",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_a_unit() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1GiB", 1 << 30), ("10kB", 10_000), ("1KiB", 1024)] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for (text, expected) in [
            ("64", "the size '64' has no unit"),
            ("64M", "'64M' is no size"),
            ("64 MiB", "'64 MiB' is no size"),
            ("-1MiB", "'-1MiB' is no size"),
            ("1.5GiB", "'1.5GiB' is no size"),
            ("0MiB", "a size cannot be zero"),
            ("9999999999TiB", "the size '9999999999TiB' is larger than any machine"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
