//! `max_surge`: how many replicas are replaced at a time when a service is reloaded.

use std::num::NonZeroU32;

use schemars::{Schema, SchemaGenerator};

use super::replicas::whole;
use crate::manifest::problem::Placed;
use crate::manifest::reader::{Field, Key, Reader};

/// There is nothing to gain from more than there can be replicas.
const MOST: u32 = 1000;

pub(crate) const KEY: Key = Key {
    name: "max_surge",
    about: "How many replicas a reload replaces at a time, each with a second start beside it. By default 1.",
    schema,
};

/// Reads the number of replicas.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<NonZeroU32>> {
    let number = field.whole(1, MOST, reader)?;
    NonZeroU32::new(number.value).map(|most| field.placed(most))
}

fn schema(_: &mut SchemaGenerator) -> Schema {
    whole(1, MOST, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn it_is_a_number_of_replicas() {
        let most = testing::read(KEY, "max_surge: 2", read).unwrap();
        assert_eq!(most.value.get(), 2);
        assert_eq!(
            testing::read(KEY, "max_surge: 0", read).unwrap_err(),
            "1:12 'max_surge' of service 'web': 0 is not between 1 and 1000 | write a whole number from 1 to 1000"
        );
    }
}
