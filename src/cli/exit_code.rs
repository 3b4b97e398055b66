//! [`Exit`]: the exit codes, all of them. `docs/exit-codes.md` is the same table, and a test holds them together.

use std::process::ExitCode;

/// How the command line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything went as asked.
    Ok,
    /// A service failed, or what was asked for did not come true.
    Failed,
    /// The manifest or the command line is wrong.
    Usage,
    /// There is no such running project.
    NotRunning,
    /// A wait reached its limit.
    TimedOut,
    /// The project runs already.
    AlreadyRunning,
    /// The orchestrator could not do its own work.
    Internal,
    /// Everything was killed by a second Ctrl-C.
    Killed,
    /// What the project itself ended with: see `Finish::exit_code`.
    OfProject(u8),
}

impl Exit {
    /// The number that the process ends with.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::TimedOut => 4,
            Self::AlreadyRunning => 5,
            Self::Internal => 70,
            Self::Killed => 130,
            Self::OfProject(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_this_one() {
        let table = [
            (Exit::Ok, "ok"),
            (Exit::Failed, "failed"),
            (Exit::Usage, "usage"),
            (Exit::NotRunning, "not-running"),
            (Exit::TimedOut, "timed-out"),
            (Exit::AlreadyRunning, "already-running"),
            (Exit::Internal, "internal"),
            (Exit::Killed, "killed"),
        ];
        let documented: Vec<_> = include_str!("../../docs/exit-codes.md")
            .lines()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| code") && !line.starts_with("| ---"))
            .map(|line| line.split('|').skip(1).take(2).map(str::trim).collect::<Vec<_>>().join(" "))
            .collect();
        let expected: Vec<_> = table.iter().map(|(exit, name)| format!("{} `{name}`", exit.code())).collect();
        assert_eq!(documented, expected);
    }
}
