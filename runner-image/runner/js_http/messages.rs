//! What `js-http` and a js process say to each other: lines and payloads as between that one and its `js-io`, each with
//! the number of the request that it is about.
//!
//! ```text
//!   js process --accept-->  js-http      once it has started
//!              <--request--              with its body
//!              --answer-->               with its body, or with the first piece of it and `more`
//!              --piece, piece ..-->      one more for each that is `taken`, after the first WINDOW
//!              <--taken, taken ..--
//!              --end-->
//!              <--gone--                 instead of the rest, where nobody waits for it any more
//!              --drain-->                no further connection is accepted
//!              <--drained--              everything is answered
//! ```

use serde::{Deserialize, Serialize};

/// The descriptor of `js-http` on which it speaks with the js process; the listening sockets are the next ones.
pub(super) const DESCRIPTOR: i32 = 3;

/// How many pieces of an answer may be under way.
pub(crate) const WINDOW: usize = 8;

/// The number of what is about no request.
pub(crate) const NO_REQUEST: u64 = 0;

/// What the js process is told. Headers are lines of `name:value`, each with its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum ToService {
    /// A request, with its body in the payload.
    Request { method: String, url: String, headers: String },
    /// Nobody waits for the answer any more, or for the rest of it.
    Gone,
    /// There is room for one more piece.
    Taken,
    /// All that was asked is answered, and nothing will be asked any more.
    Drained,
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum FromService {
    /// Requests may come.
    Accept,
    /// The answer, with its body in the payload; with `more`, pieces of it follow.
    Answer { status: u16, headers: String, more: bool },
    /// The next piece of an answer, in the payload.
    Piece,
    /// There are no more pieces; if it is not whole, the connection is broken off.
    End { whole: bool },
    /// No further connection is to be accepted.
    Drain,
}
