//! `orchestrator doctor`: what this host can enforce, mechanism by mechanism, and what to change.

use orchestrator_core::ServiceName;
use orchestrator_core::permissions::{Backend, Capabilities, Permissions, Sandbox, unenforceable};

use crate::Context;
use crate::exit_code::Code;
use crate::failure::{Failure, Outcome};
use crate::output::print_line;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let folder = std::env::temp_dir();
    let host = orchestrator_manager::probe(context.embedded.runner, &folder).map_err(|error| {
        Failure::new(Code::Internal, format!("cannot try what this host can enforce: {error}"))
    })?;
    if args.json {
        print_line(&serde_json::to_string(&host).unwrap_or_default());
    } else {
        report(&host).iter().for_each(|line| print_line(line));
    }
    Ok(Code::Ok)
}

/// One line a mechanism, then one a sandbox.
fn report(host: &Capabilities) -> Vec<String> {
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
    let yes = |there: bool| if there { "yes" } else { "no" };
    let groups =
        [("memory", host.controllers.memory), ("cpu", host.controllers.cpu), ("pids", host.controllers.pids)];
    let groups: Vec<_> = groups.iter().map(|(name, there)| format!("{name} {}", yes(*there))).collect();
    let mut lines = vec![
        format!("namespaces           {namespaces}"),
        format!("landlock             {landlock}"),
        format!("confinement          {confinement}"),
        format!("control groups       {}", groups.join(", ")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use orchestrator_core::permissions::Controllers;

    #[test]
    fn what_is_missing_is_told_with_what_to_do() {
        let host = Capabilities {
            namespaces: Some("failed to make namespaces: Operation not permitted".into()),
            landlock: 7,
            confinement: None,
            controllers: Controllers { memory: true, cpu: false, pids: true },
        };
        let lines = report(&host).join("\n");
        assert_eq!(
            lines,
            "namespaces           no: failed to make namespaces: Operation not permitted\n\
             landlock             yes, ABI 7\n\
             confinement          yes\n\
             control groups       memory yes, cpu no, pids yes\n\
             sandbox: strict       cannot be enforced, namespaces: failed to make namespaces: Operation not permitted is \
             missing; allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns), or write 'sandbox: landlock'\n\
             sandbox: landlock     can be enforced"
        );
    }
}
