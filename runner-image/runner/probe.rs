//! `runner probe FOLDER`: tries each mechanism that confinement is made of, and prints what works. What could be read about
//! them is not asked: it can be there and be forbidden.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use orchestrator_port::launch::{Probed, Sandbox};
use orchestrator_sandbox::cgroup::{Controllers, controllers};
use orchestrator_sandbox::confinement::{Confinement, Grants};
use orchestrator_sandbox::landlock::{Access, Reach, version};
use orchestrator_sandbox::mounts::View;
use orchestrator_sandbox::namespaces::enter;
use orchestrator_sandbox::seccomp::Granted;
use orchestrator_sandbox::users::{SERVICE, Users, in_child};
use rustix::process::{WaitOptions, waitpid};

use crate::chain;
use crate::confine::ConfineError;
use crate::self_check;

/// Prints what was found, as one line of JSON.
pub(crate) fn run(folder: &Path) -> io::Result<()> {
    let Controllers { memory, cpu, pids } = controllers();
    // From memory, and before its path leads nowhere.
    let runner = File::open("/proc/self/exe")?;
    let confinement = look(Sandbox::Landlock, Users::One, runner.as_fd(), folder).err();
    // What holds nowhere is not what is wrong with namespaces.
    let inside = confinement.is_none().then_some(runner.as_fd());
    let probed = Probed {
        namespaces: try_namespaces(folder, inside).err().map(|error| error.to_string()),
        landlock: version(),
        memory,
        cpu,
        pids,
        confinement: confinement.map(|error| chain(&error)),
    };
    serde_json::to_writer(io::stdout(), &probed)?;
    io::stdout().flush()
}

/// Enters namespaces in a process that then ends, and has what the runner starts there look at itself.
fn try_namespaces(folder: &Path, runner: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let (answer, mut answer_end) = io::pipe()?;
    let users = Users::possible();
    let child = in_child(|| {
        let view = View {
            places: Vec::new(),
            scratch_bytes: 4096,
            scratch_entries: 8,
            code_bytes: 4096,
            hosts: Vec::new(),
            two_users: users == Users::Two,
            files_of: None,
        };
        let entered = enter(&view, folder, "probe", &[]).map_err(ConfineError::from);
        let looked = |()| runner.map_or(Ok(()), |runner| look(Sandbox::Strict, users, runner, folder));
        if let Err(error) = entered.and_then(looked) {
            let _ = answer_end.write_all(chain(&error).as_bytes());
        }
    })?;
    drop(answer_end);
    let why = read_all(answer);
    let _ = waitpid(Some(child), WaitOptions::empty());
    match why?.as_str() {
        "" => Ok(()),
        why => Err(io::Error::other(why.to_owned())),
    }
}

fn read_all(mut answer: PipeReader) -> io::Result<String> {
    let mut text = String::new();
    answer.read_to_string(&mut text)?;
    Ok(text)
}

/// Has a process that is held to next to nothing look at itself, as a service's place is looked at before each start.
fn look(sandbox: Sandbox, users: Users, runner: BorrowedFd<'_>, canary: &Path) -> Result<(), ConfineError> {
    let among_host = sandbox == Sandbox::Landlock;
    let grants = Grants {
        // Its interfaces are listed there.
        reaches: vec![Reach { path: "/proc".into(), access: Access::Read }],
        calls: Granted { subprocess: false, network: false, among_host, below_handles: false },
        limits: Vec::new(),
        identity: (users == Users::Two).then_some(SERVICE),
    };
    self_check::check(&Confinement::new(&grants)?, sandbox, runner, canary)?;
    Ok(())
}
