//! [`Failure`]: why a command failed, and the only printer of errors.

use std::fmt::Write as _;

use orchestrator_manager::EngineError;
use orchestrator_views::{Palette, neutralise};

use crate::exit_code::Code;
use crate::load::LoadError;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// What happened, with its causes, in one line. Empty where `shown` says it all.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// A text of several lines that is shown as it is.
    pub(crate) shown: Option<String>,
}

pub(crate) type Outcome = Result<Code, Failure>;

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, shown: None }
    }

    /// An error that the user has no part in.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        Self::new(Code::Internal, chain(error))
    }

    /// That the container engine did not do what a command is there for.
    pub(crate) fn engine(error: &EngineError) -> Self {
        Self::new(Code::Failed, chain(error)).hint(error.fix())
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// A manifest that cannot be used.
    pub(crate) fn load(error: &LoadError, colour: bool) -> Self {
        if let Some(shown) = error.diagnostics(colour) {
            return Self { shown: Some(shown), ..Self::new(Code::Usage, "") };
        }
        let absent = matches!(error, LoadError::NotFound { .. });
        let failure = Self::new(if absent { Code::NoManifest } else { Code::Usage }, chain(error));
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// Shows it to the person.
    pub(crate) fn print(&self, palette: Palette) {
        crate::output::complain(&self.text(palette));
    }

    /// As a person reads it, in lines.
    pub(crate) fn text(&self, palette: Palette) -> String {
        let mut text = self.shown.clone().unwrap_or_default();
        if !self.message.is_empty() {
            let _ = writeln!(text, "{} {}", palette.bad("error:"), neutralise(&self.message));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "  fix: {}", neutralise(hint));
        }
        text
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
