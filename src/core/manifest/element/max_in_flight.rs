//! `max_in_flight`: how many calls a replica has under way at a time.

use std::num::NonZeroU32;

use schemars::{Schema, SchemaGenerator};

use super::replicas::whole;
use crate::manifest::problem::Placed;
use crate::manifest::reader::{Field, Key, Reader};
use crate::routing::MAX_IN_FLIGHT;

/// What a replica is told without having answered is held in memory, by it and by its runner.
const MOST: u32 = 4096;

pub(crate) const KEY: Key = Key {
    name: "max_in_flight",
    about: "How many calls one replica has under way at a time; further ones are 'overloaded'. By default 512.",
    schema,
};

/// Reads the number of calls.
pub(crate) fn read(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Placed<NonZeroU32>> {
    let number = field.whole(1, MOST, reader)?;
    NonZeroU32::new(number.value).map(|most| field.placed(most))
}

fn schema(_: &mut SchemaGenerator) -> Schema {
    whole(1, MOST, MAX_IN_FLIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::element::testing;

    #[test]
    fn it_is_a_number_of_calls() {
        let most = testing::read(KEY, "max_in_flight: 8", read).unwrap();
        assert_eq!(most.value.get(), 8);
        assert_eq!(
            testing::read(KEY, "max_in_flight: 0", read).unwrap_err(),
            "1:16 'max_in_flight' of service 'web': 0 is not between 1 and 4096 | write a whole number from 1 to 4096"
        );
    }
}
