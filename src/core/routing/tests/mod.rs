//! What can be seen of [`Routing`](super::Routing) from outside: stories first, then histories under faults.

mod history;
mod outside;
mod stories;
mod world;
