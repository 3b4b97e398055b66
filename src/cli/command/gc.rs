//! `orchestrator gc`: removes what killed orchestrators have left in the container engine.

use orchestrator_manager::remove_orphaned_containers;

use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::output::note;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run() -> Outcome {
    let removed = remove_orphaned_containers().await;
    let removed = removed.map_err(|error| Failure::engine(&error))?;
    note(&match removed {
        0 => "nothing was left".to_owned(),
        1 => "1 container was left, and is removed".to_owned(),
        several => format!("{several} containers were left, and are removed"),
    });
    Ok(Code::Ok)
}
