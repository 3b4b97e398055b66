//! `orchestrator schema`: the JSON Schema of manifests, for editors and other checkers.

use orchestrator_core::manifest::schema;

use crate::exit_code::Code;
use crate::output::print_line;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The schema of plugin.yaml instead
    #[arg(long)]
    plugin: bool,
}

pub(crate) fn run(args: &Args) -> Code {
    let schema = if args.plugin { schema::plugin_schema() } else { schema::manifest_schema() };
    print_line(&format!("{schema:#}"));
    Code::Ok
}
