//! The Supervisor.

mod action;
mod event;
mod refusal;

pub use action::Action;
pub use event::{Event, Request};
pub use refusal::Refusal;
