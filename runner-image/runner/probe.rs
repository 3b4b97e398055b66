//! `runner probe FOLDER`: tries each mechanism that confinement is made of, and prints what works. What could be read about
//! them is not asked: it can be there and be forbidden.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use orchestrator_port::launch::Probed;
use orchestrator_sandbox::cgroup::{Controllers, controllers};
use orchestrator_sandbox::confinement::{Confinement, Grants};
use orchestrator_sandbox::landlock::version;
use orchestrator_sandbox::mounts::View;
use orchestrator_sandbox::namespaces::enter;
use orchestrator_sandbox::seccomp::Granted;
use orchestrator_sandbox::spawn::{Launch, Program};
use orchestrator_sandbox::users::{Users, in_child};
use rustix::process::{WaitOptions, waitpid};

use crate::chain;

/// Prints what was found, as one line of JSON.
pub(crate) fn run(folder: &Path) -> io::Result<()> {
    let Controllers { memory, cpu, pids } = controllers();
    let probed = Probed {
        namespaces: try_namespaces(folder).err().map(|error| error.to_string()),
        landlock: version(),
        memory,
        cpu,
        pids,
        confined: try_confined().is_ok(),
    };
    serde_json::to_writer(io::stdout(), &probed)?;
    io::stdout().flush()
}

/// Enters namespaces in a process that then ends.
fn try_namespaces(folder: &Path) -> io::Result<()> {
    let (answer, mut answer_end) = io::pipe()?;
    let child = in_child(|| {
        let view = View {
            places: Vec::new(),
            scratch_bytes: 4096,
            scratch_entries: 8,
            code_bytes: 4096,
            hosts: Vec::new(),
            two_users: Users::possible() == Users::Two,
        };
        if let Err(error) = enter(&view, folder, "probe", &[]) {
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

/// Starts this program again, held to nothing but ending at once.
fn try_confined() -> io::Result<()> {
    let grants = Grants {
        reaches: Vec::new(),
        calls: Granted { subprocess: false, network: false, among_host: true, below_handles: false },
        limits: Vec::new(),
        identity: None,
    };
    let confinement = Confinement::new(&grants).map_err(io::Error::other)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    // From memory: there is no path that it could be executed from.
    let program = File::open("/proc/self/exe")?;
    let launch = Launch {
        program: Program::Descriptor(program.as_fd()),
        arguments: vec!["runner".into(), "nothing".into()],
        environment: Vec::new(),
        folder: None,
        descriptors: vec![null.as_fd(); 3],
        die_with_parent: true,
        groups: &[],
        confinement: Some(&confinement),
    };
    let child = launch.spawn().map_err(io::Error::other)?;
    match waitpid(Some(child.pid), WaitOptions::empty())? {
        Some((_, status)) if status.exit_status() == Some(0) => Ok(()),
        _ => Err(io::Error::other("it did not end well")),
    }
}
