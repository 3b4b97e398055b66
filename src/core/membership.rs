//! [`Membership`]: who is in a fabric, as one member sees it. What packets say of themselves comes in with its time; whether they
//! count, and what follows from them, comes out. No clock, no I/O.
//!
//! A session lives from its first word until it says `bye`, is replaced, cannot be reached, or is silent for as long as it
//! said that it might be. It never comes back, so what was recorded of it is worth nothing afterwards.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::routing::Peer;
use crate::supervisor::Moment;

/// How far the clock of a sender may be away, in milliseconds.
pub const CLOCKS_APART: u64 = 60_000;

/// How long it is remembered that a session is over, in milliseconds. Later its packets are stale.
const REMEMBERED: u64 = 2 * CLOCKS_APART;

/// The most sessions that are known at a time, and the most that are remembered to be over.
const MOST: usize = 4096;

/// The shortest and the longest that a member may be silent, in milliseconds.
const TIMEOUTS: std::ops::RangeInclusive<u64> = 500..=600_000;

/// One connection of a member to the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(u128);

/// A text that is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no session")]
pub struct SessionError;

/// Over which channel a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// That of everybody.
    All,
    /// This session's own.
    Own,
}

/// What a packet says of itself. Its tag is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The channel.
    pub channel: Channel,
    /// Who has sent it.
    pub from: Session,
    /// Its number.
    pub seq: u64,
    /// The sender's clock.
    pub time: u64,
    /// What its first message is.
    pub begins: Begins,
}

/// What the first message of a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// What its sender has.
    Offer,
    /// That the receiver's session is over for the sender.
    Over,
    /// Something else.
    Other,
}

/// Why a packet does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refused {
    /// Nobody who has the key has made it for this channel.
    Forged,
    /// It has been sent too long ago, or the clocks are too far apart.
    Stale,
    /// It was there before, or its session is over.
    Replayed,
    /// It comes from somebody who has not said what they are.
    Stranger,
    /// It cannot be understood.
    Malformed,
}

/// What comes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Counts,
    /// It is one's own.
    Own,
    /// It does not count.
    Refused(Refused),
    /// Its session is over, and does not seem to know: it is to be told.
    Over,
    /// This session is over for the sender.
    Dismissed,
    /// Others before it are lost: nothing more is to be expected of this session.
    Gap,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Send this session one's own offer, as the first thing.
    Greet(Session),
    /// Ask this session for its offer.
    Ask(Session),
    /// This session is over.
    Forget(Session),
    /// This session was silent for too long: it is over, and is told so, for it may not know.
    Dismiss(Session),
}

/// The packets that did not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// With another tag.
    pub forged: u64,
    /// Too old, or too new.
    pub stale: u64,
    /// A second time.
    pub replayed: u64,
    /// Of nobody known.
    pub stranger: u64,
    /// Not to be understood.
    pub malformed: u64,
}

/// Who is in the fabric.
#[derive(Debug)]
pub struct Membership {
    own: Session,
    sessions: BTreeMap<Session, Known>,
    /// The sessions that are over, and when they were last heard of.
    over: BTreeMap<Session, Moment>,
    counts: Counts,
}

/// What is known of a session.
#[derive(Debug)]
struct Known {
    /// The last number on the channel of everybody, and on this session's own.
    seq: (u64, u64),
    /// What it calls itself; none before it has made an offer.
    peer: Option<Peer>,
    rev: u64,
    timeout: u64,
    heard: Moment,
    /// Whether one's own offer was sent to it.
    greeted: bool,
}

impl Membership {
    /// Nobody else yet. `counts` are those of the session before.
    #[must_use]
    pub fn new(own: Session, counts: Counts) -> Self {
        Self { own, sessions: BTreeMap::new(), over: BTreeMap::new(), counts }
    }

