//! `replicas`: how many of a service run.

use std::num::NonZeroU32;

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::manifest::node::Content;
use crate::manifest::problem::{Hint, Placed, ProblemKind};
use crate::manifest::reader::{Field, Key, Reader};

/// The most replicas that one service can have on one machine.
const MOST: u32 = 1000;

/// The word for one replica for each core.
const CORES: &str = "cores";

pub(crate) const KEY: Key = Key {
    name: "replicas",
    about: "How many of it run, or 'cores': one for each core that the orchestrator may use. A job runs once. By default 1.",
    schema,
};

/// How many replicas are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replicas {
    /// So many.
    Number(NonZeroU32),
    /// One for each core.
    Cores,
}

impl Replicas {
    /// How many that are on a host with so many cores.
    pub(crate) fn on(self, cores: NonZeroU32) -> NonZeroU32 {
        match self {
            Self::Number(number) => number,
            Self::Cores => NonZeroU32::new(MOST).map_or(cores, |most| cores.min(most)),
        }
    }
}

/// Reads the number of replicas, or the word.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<Replicas>> {
    let is_cores = match &field.node.content {
        Content::Text(text) if text.contains("${") => field.text(CORES, reader)?.value == CORES,
        Content::Text(text) if text.parse::<u32>().is_err() => return read_word(field, text, reader),
        _ => false,
    };
    if is_cores {
        return Some(field.placed(Replicas::Cores));
    }
    let number = field.whole(1, MOST, reader)?;
    NonZeroU32::new(number.value).map(|number| field.placed(Replicas::Number(number)))
}

fn read_word(field: &Field<'_>, word: &str, reader: &mut Reader<'_>) -> Option<Placed<Replicas>> {
    if word == CORES {
        return Some(field.placed(Replicas::Cores));
    }
    let kind = ProblemKind::UnknownWord { owner: field.owner.clone(), word: word.to_owned() };
    let hint =
        Hint::advise(format!("write a whole number from 1 to {MOST}, or '{CORES}' for one on each core"));
    reader.report(field.place(), kind, hint);
    None
}

fn schema(_: &mut SchemaGenerator) -> Schema {
    let mut schema = whole(1, MOST, 1);
    schema.insert("pattern".to_owned(), format!("^{CORES}$|\\$\\{{").into());
    schema
}

/// The schema of a whole number with a default, or a variable that stands for one.
pub(super) fn whole(least: u32, most: u32, default: u32) -> Schema {
    json_schema!({
        "type": ["integer", "string"],
        "minimum": least,
        "maximum": most,
        "pattern": "\\$\\{",
        "default": default,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn replicas_are_a_number_or_a_variable() {
        for text in ["replicas: 2", "replicas: ${TWO}", "replicas: '${NOT_SET:-2}'"] {
            let two = Replicas::Number(NonZeroU32::new(2).unwrap());
            assert_eq!(testing::read(KEY, text, read).unwrap().value, two, "{text}");
        }
        for (text, expected) in [
            (
                "replicas: 0",
                "1:11 'replicas' of service 'web': 0 is not between 1 and 1000 \
                 | write a whole number from 1 to 1000",
            ),
            (
                "replicas: 1.5",
                "1:11 'replicas' of service 'web': 1.5 is not between 1 and 1000 \
                 | write a whole number from 1 to 1000",
            ),
            (
                "replicas: '2'",
                "1:11 'replicas' of service 'web' is to be a whole number from 1 to 1000, not text \
                 | write it without quotes",
            ),
            (
                "replicas: core",
                "1:11 'replicas' of service 'web' cannot be 'core' \
                 | write a whole number from 1 to 1000, or 'cores' for one on each core",
            ),
        ] {
            assert_eq!(testing::read(KEY, text, read).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn cores_are_as_many_as_there_are_up_to_the_most() {
        for text in ["replicas: cores", "replicas: ${NOT_SET:-cores}"] {
            let replicas = testing::read(KEY, text, read).unwrap().value;
            for (cores, expected) in [(1, 1), (48, 48), (4096, MOST)] {
                assert_eq!(replicas.on(NonZeroU32::new(cores).unwrap()).get(), expected, "{text}");
            }
        }
    }
}
