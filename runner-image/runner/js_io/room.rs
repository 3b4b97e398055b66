//! [`Room`]: the memory that everything under way between a js service and the world may take together.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::messages::Failure;

/// What is left. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    left: Arc<Semaphore>,
    most: usize,
}

/// What somebody has taken of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    room: Room,
    taken: usize,
}

impl Room {
    /// Room for that many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { left: Arc::new(Semaphore::new(most)), most }
    }

    /// A share of nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share { room: self.clone(), taken: 0 }
    }
}

impl Share {
    /// Takes this many bytes more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        let most = self.room.most >> 20;
        let none = || Failure::new("limit", format!("more than {most} MiB are under way at one time"));
        let more = u32::try_from(bytes).map_err(|_| none())?;
        self.room.left.try_acquire_many(more).map_err(|_| none())?.forget();
        self.taken += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.left.add_permits(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 128 << 20;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let room = Room::new(MOST);
        let (mut one, mut other) = (room.share(), room.share());
        one.grow(MOST - 1).unwrap();
        assert_eq!(other.grow(2).unwrap_err().message, "more than 128 MiB are under way at one time");
        other.grow(1).unwrap();
        drop(one);
        other.grow(MOST - 1).unwrap();
    }
}