    /// Whether a packet counts. `clock` is this host's, in milliseconds since 1970-01-01 UTC.
    pub fn admit(&mut self, now: Moment, clock: u64, heard: Heard) -> Verdict {
        let Heard { channel, from, seq, time, begins } = heard;
        if from == self.own {
            return Verdict::Own;
        }
        if time.abs_diff(clock) > CLOCKS_APART {
            return self.refuse(Refused::Stale);
        }
        if channel == Channel::Own && begins == Begins::Over {
            // It would be worth nothing a second time: then this session is over already.
            return Verdict::Dismissed;
        }
        if self.over.contains_key(&from) {
            self.refuse(Refused::Replayed);
            return Verdict::Over;
        }
        let introduced = self.sessions.get(&from).is_some_and(|known| known.peer.is_some());
        if channel == Channel::Own && !introduced && begins != Begins::Offer {
            return self.refuse(Refused::Stranger);
        }
        if self.sessions.len() >= MOST && !self.sessions.contains_key(&from) {
            return self.refuse(Refused::Stranger);
        }
        let known = self.sessions.entry(from).or_insert_with(|| Known::new(now));
        let last = match channel {
            Channel::All => &mut known.seq.0,
            Channel::Own => &mut known.seq.1,
        };
        if seq <= *last {
            return self.refuse(Refused::Replayed);
        }
        if channel == Channel::Own && seq != *last + 1 {
            return Verdict::Gap;
        }
        *last = seq;
        known.heard = now;
        Verdict::Counts
    }

    /// Counts a packet that was refused.
    pub fn refuse(&mut self, why: Refused) -> Verdict {
        let count = match why {
            Refused::Forged => &mut self.counts.forged,
            Refused::Stale => &mut self.counts.stale,
            Refused::Replayed => &mut self.counts.replayed,
            Refused::Stranger => &mut self.counts.stranger,
            Refused::Malformed => &mut self.counts.malformed,
        };
        *count += 1;
        Verdict::Refused(why)
    }

    /// A session says that it begins, and which one of its member's is over.
    pub fn hello(&mut self, now: Moment, from: Session, was: Option<Session>) -> Vec<Do> {
        let mut deeds = was.map(|was| self.end(now, was)).unwrap_or_default();
        deeds.extend(self.greet(from));
        deeds
    }

    /// A session says what it has: in this revision, as this member, which may be silent for so many milliseconds. None where
    /// something newer is known: that has come over the other channel, and counts.
    pub fn offer(&mut self, from: Session, rev: u64, peer: Peer, timeout: u64) -> Option<Vec<Do>> {
        let known = self.sessions.get_mut(&from)?;
        if known.peer.is_some() && rev < known.rev {
            return None;
        }
        known.peer = Some(peer);
        known.rev = rev;
        known.timeout = timeout.clamp(*TIMEOUTS.start(), *TIMEOUTS.end());
        Some(self.greet(from))
    }

    /// A session says that it lives, and that its offer is in this revision.
    pub fn beat(&mut self, from: Session, rev: u64) -> Vec<Do> {
        let Some(known) = self.sessions.get(&from) else { return Vec::new() };
        match known.peer {
            // It answers with its own.
            None => self.greet(from),
            Some(_) if known.rev != rev => vec![Do::Ask(from)],
            Some(_) => Vec::new(),
        }
    }

    /// A session is over: it says so, or cannot be reached any more.
    pub fn end(&mut self, now: Moment, session: Session) -> Vec<Do> {
        if session == self.own || self.over.contains_key(&session) {
            return Vec::new();
        }
        if self.over.len() >= MOST
            && let Some(oldest) =
                self.over.iter().min_by_key(|(_, heard)| **heard).map(|(session, _)| *session)
        {
            self.over.remove(&oldest);
        }
        self.over.insert(session, now);
        // Also one that has made no offer: it may have been greeted.
        self.sessions.remove(&session).map(|_| Do::Forget(session)).into_iter().collect()
    }

    /// Ends those that were silent for too long, and asks those that have begun to be.
    pub fn expire(&mut self, now: Moment) -> Vec<Do> {
        self.over.retain(|_, heard| now.0.saturating_sub(heard.0) <= REMEMBERED);
        let silence = |known: &Known| now.0.saturating_sub(known.heard.0);
        // Whoever is killed is not heard any more, and not reached either: that is seen sooner.
        let quiet = |known: &Known| known.peer.is_some() && silence(known) > known.timeout / 2;
        let asked = self.sessions.iter().filter(|(_, known)| quiet(known) && silence(known) <= known.timeout);
        let asked: Vec<_> = asked.map(|(session, _)| Do::Ask(*session)).collect();
        let silent = |known: &Known| silence(known) > known.timeout;
        let silent: Vec<_> =
            self.sessions.iter().filter(|(_, known)| silent(known)).map(|(session, _)| *session).collect();
        let ended = silent.into_iter().flat_map(|session| self.end(now, session));
        let dismissed = ended.map(|deed| match deed {
            Do::Forget(session) => Do::Dismiss(session),
            deed => deed,
        });
        dismissed.chain(asked).collect()
    }

