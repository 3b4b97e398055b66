//! Names of services on the command line.

use orchestrator_core::ServiceName;

/// Reads the name of a service.
///
/// # Errors
/// Where it is none; the text says why.
pub(crate) fn service_name(text: &str) -> Result<ServiceName, String> {
    ServiceName::parse(text).map_err(|error| error.to_string())
}
