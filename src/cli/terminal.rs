//! [`Terminal`]: what this process's output goes to.

use std::io::IsTerminal;

use orchestrator_views::Palette;

/// What this process's output goes to, as found when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    stdout: bool,
    stderr: bool,
    colour: bool,
}

impl Terminal {
    /// Looks. Colours are for terminals only, and neither for `--no-color` nor where `NO_COLOR` is set.
    pub(crate) fn of_process(no_color: bool) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
            colour: !no_color && !unwanted,
        }
    }

    /// Whether a person reads standard output as it comes.
    pub(crate) fn stdout_is_person(self) -> bool {
        self.stdout
    }

    /// Whether a person reads standard error as it comes.
    pub(crate) fn stderr_is_person(self) -> bool {
        self.stderr
    }

    /// Whether what goes to standard error is coloured.
    pub(crate) fn stderr_colour(self) -> bool {
        self.stderr && self.colour
    }

    /// The colours of what goes to standard output.
    pub(crate) fn palette(self) -> Palette {
        Palette::new(self.stdout && self.colour)
    }

    /// The colours of what goes to standard error.
    pub(crate) fn stderr_palette(self) -> Palette {
        Palette::new(self.stderr_colour())
    }

    /// How many columns and rows standard error's terminal has.
    pub(crate) fn size(self) -> Option<(usize, usize)> {
        let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok().filter(|_| self.stderr)?;
        (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
    }
}
