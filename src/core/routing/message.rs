//! What lines say and are told, as the rules see it: `docs/host-protocol.md` says how it is written.

use super::{Fault, LineId};
use crate::name::ServiceName;
use crate::permissions::Denial;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Call a method.
    Call(Call),
    /// Call it and want no result.
    Send(Call),
    /// The result of its call is not wanted any more.
    Cancel {
        /// The call's.
        id: u64,
    },
    /// More items of a stream that it consumes are welcome.
    Credit {
        /// The call's.
        id: u64,
        /// How many.
        items: u32,
    },
    /// Tell an event.
    Emit {
        /// The answer's.
        id: u64,
        /// Its name.
        event: String,
    },
    /// Hear events.
    Subscribe {
        /// The answer's.
        id: u64,
        /// A name or a pattern.
        event: String,
        /// One of those in it hears each event.
        group: Option<String>,
    },
    /// Hear them no more.
    Unsubscribe {
        /// The answer's.
        id: u64,
        /// As it was subscribed to.
        event: String,
        /// As it was subscribed to.
        group: Option<String>,
    },
    /// Events have been dealt with.
    Taken {
        /// How many.
        events: u32,
    },
    /// The result of an invocation.
    Reply {
        /// The invocation's.
        id: u64,
    },
    /// The result is a stream.
    Stream {
        /// The invocation's.
        id: u64,
    },
    /// The next item.
    Item {
        /// The invocation's.
        id: u64,
    },
    /// There are no more items.
    End {
        /// The invocation's.
        id: u64,
    },
    /// The invocation threw, or could not be done.
    Error {
        /// The invocation's.
        id: u64,
        /// What it says of it.
        fault: Fault,
    },
    /// The invocation was not begun: somebody else may be asked.
    NotRun {
        /// The invocation's.
        id: u64,
        /// Why.
        fault: Fault,
    },
    /// An event of another member of the fabric.
    Event {
        /// Its name.
        event: String,
        /// Who told it, as that member vouches.
        from: String,
        /// Who is to hear it.
        to: Audience,
    },
}

/// Which of a member's listeners are to hear an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Whether those that listen without a group do.
    pub all: bool,
    /// Of each of these groups one: the listening service, and the group.
    pub groups: Vec<(String, String)>,
    /// The services that it may be told to without their having to be granted to hear it; `*` for all.
    pub granted: Vec<String>,
}

/// What a call says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The caller's number for it.
    pub id: u64,
    /// Whose method.
    pub service: String,
    /// Which.
    pub method: String,
    /// How long it may take, in milliseconds; 60 s where nothing is said.
    pub timeout: Option<u64>,
    /// How often it may be tried again; less than 0: as often as there is time.
    pub retries: i64,
    /// How long one attempt may take, in milliseconds.
    pub attempt: Option<u64>,
    /// Those with the same go to the same replica.
    pub key: Option<String>,
    /// The invocation of its own during which it is made.
    pub within: Option<u64>,
    /// For whom it is made: heard of a member of the fabric only.
    pub from: String,
}

/// What a line is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Run a method.
    Invoke {
        /// The number of this invocation.
        id: u64,
        /// Which method.
        method: String,
        /// Who wants it.
        from: String,
        /// How long there is, in milliseconds.
        timeout: u64,
        /// Whether nobody wants the result.
        one_way: bool,
        /// Whose method, where the line has more than one service.
        service: Option<ServiceName>,
        /// What it is kept together with, for the one who chooses the replica.
        key: Option<String>,
    },
    /// The result is not wanted any more.
    Cancel {
        /// The invocation's.
        id: u64,
    },
    /// More items of a stream that it produces are welcome.
    Credit {
        /// The invocation's.
        id: u64,
        /// How many.
        items: u32,
    },
    /// An event that it listens to.
    Event {
        /// Its name.
        event: String,
        /// Who told it.
        from: String,
        /// Whether those that listen without a group hear it.
        all: bool,
        /// The groups of this service in which it was chosen to hear it.
        groups: Vec<String>,
    },
    /// An event that somebody listens to at another member.
    EventElsewhere {
        /// Its name.
        event: String,
        /// Who told it.
        from: String,
        /// Who is to hear it.
        to: Audience,
    },
    /// To how many an event was sent.
    Emitted {
        /// The asker's.
        id: u64,
        /// How many.
        receivers: usize,
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
    /// There are no more items.
    End {
        /// The asker's.
        id: u64,
    },
    /// It was not done, or has thrown.
    Error {
        /// The asker's.
        id: u64,
        /// Why.
        fault: Box<Fault>,
        /// Whether nothing was begun.
        not_run: bool,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<P> {
    /// Tell a line something.
    Tell {
        /// Which.
        line: LineId,
        /// What.
        told: Told,
        /// What belongs to it.
        payload: P,
    },
    /// A line tried what it may not. Told once for each line of a manifest that would allow it.
    Denied {
        /// Which.
        line: LineId,
        /// What, and what would allow it.
        denial: Denial,
    },
    /// A line does not keep up with its events: the first of some that are lost.
    Behind {
        /// Which.
        line: LineId,
    },
}
