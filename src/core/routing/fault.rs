//! [`Fault`]: why a call was not answered, or what its callee has thrown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// There was no more time.
    Timeout,
    /// The service does not run, or its replica was lost before it answered.
    Unavailable,
    /// The manifest does not grant it.
    Denied,
    /// There is no such service or method.
    NotFound,
    /// It has as much under way as it takes.
    Overloaded,
    /// The message is too long.
    TooLarge,
    /// The callee has thrown.
    ServiceError,
    /// It was not wanted any more.
    Cancelled,
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which kind.
    pub code: Code,
    /// In words.
    pub message: String,
    /// Whose method.
    pub service: String,
    /// Which.
    pub method: String,
    /// What its callee has thrown, if it has.
    pub thrown: Option<Box<Thrown>>,
}

/// What a callee has thrown, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thrown {
    /// Its type.
    pub name: String,
    /// Where.
    pub stack: String,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Timeout,
        Self::Unavailable,
        Self::Denied,
        Self::NotFound,
        Self::Overloaded,
        Self::TooLarge,
        Self::ServiceError,
        Self::Cancelled,
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
            Self::NotFound => "not-found",
            Self::Overloaded => "overloaded",
            Self::TooLarge => "too-large",
            Self::ServiceError => "service-error",
            Self::Cancelled => "cancelled",
        }
    }

    /// From how it is written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl Fault {
    /// One that nobody has thrown.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let (service, method) = Default::default();
        Self { code, message: message.into(), service, method, thrown: None }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, message, service, method, .. } = self;
        match (service.as_str(), method.as_str()) {
            ("", _) => write!(f, "{message} ({code})"),
            (service, method) => write!(f, "{service}.{method}: {message} ({code})"),
        }
    }
}
