//! End-to-end tests: the real binary, real processes. One module for each promise that a user could state.

#![expect(clippy::print_stdout, reason = "a skipped test says so by name")]

mod activation;
mod apply;
mod attach;
mod backends;
mod calls;
mod cli;
mod clients;
mod control_api;
mod docker;
mod engine_errors;
mod fabric;
mod history;
mod host_protocol;
mod hostile;
mod house;
mod image_recipe;
mod images;
mod jobs;
mod js_outside;
mod learn;
mod lifecycle;
mod limits;
mod load;
mod logs;
mod manifest_errors;
mod mcp;
mod network;
mod nothing_left_behind;
mod on_give_up;
mod readiness;
mod real_programs;
mod registries;
mod reload;
mod samples;
mod secrets;
mod sockets;
mod support;
mod user;
mod which_engine;
