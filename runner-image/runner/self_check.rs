//! Before any code is asked for, a process is started exactly as the service's will be, and looks at itself. Only where
//! everything is as it should be does the runner say that it is ready.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::ExitCode;

use orchestrator_port::launch::Sandbox;
use orchestrator_sandbox::confinement::Confinement;
use orchestrator_sandbox::self_check::{Around, Found};
use orchestrator_sandbox::spawn::{Launch, Program};
use rustix::io::dup;
use rustix::process::{WaitOptions, getpid, waitpid};

/// How the looking process is told where it is.
const AROUND: [(&str, Sandbox, Around); 3] = [
    ("landlock", Sandbox::Landlock, Around::Host),
    ("strict", Sandbox::Strict, Around::Namespaces),
    ("container", Sandbox::Container, Around::Container),
];

/// Why a sandbox is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SelfCheckError {
    #[error("failed to look at the sandbox from inside")]
    Look(#[source] io::Error),
    #[error("E_SELFCHECK: the sandbox does not hold: {0}")]
    Broken(String),
}

/// Has a confined process look at itself; answers with what it was checked for. `canary` is a file that no service is
/// granted.
pub(crate) fn check(
    confinement: &Confinement,
    sandbox: Sandbox,
    runner: BorrowedFd<'_>,
    canary: &Path,
) -> Result<Vec<String>, SelfCheckError> {
    let said = ask(confinement, sandbox, runner, canary).map_err(SelfCheckError::Look)?;
    let checks: Vec<(String, bool)> =
        serde_json::from_str(&said).map_err(|error| SelfCheckError::Look(error.into()))?;
    let broken: Vec<_> = checks.iter().filter(|(_, holds)| !holds).map(|(what, _)| what.as_str()).collect();
    if !broken.is_empty() {
        return Err(SelfCheckError::Broken(broken.join(", ")));
    }
    Ok(checks.into_iter().map(|(what, _)| what).collect())
}

fn ask(
    confinement: &Confinement,
    sandbox: Sandbox,
    runner: BorrowedFd<'_>,
    canary: &Path,
) -> io::Result<String> {
    let (mut answer, answer_end) = io::pipe()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let word = AROUND.iter().find(|(_, of, _)| *of == sandbox).map_or("", |(word, ..)| word);
    let own = getpid().as_raw_nonzero().to_string();
    // Something to be closed is always there: a runner of which nothing can be inherited would show nothing.
    let _stray = dup(&null)?;
    let launch = Launch {
        program: Program::Descriptor(runner),
        arguments: vec!["runner".into(), "self-check".into(), word.into(), own.into(), canary.into()],
        environment: Vec::new(),
        folder: None,
        descriptors: vec![null.as_fd(), answer_end.as_fd(), null.as_fd()],
        die_with_parent: true,
        groups: &[],
        confinement: Some(confinement),
    };
    let child = launch.spawn().map_err(io::Error::other)?;
    drop(answer_end);
    let mut said = String::new();
    answer.read_to_string(&mut said)?;
    waitpid(Some(child.pid), WaitOptions::empty())?;
    Ok(said)
}

/// The process that looks: prints what it was checked for, each with whether it holds, as JSON.
pub(crate) fn look(sandbox: &OsStr, runner: Option<OsString>) -> ExitCode {
    let canary = std::env::args_os().nth(4).unwrap_or_default();
    let runner = runner.and_then(|runner| runner.to_str()?.parse().ok()).unwrap_or(1);
    let Some((.., around)) = AROUND.iter().find(|(word, ..)| sandbox == *word) else {
        return ExitCode::FAILURE;
    };
    let checks = Found::look(*around, runner, Path::new(&canary)).checks();
    let checks: Vec<_> = checks.into_iter().map(|check| (check.what, check.holds)).collect();
    let written = serde_json::to_writer(io::stdout(), &checks).is_ok() && io::stdout().flush().is_ok();
    if written { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
