//! The exit codes of every command: one table, the one of `docs/exit-codes.md`.

/// How a command ended, for the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Ok,
    Failed,
    Usage,
    /// There is no manifest: usage as well, but for who can do without one.
    NoManifest,
    NotRunning,
    TimedOut,
    AlreadyRunning,
    Internal,
    /// This host cannot hold a service to what the manifest grants; nothing was started.
    Unenforceable,
    Killed,
    /// An essential service's own.
    Of(u8),
}

impl Code {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage | Self::NoManifest => 2,
            Self::NotRunning => 3,
            Self::TimedOut => 4,
            Self::AlreadyRunning => 5,
            Self::Internal => 70,
            Self::Unenforceable => 78,
            Self::Killed => 130,
            Self::Of(code) => code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_code() {
        let document = include_str!("../../docs/exit-codes.md");
        let rows = [
            (Code::Ok, "ok"),
            (Code::Failed, "failed"),
            (Code::Usage, "usage"),
            (Code::NotRunning, "not-running"),
            (Code::TimedOut, "timed-out"),
            (Code::AlreadyRunning, "already-running"),
            (Code::Internal, "internal"),
            (Code::Unenforceable, "unenforceable"),
            (Code::Killed, "killed"),
        ];
        for (code, name) in rows {
            assert!(document.contains(&format!("| {} | `{name}` |", code.number())), "{name}");
        }
        assert_eq!(document.matches("\n| ").count(), rows.len() + 2, "a row that no command uses");
    }
}
