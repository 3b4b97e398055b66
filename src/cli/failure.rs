//! [`Failure`]: why a verb did not do what it was asked for, and the one place that prints errors: one line with the
//! whole chain of causes, a second one with what to do about it.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use orchestrator_manager::{LaunchError, PluginError, ProjectError};
use orchestrator_views::neutralise;

use crate::client::ClientError;
use crate::diagnostic;
use crate::exit_code::Exit;
use crate::load::LoadError;
use crate::terminal::Terminal;

/// Why a verb did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    told: Told,
    hint: Option<String>,
}

#[derive(Debug)]
enum Told {
    /// Nothing: who would read it has gone, or has been told.
    Nothing,
    /// An error and its causes.
    Chain(Box<dyn Error + Send + Sync>),
    /// A wrong manifest, with every problem at its place.
    Manifest(LoadError),
    /// A wrong plugin, likewise.
    Plugin(PluginError),
}

impl Failure {
    /// A failure that ends with this exit code, for this reason: an error, or a text.
    pub(crate) fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, told: Told::Chain(error.into()), hint: None }
    }

    /// The orchestrator could not do its own work.
    pub(crate) fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Exit::Internal, error)
    }

    /// A failure that the person has been told already.
    pub(crate) fn told(exit: Exit) -> Self {
        Self { exit, told: Told::Nothing, hint: None }
    }

    /// With what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What the process ends with.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Tells the person, on standard error.
    pub(crate) fn print(&self, terminal: Terminal) {
        let text = self.render(terminal.stderr_colour());
        // Where nobody reads it, the exit code still says it.
        let _ = io::Write::write_all(&mut io::stderr(), text.as_bytes());
    }

    fn render(&self, colour: bool) -> String {
        let mut text = match &self.told {
            Told::Nothing => String::new(),
            Told::Chain(error) => one_line(&**error, colour),
            Told::Manifest(error) => error.diagnostics(colour).unwrap_or_else(|| one_line(error, colour)),
            Told::Plugin(PluginError::Wrong { file, text, problems }) => {
                diagnostic::render(problems, &file.display().to_string(), text, colour)
            }
            Told::Plugin(error) => one_line(error, colour),
        };
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "  hint: {}", neutralise(hint));
        }
        text
    }
}

/// `error: what failed: because of this: because of that`.
fn one_line(error: &dyn Error, colour: bool) -> String {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(chain, ": {error}");
        cause = error.source();
    }
    let label = if colour { "\x1b[1;31merror\x1b[0m" } else { "error" };
    format!("{label}: {}\n", neutralise(&chain))
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self { exit: Exit::Usage, told: Told::Manifest(error), hint: None }
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        Self { exit: Exit::Usage, told: Told::Plugin(error), hint: None }
    }
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Self {
        let exit = if matches!(error, LaunchError::Services(_)) { Exit::Usage } else { Exit::Internal };
        Self::new(exit, error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Connect(_) | ClientError::Lost(_) => Exit::NotRunning,
            ClientError::Refused(failure) if failure.kind == "unknown-service" => Exit::Usage,
            ClientError::Refused(_) => Exit::Failed,
            ClientError::Answer(_) => Exit::Internal,
        };
        Self::new(exit, error)
    }
}

impl From<ProjectError> for Failure {
    fn from(error: ProjectError) -> Self {
        let running = matches!(error, ProjectError::Running { .. });
        let failure = Self::new(if running { Exit::AlreadyRunning } else { Exit::Internal }, error);
        if running { failure.hint(ALREADY_RUNNING) } else { failure }
    }
}

/// What to do where a project runs already.
pub(crate) const ALREADY_RUNNING: &str = "see 'orchestrator ps', or end it with 'orchestrator down'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_causes_and_one_with_its_hint() {
        let cause = io::Error::other("no space\x1b[2J");
        let error = LaunchError::Log { folder: "/state".into(), source: cause };
        let failure = Failure::from(error).hint("make room");
        assert_eq!(
            failure.render(false),
            "error: cannot open the log in /state: no space^[[2J\n  hint: make room\n"
        );
        assert_eq!(failure.exit().code(), 70);
    }

    #[test]
    fn a_project_that_runs_already_says_what_to_do() {
        let project = orchestrator_core::ServiceName::parse("shop").unwrap();
        let failure = Failure::from(ProjectError::Running { project });
        assert_eq!(
            failure.render(false),
            "error: project 'shop' is already running\n  \
             hint: see 'orchestrator ps', or end it with 'orchestrator down'\n"
        );
        assert_eq!(failure.exit().code(), 5);
    }
}
