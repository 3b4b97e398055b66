//! [`choose`]: which replica gets a call.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A replica that has room for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate<L> {
    /// Its line.
    pub(super) line: L,
    /// Its number among the replicas.
    pub(super) index: u32,
    /// The calls that it has under way.
    pub(super) in_flight: usize,
    /// Whether this call has been with it before.
    pub(super) tried: bool,
}

/// The best of these: with a key, the one that the key belongs to (rendezvous hashing, so that a replica that comes or
/// goes moves only its own keys); else the one with the fewest calls under way, and of several by `turn`. One that has
/// failed this call comes last.
pub(super) fn choose<L: Copy>(candidates: &[Candidate<L>], key: Option<&str>, turn: u64) -> Option<L> {
    let fresh = candidates.iter().any(|candidate| !candidate.tried);
    let left = candidates.iter().filter(|candidate| !fresh || !candidate.tried);
    if let Some(key) = key {
        return left.max_by_key(|candidate| weight(key, candidate.index)).map(|best| best.line);
    }
    let least = left.clone().map(|candidate| candidate.in_flight).min()?;
    let best: Vec<_> = left.filter(|candidate| candidate.in_flight == least).collect();
    let place = usize::try_from(turn % best.len() as u64).unwrap_or_default();
    best.get(place).map(|best| best.line)
}

fn weight(key: &str, index: u32) -> u64 {
    // The same in every run of the same build: its keys are constants.
    let mut hasher = DefaultHasher::new();
    (key, index).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicas(in_flight: &[usize]) -> Vec<Candidate<usize>> {
        let replica = |(line, in_flight): (usize, &usize)| Candidate {
            line,
            index: line as u32 + 1,
            in_flight: *in_flight,
            tried: false,
        };
        in_flight.iter().enumerate().map(replica).collect()
    }

    #[test]
    fn the_least_loaded_is_chosen_and_equals_take_turns() {
        assert_eq!(choose(&replicas(&[2, 1, 3]), None, 0), Some(1));
        let turns: Vec<_> = (0..4).filter_map(|turn| choose(&replicas(&[1, 0, 0]), None, turn)).collect();
        assert_eq!(turns, [1, 2, 1, 2]);
        assert_eq!(choose::<usize>(&[], None, 0), None);
    }

    #[test]
    fn who_has_failed_the_call_comes_last() {
        let mut all = replicas(&[0, 5]);
        all[0].tried = true;
        assert_eq!(choose(&all, None, 0), Some(1));
        all[1].tried = true;
        assert_eq!(choose(&all, None, 0), Some(0));
    }

    #[test]
    fn a_key_stays_with_its_replica_and_a_lost_replica_moves_only_its_own() {
        let all = replicas(&[0; 5]);
        let keys: Vec<_> = (0..1000).map(|key| key.to_string()).collect();
        let before: Vec<_> = keys.iter().map(|key| choose(&all, Some(key), 7).unwrap()).collect();
        assert!((0..5).all(|line| before.iter().filter(|chosen| **chosen == line).count() > 100), "evenly");
        let without: Vec<_> = all.iter().copied().filter(|candidate| candidate.line != 2).collect();
        for (key, before) in keys.iter().zip(before) {
            let after = choose(&without, Some(key), 3).unwrap();
            assert!(before == 2 || after == before, "{key} moved from {before} to {after}");
        }
    }
}
