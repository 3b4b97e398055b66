//! End-to-end tests: the real binary, real processes. One module for each promise that a user could state.

mod cli;
mod house;
mod lifecycle;
mod logs;
mod manifest_errors;
mod nothing_left_behind;
mod samples;
mod support;
