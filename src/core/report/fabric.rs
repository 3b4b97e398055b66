//! The fabric, as people and programs are shown it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::membership::Counts;

/// The fabric as one member sees it now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FabricView {
    /// Its Redis, without the password.
    pub redis: String,
    /// What its channels and keys begin with.
    pub prefix: String,
    /// Whether Redis answers.
    pub connected: bool,
    /// Why not, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The other members, by name.
    pub members: Vec<MemberView>,
    /// The packets that did not count, since the project was started.
    pub refused: Counts,
}

/// Another member, as it has told of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its session.
    pub session: String,
    /// Its project's name, or its own.
    pub name: String,
    /// The host that it runs on.
    pub host: String,
    /// The services that it has.
    pub services: Vec<SharedView>,
}

/// A service of another member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SharedView {
    /// Its name.
    pub name: String,
    /// How many replicas it has.
    pub replicas: u32,
    /// How many calls they have under way.
    pub load: u32,
}

/// Something that happened in the fabric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "kebab-case")]
pub enum FabricNews {
    /// Redis answers: this project is part of the fabric.
    Connected {
        /// Its Redis.
        redis: String,
    },
    /// Redis does not answer. It is tried again until it does.
    CutOff {
        /// Its Redis.
        redis: String,
        /// Why.
        why: String,
    },
    /// A member has come.
    Joined {
        /// Its name and its host, as `shop@host`.
        member: String,
        /// The services that it has.
        services: Vec<String>,
    },
    /// A member has gone.
    Left {
        /// Its name and its host.
        member: String,
    },
    /// Packets do not count. Told once for each reason.
    Refused {
        /// The reason, with what to do about it.
        why: String,
    },
    /// This project has more than can be told to others.
    LeftOut {
        /// How many services and listeners the others are not told of.
        count: usize,
    },
    /// Somebody of another member, or a program, tried what it may not.
    Denied {
        /// What, and what would allow it.
        what: String,
    },
}

impl fmt::Display for FabricNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { redis } => write!(f, "connected with {redis}"),
            Self::CutOff { redis, why } => {
                write!(f, "cut off from {redis}: {why}; services of others are unavailable until it answers")
            }
            Self::Joined { member, services } if services.is_empty() => write!(f, "{member} has joined"),
            Self::Joined { member, services } => {
                write!(f, "{member} has joined, with {}", services.join(", "))
            }
            Self::Left { member } => write!(f, "{member} has left"),
            Self::Refused { why } => write!(f, "refuses packets that were {why}"),
            Self::LeftOut { count } => write!(
                f,
                "{count} services or listeners are too many to be told to others, with all their methods: have fewer, or 'share: false'"
            ),
            Self::Denied { what } => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_news_is_a_line() {
        let redis = || "redis://cache:6379".to_owned();
        let joined = |services: &[&str]| FabricNews::Joined {
            member: "shop@attic".into(),
            services: services.iter().map(|name| (*name).to_owned()).collect(),
        };
        for (news, line) in [
            (FabricNews::Connected { redis: redis() }, "connected with redis://cache:6379"),
            (
                FabricNews::CutOff { redis: redis(), why: "Connection refused".into() },
                "cut off from redis://cache:6379: Connection refused; services of others are unavailable until it answers",
            ),
            (joined(&[]), "shop@attic has joined"),
            (joined(&["stock", "web"]), "shop@attic has joined, with stock, web"),
            (FabricNews::Left { member: "shop@attic".into() }, "shop@attic has left"),
            (
                FabricNews::LeftOut { count: 2 },
                "2 services or listeners are too many to be told to others, with all their methods: have fewer, or 'share: false'",
            ),
            (
                FabricNews::Refused { why: "sent a second time".into() },
                "refuses packets that were sent a second time",
            ),
            (FabricNews::Denied { what: "web@shop may not".into() }, "web@shop may not"),
        ] {
            assert_eq!(news.to_string(), line);
        }
    }
}