    /// The packets that did not count.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn greet(&mut self, session: Session) -> Vec<Do> {
        let Some(known) = self.sessions.get_mut(&session) else { return Vec::new() };
        let before = std::mem::replace(&mut known.greeted, true);
        if before { Vec::new() } else { vec![Do::Greet(session)] }
    }
}

impl Known {
    fn new(now: Moment) -> Self {
        Self { seq: (0, 0), peer: None, rev: 0, timeout: 10_000, heard: now, greeted: false }
    }
}

impl FromStr for Session {
    type Err = SessionError;

    fn from_str(text: &str) -> Result<Self, SessionError> {
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(lower) {
            return Err(SessionError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| SessionError)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forged => "made with another key: every member needs the same 'key', 'prefix' and database",
            Self::Stale => "sent more than a minute ago: set the clocks of all hosts, as with NTP",
            Self::Replayed => "sent a second time: somebody repeats what was said",
            Self::Stranger => "sent by somebody who has not said who they are",
            Self::Malformed => "not to be understood: every member needs the same version",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: u64 = 1_700_000_000_000;

    fn session(number: u128) -> Session {
        Session(number)
    }

    struct Fabric(Membership);

    impl Fabric {
        fn new() -> Self {
            Self(Membership::new(session(1), Counts::default()))
        }

        fn hear(&mut self, now: u64, channel: Channel, from: u128, seq: u64) -> Verdict {
            let from = session(from);
            let heard = Heard {
                channel,
                from,
                seq,
                time: CLOCK + now,
                begins: if seq == 1 { Begins::Offer } else { Begins::Other },
            };
            self.0.admit(Moment(now), CLOCK + now, heard)
        }

        /// A session that has made its offer.
        fn meet(&mut self, number: u128) -> Vec<Do> {
            assert_eq!(self.hear(0, Channel::Own, number, 1), Verdict::Counts);
            self.offer(number, 1).unwrap()
        }

        fn offer(&mut self, number: u128, rev: u64) -> Option<Vec<Do>> {
            let peer = Peer { name: "a".into(), host: "h".into(), session: String::new() };
            self.0.offer(session(number), rev, peer, 6000)
        }
    }

    #[test]
    fn a_session_is_greeted_once_and_asked_when_it_has_changed() {
        let mut fabric = Fabric::new();
        assert_eq!(fabric.hear(0, Channel::All, 2, 5), Verdict::Counts, "it has begun before");
        assert_eq!(fabric.0.beat(session(2), 1), [Do::Greet(session(2))]);
        assert_eq!(fabric.0.beat(session(2), 1), []);
        assert_eq!(fabric.meet(2), [], "it was greeted");
        assert_eq!(fabric.0.beat(session(2), 1), []);
        assert_eq!(fabric.0.beat(session(2), 2), [Do::Ask(session(2))]);
        assert_eq!(fabric.meet(3), [Do::Greet(session(3))]);
        let hello = fabric.0.hello(Moment(0), session(4), Some(session(3)));
        assert_eq!(hello, [Do::Forget(session(3))], "nothing was heard of the new one that would count");
    }

    #[test]
    fn what_was_there_before_does_not_count() {
        let mut fabric = Fabric::new();
        fabric.meet(2);
        assert_eq!(fabric.hear(1, Channel::Own, 2, 1), Verdict::Refused(Refused::Replayed));
        assert_eq!(fabric.hear(1, Channel::Own, 2, 2), Verdict::Counts);
        assert_eq!(fabric.hear(1, Channel::All, 2, 9), Verdict::Counts);
        assert_eq!(fabric.hear(1, Channel::All, 2, 9), Verdict::Refused(Refused::Replayed));
        assert_eq!(
            fabric.hear(1, Channel::All, 2, 11),
            Verdict::Counts,
            "that of everybody may be joined late"
        );
        assert_eq!(fabric.0.end(Moment(2), session(2)), [Do::Forget(session(2))]);
        assert_eq!(fabric.hear(3, Channel::Own, 2, 3), Verdict::Over, "it is over, and is told");
        assert_eq!(fabric.hear(3, Channel::All, 2, 12), Verdict::Over);
        assert_eq!(fabric.0.counts().replayed, 4);
        assert_eq!(fabric.0.counts().forged, 0);
    }

    #[test]
    fn who_is_told_that_it_is_over_believes_it_whatever_it_knows() {
        let mut fabric = Fabric::new();
        let over = |channel, time| Heard { channel, from: session(9), seq: 7, time, begins: Begins::Over };
        assert_eq!(fabric.0.admit(Moment(0), CLOCK, over(Channel::Own, CLOCK)), Verdict::Dismissed);
        let old = over(Channel::Own, CLOCK - CLOCKS_APART - 1);
        assert_eq!(fabric.0.admit(Moment(0), CLOCK, old), Verdict::Refused(Refused::Stale));
        assert_eq!(fabric.0.admit(Moment(0), CLOCK, over(Channel::All, CLOCK)), Verdict::Counts);
    }

    #[test]
    fn an_offer_that_was_overtaken_does_not_count() {
        let mut fabric = Fabric::new();
        fabric.meet(2);
        assert_eq!(fabric.offer(2, 3), Some(vec![]));
        assert_eq!(fabric.offer(2, 2), None, "a newer one has come over the other channel");
        assert_eq!(fabric.0.beat(session(2), 3), [], "and that is still what is known");
        assert_eq!(fabric.offer(2, 3), Some(vec![]), "asked for, it comes again");
    }

    #[test]
    fn what_is_lost_between_two_is_noticed() {
        let mut fabric = Fabric::new();
        fabric.meet(2);
        assert_eq!(fabric.hear(1, Channel::Own, 2, 3), Verdict::Gap);
    }

    #[test]
    fn strangers_and_old_packets_do_not_count_nor_do_ones_own() {
        let mut fabric = Fabric::new();
        assert_eq!(fabric.hear(0, Channel::Own, 2, 2), Verdict::Refused(Refused::Stranger));
        assert_eq!(fabric.hear(0, Channel::All, 1, 1), Verdict::Own);
        for time in [CLOCK - CLOCKS_APART - 1, CLOCK + CLOCKS_APART + 1] {
            let heard =
                Heard { channel: Channel::All, from: session(3), seq: 1, time, begins: Begins::Offer };
            assert_eq!(fabric.0.admit(Moment(0), CLOCK, heard), Verdict::Refused(Refused::Stale));
        }
        assert_eq!((fabric.0.counts().stranger, fabric.0.counts().stale), (1, 2));
    }

    #[test]
    fn who_is_silent_for_too_long_is_forgotten_and_never_comes_back() {
        let mut fabric = Fabric::new();
        fabric.meet(2);
        fabric.meet(3);
        assert_eq!(fabric.hear(5000, Channel::All, 3, 1), Verdict::Counts);
        assert_eq!(fabric.0.expire(Moment(3000)), []);
        assert_eq!(fabric.0.expire(Moment(6000)), [Do::Ask(session(2))]);
        assert_eq!(fabric.0.expire(Moment(6001)), [Do::Dismiss(session(2))]);
        assert_eq!(fabric.0.expire(Moment(6001)), []);
        assert_eq!(fabric.hear(6002, Channel::Own, 2, 2), Verdict::Over);
        // When it is not remembered any more, its packets are too old.
        fabric.0.expire(Moment(6002 + REMEMBERED + 1));
        let heard = Heard {
            channel: Channel::Own,
            from: session(2),
            seq: 1,
            time: CLOCK + 6000,
            begins: Begins::Offer,
        };
        let late = 6002 + REMEMBERED + 1;
        let verdict = fabric.0.admit(Moment(late), CLOCK + late, heard);
        assert_eq!(verdict, Verdict::Refused(Refused::Stale));
    }

    #[test]
    fn a_session_is_32_digits() {
        let text = "00000000000000000000000000000abc";
        assert_eq!(text.parse::<Session>().unwrap().to_string(), text);
        for wrong in ["", "abc", "0000000000000000000000000000+abc", "00000000000000000000000000000ABC"] {
            assert_eq!(wrong.parse::<Session>(), Err(SessionError));
        }
    }
}
