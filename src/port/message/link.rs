//! What members of a fabric say to each other, and programs to the orchestrator that they attach to: `docs/fabric-protocol.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::service::{Fault, FromService, Payload, is_default, line};

/// What somebody outside says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromOutside {
    /// What a service could say as well, of which `call` and `send` say for whom.
    Service(FromService),
    /// A call was not begun.
    NotRun {
        /// The call's.
        id: u64,
        /// Why.
        error: Fault,
    },
    /// What it has.
    Offer(Offer),
    /// A session begins.
    Hello {
        /// The session of the same member that is over.
        was: Option<String>,
    },
    /// It lives.
    Beat(Beat),
    /// An `offer` is wanted.
    Who,
    /// The session is over.
    Bye,
    /// The receiver's session is over for the sender, which has heard nothing of it for too long.
    Over,
    /// An event.
    Event(Event),
    /// A value of a service's configuration has changed.
    ConfigChanged {
        /// Whose.
        service: String,
        /// Its name.
        name: String,
    },
    /// A value of a service's configuration is wanted.
    GetConfig {
        /// The answer's id.
        id: u64,
        /// Whose.
        service: String,
        /// Its name.
        name: String,
    },
    /// It is set, or removed.
    SetConfig {
        /// The answer's id.
        id: u64,
        /// Whose.
        service: String,
        /// Its name.
        name: String,
    },
    /// Its changes are wanted.
    WatchConfig {
        /// The answer's id.
        id: u64,
        /// Whose.
        service: String,
    },
}

/// What a member has for others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Offer {
    /// The version of the protocol: 1.
    pub v: u32,
    /// Higher after each change.
    pub rev: u64,
    /// The member's name.
    pub name: String,
    /// `project` or `program`.
    pub kind: String,
    /// The host that it runs on.
    pub host: String,
    /// How long nothing may be heard of it, in milliseconds.
    pub timeout: u64,
    /// Its services.
    pub services: Vec<OfferedService>,
    /// What they listen to.
    pub hears: Vec<Hears>,
}

/// A service that can be called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfferedService {
    /// Its name.
    pub name: String,
    /// How many replicas it has.
    pub replicas: u32,
    /// The calls that it has under way.
    pub load: u32,
    /// Its methods, nested ones with dots.
    pub methods: Vec<String>,
}

/// An event that somebody listens to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hears {
    /// Who listens.
    pub service: String,
    /// A name or a pattern.
    pub event: String,
    /// One of those in it hears each event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// That a member lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beat {
    /// That of its newest `offer`.
    pub rev: u64,
    /// The calls under way of its services that have any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub load: BTreeMap<String, u32>,
}

/// An event, on its way to another member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Its name.
    pub event: String,
    /// Who told it.
    pub from: String,
    /// Whether those that listen without a group hear it.
    pub all: bool,
    /// Of each of these one: the listening service, and the group.
    pub groups: Vec<(String, String)>,
    /// The services that its teller is granted to tell it to; `*` for all.
    pub granted: Vec<String>,
}

/// What another member is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToMember {
    /// A session begins.
    Hello {
        /// The member's name.
        name: String,
        /// The session before.
        #[serde(skip_serializing_if = "Option::is_none")]
        was: Option<String>,
    },
    /// What this member has.
    Offer(Offer),
    /// It lives.
    Beat(Beat),
    /// An `offer` is wanted.
    Who,
    /// The session is over.
    Bye,
    /// The receiver's session is over for the sender, which has heard nothing of it for too long.
    Over,
    /// A value of a service's configuration has changed.
    Config {
        /// Whose.
        service: String,
        /// Its name.
        name: String,
    },
    /// Call a method.
    Call(MemberCall),
    /// Call it and want no result.
    Send(MemberCall),
    /// The result of a call is not wanted any more.
    Cancel {
        /// The call's.
        id: u64,
    },
    /// More items of a stream are welcome.
    Credit {
        /// The call's.
        id: u64,
        /// How many.
        items: u32,
    },
    /// The result.
    Reply {
        /// The asker's.
        id: u64,
    },
    /// The result is a stream.
    Stream {
        /// The asker's.
        id: u64,
    },
    /// The next item.
    Item {
        /// The asker's.
        id: u64,
    },
    /// There are no more.
    End {
        /// The asker's.
        id: u64,
    },
    /// There is no result.
    Error {
        /// The asker's.
        id: u64,
        /// Why.
        error: Fault,
        /// Whether the method was not called.
        #[serde(skip_serializing_if = "is_default")]
        not_run: bool,
    },
    /// An event.
    Event(Event),
}

/// A call on its way to another member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemberCall {
    /// The caller's number for it.
    pub id: u64,
    /// Whose method.
    pub service: String,
    /// Which.
    pub method: String,
    /// For whom it is made.
    pub from: String,
    /// How long there is, in milliseconds.
    pub timeout: u64,
    /// Calls with the same key are kept together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What an attached program is told, besides what services are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToProgram {
    /// Its `offer` holds.
    Accepted {
        /// The offer's.
        rev: u64,
        /// The project's name.
        name: String,
    },
    /// Its `offer` does not.
    Refused {
        /// The offer's.
        rev: u64,
        /// Why.
        error: Fault,
    },
}

impl ToMember {
    /// Its line, with what it says of the payload that follows.
    ///
    /// # Panics
    /// Never: it is plain data.
    #[must_use]
    pub fn line(&self, payload: &Payload) -> Vec<u8> {
        line(self, payload)
    }
}

impl ToProgram {
    /// Its line.
    ///
    /// # Panics
    /// Never: it is plain data.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        line(self, &Payload::default())
    }
}
