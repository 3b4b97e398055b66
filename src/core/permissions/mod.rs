//! What a service is allowed. Absent means nothing.
//!
//! A [`Permissions`] is what a manifest grants, in one spelling of each thing: paths are absolute and lexically plain,
//! hosts are lower-case, sizes are bytes. So one grant can be compared with another ([`excess`]), a request with a grant
//! ([`Permissions::may_connect`]), and a grant with what a host can enforce ([`unenforceable`]).

mod attenuation;
mod decide;
mod endpoint;
mod enforceable;
mod grant;
mod hint;
mod pattern;
mod share;
mod talk;

pub use attenuation::{Excess, excess, over_budget};
pub use decide::{Denial, OwnAddress, range_of};
pub use endpoint::{Endpoint, EndpointError, Host};
pub use enforceable::{Backend, Capabilities, Controllers, Unenforceable, unenforceable, unenforced};
pub use grant::{
    ChildGrants, Enforce, FileGrants, HostUser, Isolation, Limits, NetGrants, Permissions, Sandbox, Scratch,
    Secret, SecretSource, ServiceGrants,
};
pub use hint::denial_in;
pub use pattern::{Pattern, PatternError};
pub use share::{Caller, CallerError, Share, Shared};
pub use talk::may_hear;
