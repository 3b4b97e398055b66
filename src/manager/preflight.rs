//! What this host can enforce, tried before anything starts: [`probe`].

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use orchestrator_core::manifest::Service;
use orchestrator_core::permissions::{
    Backend, Capabilities, Controllers, Sandbox, Unenforceable, unenforceable, unenforced,
};
use orchestrator_port::launch::Probed;
use orchestrator_sandbox::descriptors::sealed_program;
use orchestrator_sandbox::spawn::{Launch, Program};
use rustix::process::{WaitOptions, geteuid, waitpid};

/// Has a runner try everything that confinement is made of. `folder` is any folder; nothing is left in it. Blocks for a
/// few milliseconds.
///
/// # Errors
/// Where the runner cannot be started, or does not answer.
pub fn probe(runner: &[u8], folder: &Path) -> io::Result<Capabilities> {
    let program = sealed_program("orchestrator-runner", runner)?;
    let (mut answer, answer_end) = io::pipe()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let launch = Launch {
        program: Program::Descriptor(program.as_fd()),
        arguments: vec!["orchestrator-probe".into(), "probe".into(), folder.into()],
        environment: Vec::new(),
        folder: Some(Path::new("/")),
        descriptors: vec![null.as_fd(), answer_end.as_fd(), null.as_fd()],
        die_with_parent: false,
        groups: &[],
        confinement: None,
    };
    let child = launch.spawn().map_err(io::Error::other)?;
    drop(answer_end);
    let mut text = Vec::new();
    answer.read_to_end(&mut text)?;
    waitpid(Some(child.pid), WaitOptions::empty())?;
    let Probed { namespaces, landlock, memory, cpu, pids, confinement } = serde_json::from_slice(&text)?;
    let controllers = Controllers { memory, cpu, pids };
    let root = geteuid().is_root();
    Ok(Capabilities { namespaces, landlock, confinement, root, controllers })
}

/// What this host was found to be for the services of a project.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What cannot be enforced.
    pub(crate) refused: Vec<Unenforceable>,
    /// What cannot be enforced and need not be.
    pub(crate) soft: Vec<Unenforceable>,
    /// What it can enforce at all.
    pub(crate) capabilities: Capabilities,
}

/// What of all this can be enforced here. The host is tried only where there is anything to hold. `engine` says what the
/// container engine can limit, where there is one.
///
/// # Errors
/// Where the host cannot be tried.
pub(crate) fn check<'a>(
    services: impl Iterator<Item = &'a Service> + Clone,
    runner: &[u8],
    folder: &Path,
    engine: Option<Controllers>,
) -> io::Result<Checked> {
    let nothing = Capabilities {
        namespaces: Some("not tried".into()),
        landlock: 0,
        confinement: Some("not tried".into()),
        root: false,
        controllers: Controllers::default(),
    };
    // Children may be held where their parent is not.
    let unconfined = services
        .clone()
        .all(|service| service.sandbox == Sandbox::None && service.permissions.children.is_none());
    let host = if unconfined { nothing } else { probe(runner, folder)? };
    let (refused, soft) = (Vec::new(), Vec::new());
    let mut checked = Checked { refused, soft, capabilities: host.clone() };
    for Service { name, permissions, isolation, sandbox, .. } in services {
        let backend = Backend::of(*isolation, *sandbox);
        let by = seen_by(backend, &host, engine);
        checked.refused.extend(unenforceable(name, permissions, backend, &by));
        checked.soft.extend(unenforced(name, permissions, backend, &by));
    }
    Ok(checked)
}

/// What can be enforced by a back end: a container's kernel is the host's, its limits are the engine's.
pub(crate) fn seen_by(backend: Backend, host: &Capabilities, engine: Option<Controllers>) -> Capabilities {
    match backend {
        Backend::Process(_) => host.clone(),
        Backend::Docker => Capabilities { controllers: engine.unwrap_or_default(), ..host.clone() },
    }
}
