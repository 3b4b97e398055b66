//! [`Room`]: the memory that everything under way between a js service and the world may take together.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::messages::Failure;

/// All of it, in bytes.
const MOST: usize = 128 << 20;

/// What is left. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

/// What somebody has taken of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    room: Room,
    taken: usize,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }

    /// A share of nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share { room: self.clone(), taken: 0 }
    }
}

impl Share {
    /// Takes this many bytes more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        let none =
            || Failure::new("limit", format!("more than {} MiB are under way at one time", MOST >> 20));
        let more = u32::try_from(bytes).map_err(|_| none())?;
        self.room.0.try_acquire_many(more).map_err(|_| none())?.forget();
        self.taken += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.0.add_permits(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let room = Room::new();
        let (mut one, mut other) = (room.share(), room.share());
        one.grow(MOST - 1).unwrap();
        assert_eq!(other.grow(2).unwrap_err().message, "more than 128 MiB are under way at one time");
        other.grow(1).unwrap();
        drop(one);
        other.grow(MOST - 1).unwrap();
    }
}
