//! `orchestrator graph`: who depends on whom and for what, with the states of a running project.

use std::path::PathBuf;

use orchestrator_core::report::State;
use orchestrator_core::service_graph::ServiceGraph;
use orchestrator_manager::Project;
use orchestrator_views::{Node, mermaid, tree};

use crate::Context;
use crate::client::Client;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::output::{print, print_json};
use crate::target::load_manifest;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The manifest
    manifest: Option<PathBuf>,
    /// As a Mermaid flow chart
    #[arg(long, conflicts_with = "json")]
    mermaid: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let file = args.manifest.as_deref().or(context.target.file.as_deref());
    let nodes = match (&context.target.project, file) {
        (Some(_), None) => running(&context.target.client(&context.embedded)?).await?,
        _ => declared(file, context).await?,
    };
    if args.json {
        print_json(&nodes);
    } else if args.mermaid {
        print(&mermaid(&nodes));
    } else {
        print(&tree(&nodes));
    }
    Ok(Code::Ok)
}

async fn running(client: &Client) -> Result<Vec<Node>, Failure> {
    let services = client.snapshot().await?.services;
    let node = |service: orchestrator_core::report::ServiceView| Node {
        name: service.name,
        kind: service.kind,
        depends_on: service.depends_on,
        state: Some(service.state),
    };
    Ok(services.into_iter().map(node).collect())
}

async fn declared(file: Option<&std::path::Path>, context: &Context) -> Result<Vec<Node>, Failure> {
    let (loaded, _) = load_manifest(file, &context.embedded, context.terminal.colour)?;
    let project = Project::of_user(loaded.manifest.name.clone());
    if project.answers() {
        return running(&Client::new(&project.control_socket())).await;
    }
    let services = &loaded.manifest.services;
    let graph = ServiceGraph::new(services.iter().map(|(name, service)| (name, &service.depends_on)));
    let graph = graph.map_err(|error| Failure::internal(&error))?;
    let node = |name: &orchestrator_core::ServiceName| Node {
        name: name.clone(),
        kind: services[name].kind,
        depends_on: services[name].depends_on.keys().cloned().collect(),
        state: None::<State>,
    };
    Ok(graph.names().iter().map(node).collect())
}
