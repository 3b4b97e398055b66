//! `orchestrator doctor`: what this host can enforce, mechanism by mechanism, and what to change.

use orchestrator_core::ServiceName;
use orchestrator_core::permissions::{
    Backend, Capabilities, Controllers, Permissions, Sandbox, unenforceable,
};
use orchestrator_manager::{FoundEngine, probe_engine};
use serde::Serialize;

use crate::Context;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome, chain};
use crate::output::print_line;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Args, context: &Context) -> Outcome {
    let folder = std::env::temp_dir();
    let host = orchestrator_manager::probe(context.embedded.runner, &folder).map_err(|error| {
        Failure::new(Code::Internal, format!("cannot try what this host can enforce: {error}"))
    })?;
    // Only who wants containers needs one, so none is no failure.
    let engine = probe_engine().await;
    let engine = engine.map_err(|error| format!("{}; {}", chain(&error), error.fix()));
    if args.json {
        let found = Found { host: &host, engine: engine.as_ref().ok(), no_engine: engine.as_ref().err() };
        print_line(&serde_json::to_string(&found).unwrap_or_default());
    } else {
        report(&host, &engine).iter().for_each(|line| print_line(line));
    }
    Ok(Code::Ok)
}

/// What was found, for programs.
#[derive(Serialize)]
struct Found<'a> {
    #[serde(flatten)]
    host: &'a Capabilities,
    engine: Option<&'a FoundEngine>,
    /// Why there is no engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_engine: Option<&'a String>,
}

/// One line a mechanism, then one a sandbox.
fn report(host: &Capabilities, engine: &Result<FoundEngine, String>) -> Vec<String> {
    let namespaces = match &host.namespaces {
        None => "yes".to_owned(),
        Some(why) => format!("no: {why}"),
    };
    let confinement = match &host.confinement {
        None => "yes".to_owned(),
        Some(why) => format!("no: {why}"),
    };
    let landlock = match host.landlock {
        0 => "no".to_owned(),
        version => format!("yes, ABI {version}"),
    };
    let engine = match engine {
        Ok(FoundEngine { socket, controllers }) => {
            format!("yes, at {}: {}", socket.display(), groups(*controllers))
        }
        Err(why) => format!("no: {why}"),
    };
    let mut lines = vec![
        format!("namespaces           {namespaces}"),
        format!("landlock             {landlock}"),
        format!("confinement          {confinement}"),
        format!("control groups       {}", groups(host.controllers)),
        format!("container engine     {engine}"),
    ];
    for (name, sandbox) in [("strict", Sandbox::Strict), ("landlock", Sandbox::Landlock)] {
        let any = ServiceName::parse("any").expect("it is a name");
        let refused = unenforceable(&any, &Permissions::default(), Backend::Process(sandbox), host);
        lines.push(match refused.first() {
            None => format!("sandbox: {name:<12} can be enforced"),
            Some(first) => {
                format!("sandbox: {name:<12} cannot be enforced, {} is missing; {}", first.missing, first.fix)
            }
        });
    }
    lines
}

fn groups(controllers: Controllers) -> String {
    let yes = |there: bool| if there { "yes" } else { "no" };
    let Controllers { memory, cpu, pids } = controllers;
    format!("memory {}, cpu {}, pids {}", yes(memory), yes(cpu), yes(pids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_what_to_do() {
        let host = Capabilities {
            namespaces: Some("failed to make namespaces: Operation not permitted".into()),
            landlock: 7,
            confinement: None,
            root: true,
            controllers: Controllers { memory: true, cpu: false, pids: true },
        };
        let lines = report(&host, &Err("no container engine is there".into())).join("\n");
        assert_eq!(
            lines,
            "namespaces           no: failed to make namespaces: Operation not permitted\n\
             landlock             yes, ABI 7\n\
             confinement          yes\n\
             control groups       memory yes, cpu no, pids yes\n\
             container engine     no: no container engine is there\n\
             sandbox: strict       cannot be enforced, namespaces: failed to make namespaces: Operation not permitted is \
             missing; allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns), or write 'sandbox: landlock'\n\
             sandbox: landlock     can be enforced"
        );
    }
}
