//! [`Terminal`]: what the person's terminal can show.

use std::io::{IsTerminal, stderr, stdout};

use orchestrator_views::Palette;

/// What standard output and standard error lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Colours may be used: both are a terminal, and nobody said otherwise (<https://no-color.org>).
    pub(crate) colour: bool,
    /// Standard error is a terminal: lines there can be painted over.
    pub(crate) live: bool,
}

impl Terminal {
    pub(crate) fn new(no_colour: bool) -> Self {
        let wanted = !no_colour && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let live = stderr().is_terminal();
        Self { colour: wanted && live && stdout().is_terminal(), live }
    }

    pub(crate) fn palette(self) -> Palette {
        Palette::new(self.colour)
    }

    /// How many columns and rows there are.
    pub(crate) fn size() -> (usize, usize) {
        let size = rustix::termios::tcgetwinsize(stderr()).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
    }
}
