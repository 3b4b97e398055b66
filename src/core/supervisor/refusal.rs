//! Why a request cannot be honoured now. Each is a value that a view renders; none is built as text in place.

use serde::{Deserialize, Serialize};

use crate::name::ServiceName;

/// Why a request was refused. Nothing has changed then: a request is honoured whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "kebab-case")]
pub enum Refusal {
    /// No service has that name.
    #[error("no service is named '{name}'{}", .similar.as_ref().map(|s| format!(": did you mean '{s}'?")).unwrap_or_default())]
    UnknownService {
        /// The name asked for.
        name: String,
        /// The name that was probably meant.
        similar: Option<String>,
    },
    /// The project is closing for good.
    #[error("the project is shutting down")]
    ShuttingDown,
    /// A child can only be made below a running parent.
    #[error("'{parent}' is not running, so it can have no new child")]
    ParentNotRunning {
        /// The parent.
        parent: ServiceName,
    },
    /// There is such a service already.
    #[error("there is a service named '{name}' already")]
    Exists {
        /// The name.
        name: ServiceName,
    },
    /// A child depends on something that it cannot depend on: see the graph's rules.
    #[error("'{name}' cannot depend on '{on}': {why}")]
    Dependency {
        /// The child.
        name: ServiceName,
        /// What it wants to depend on.
        on: ServiceName,
        /// The rule that is against it, as a fragment.
        why: String,
    },
    /// A job runs once.
    #[error("'{name}' is a job, which runs once: it has no replicas")]
    JobScaled {
        /// The job.
        name: ServiceName,
    },
    /// A job has an end, and nobody waits for it while another one of it runs.
    #[error("'{name}' is a job, which runs to its end: use restart to run it again")]
    JobReloaded {
        /// The job.
        name: ServiceName,
    },
    /// Only children can be removed; what the manifest declares is stopped instead.
    #[error("'{name}' is declared by the manifest: stop it instead")]
    NotAChild {
        /// The service.
        name: ServiceName,
    },
}
