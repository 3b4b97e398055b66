//! What people and programs see: events and snapshots as lines, tables and JSON, and the control API. Plain text in
//! every function but those of [`control_api`]; nothing here decides anything.

pub mod control_api;
mod escape;
mod event_lines;
mod fabric;
mod graph;
mod human;
mod learned;
mod log_lines;
mod palette;
mod progress;
mod ps;
mod stats;
mod table;
#[cfg(test)]
mod testing;
mod types;

pub use escape::neutralise;
pub use event_lines::{event_line, is_news};
pub use fabric::fabric;
pub use graph::{Node, mermaid, tree};
pub use human::spoken_bytes;
pub use learned::learned;
pub use log_lines::LogLines;
pub use palette::Palette;
pub use progress::{progress, up_of_wanted};
pub use ps::{ps, security};
pub use stats::{HostTotals, stats};
pub use types::{python, typescript};
