//! [`choose`]: which replica gets a call.

use std::hash::{DefaultHasher, Hash, Hasher};

use sha2::{Digest, Sha256};

use super::Peer;

/// What one call under way adds to a score.
pub(super) const SCALE: u64 = 1000;

/// Somebody who has room for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate<'a, L> {
    /// Its line.
    pub(super) line: L,
    /// Where it is.
    pub(super) place: Place<'a>,
    /// How much it has to do: the less, the better.
    pub(super) score: u64,
    /// Whether this call has been with it before.
    pub(super) tried: bool,
}

/// Where somebody is who may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// In this project, under this number among the replicas.
    Here(u32),
    /// At another member.
    There(&'a Peer),
}

/// The best of these: with a key, the one that the key belongs to (rendezvous hashing, so that a replica that comes or
/// goes moves only its own keys; first among the members, by a weight on which they all agree, `own` being this one); else the
/// one with the least to do, and of several by `turn`. One that has failed this call comes last.
pub(super) fn choose<L: Copy>(
    candidates: &[Candidate<'_, L>],
    key: Option<&str>,
    own: Option<&Peer>,
    turn: u64,
) -> Option<L> {
    let fresh = candidates.iter().any(|candidate| !candidate.tried);
    let left = candidates.iter().filter(|candidate| !fresh || !candidate.tried);
    if let Some(key) = key {
        let far = left.clone().any(|candidate| matches!(candidate.place, Place::There(_)));
        let by_member = |place: &Place<'_>| match place {
            _ if !far => (0, 0),
            Place::There(peer) => member_weight(key, peer),
            Place::Here(_) => own.map_or((0, 0), |own| member_weight(key, own)),
        };
        let by_replica = |place: &Place<'_>| match place {
            Place::There(_) => 0,
            Place::Here(index) => weight(key, *index),
        };
        return left
            .max_by_key(|candidate| (by_member(&candidate.place), by_replica(&candidate.place)))
            .map(|best| best.line);
    }
    let least = left.clone().map(|candidate| candidate.score).min()?;
    let best: Vec<_> = left.filter(|candidate| candidate.score == least).collect();
    let place = usize::try_from(turn % best.len() as u64).unwrap_or_default();
    best.get(place).map(|best| best.line)
}

fn weight(key: &str, index: u32) -> u64 {
    // The same in every run of the same build: its keys are constants.
    let mut hasher = DefaultHasher::new();
    (key, index).hash(&mut hasher);
    hasher.finish()
}

/// As `docs/fabric-protocol.md` has it: 6 bytes, which every language has a number for. Members of the same name and host are told
/// apart by their sessions.
fn member_weight(key: &str, Peer { name, host, session }: &Peer) -> (u64, u64) {
    let number = |text: String| {
        let digest = Sha256::digest(text);
        digest.iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    (number(format!("{key}\n{name}@{host}")), number(format!("{key}\n{session}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicas(scores: &[u64]) -> Vec<Candidate<'static, usize>> {
        let replica = |(line, score): (usize, &u64)| Candidate {
            line,
            place: Place::Here(line as u32 + 1),
            score: *score,
            tried: false,
        };
        scores.iter().enumerate().map(replica).collect()
    }

    #[test]
    fn the_least_loaded_is_chosen_and_equals_take_turns() {
        assert_eq!(choose(&replicas(&[2, 1, 3]), None, None, 0), Some(1));
        let turns: Vec<_> =
            (0..4).filter_map(|turn| choose(&replicas(&[1, 0, 0]), None, None, turn)).collect();
        assert_eq!(turns, [1, 2, 1, 2]);
        assert_eq!(choose::<usize>(&[], None, None, 0), None);
    }

    #[test]
    fn who_has_failed_the_call_comes_last() {
        let mut all = replicas(&[0, 5]);
        all[0].tried = true;
        assert_eq!(choose(&all, None, None, 0), Some(1));
        all[1].tried = true;
        assert_eq!(choose(&all, None, None, 0), Some(0));
    }

    #[test]
    fn a_key_stays_with_its_replica_and_a_lost_replica_moves_only_its_own() {
        let all = replicas(&[0; 5]);
        let keys: Vec<_> = (0..1000).map(|key| key.to_string()).collect();
        let before: Vec<_> = keys.iter().map(|key| choose(&all, Some(key), None, 7).unwrap()).collect();
        assert!((0..5).all(|line| before.iter().filter(|chosen| **chosen == line).count() > 100), "evenly");
        let without: Vec<_> = all.iter().copied().filter(|candidate| candidate.line != 2).collect();
        for (key, before) in keys.iter().zip(before) {
            let after = choose(&without, Some(key), None, 3).unwrap();
            assert!(before == 2 || after == before, "{key} moved from {before} to {after}");
        }
    }

    #[test]
    fn a_key_goes_to_the_same_member_whoever_asks() {
        let peer = |name: &str| Peer { name: name.into(), host: "h".into(), session: name.into() };
        let (one, two) = (peer("one"), peer("two"));
        let place = |place, line| Candidate { line, place, score: 0, tried: false };
        for key in (0..100).map(|key| key.to_string()) {
            let seen_by_one = [place(Place::Here(1), &one), place(Place::There(&two), &two)];
            let seen_by_two = [place(Place::There(&one), &one), place(Place::Here(1), &two)];
            let of_one = choose(&seen_by_one, Some(&key), Some(&one), 0);
            assert_eq!(of_one, choose(&seen_by_two, Some(&key), Some(&two), 1), "{key}");
        }
        // What other programs compute, too.
        assert_eq!(member_weight("k", &one).0, MEMBER_WEIGHT);
        let twins = ["a", "b"].map(|session| Peer { session: session.into(), ..one.clone() });
        let of = |key: &str| {
            choose(&twins.each_ref().map(|twin| place(Place::There(twin), twin)), Some(key), None, 0)
        };
        let first =
            (0..100).filter(|key| of(&key.to_string()).is_some_and(|twin| twin.session == "a")).count();
        assert!((20..80).contains(&first), "twins share the keys: {first}");
    }

    /// `printf 'k\none@h' | sha256sum | cut -c1-12`
    const MEMBER_WEIGHT: u64 = 0x3eb7c2c3560d;
}
