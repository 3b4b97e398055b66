//! [`Palette`]: colours on a terminal, and plain text everywhere else.

use orchestrator_core::ServiceName;

/// Whether and how text is coloured.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    colour: bool,
}

/// The colours that services are told apart by: ANSI 256, readable on dark and on light.
const SERVICES: [u8; 10] = [39, 208, 35, 170, 99, 136, 44, 203, 70, 133];

impl Palette {
    /// A palette with colours, or without.
    #[must_use]
    pub fn new(colour: bool) -> Self {
        Self { colour }
    }

    /// The text in its service's colour, which is always the same.
    #[must_use]
    pub fn service(self, service: &ServiceName, text: &str) -> String {
        let sum =
            service.as_str().bytes().fold(7_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(byte));
        self.paint(&format!("38;5;{}", SERVICES[sum % SERVICES.len()]), text)
    }

    /// For what went wrong.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// For what went well.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For what matters less.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// For headings.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
