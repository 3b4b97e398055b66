//! What services are given and nobody else is to see: read where it is kept when a start wants it, and taken out of what is
//! written about the service.

use std::collections::BTreeMap;
use std::{env, fs, io};

use orchestrator_core::manifest::Service;
use orchestrator_core::permissions::{Secret as Kept, SecretSource};
use orchestrator_port::message::control::Secret;

/// The most bytes that all secrets of a service have together.
const MOST: usize = 16 * 1024;

/// What is shorter is in too many words to be taken out of them.
const SHORTEST: usize = 4;

/// Why a secret cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable that it is kept in is not there.
    #[error("the secret '{name}' is kept in the variable {variable}, which is not set")]
    Unset {
        /// The secret.
        name: String,
        /// The variable.
        variable: String,
    },
    /// The file that it is kept in cannot be read.
    #[error("the secret '{name}' cannot be read from {}", .file.display())]
    Read {
        /// The secret.
        name: String,
        /// The file.
        file: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Together they are too long.
    #[error("the secrets are longer than {} KiB together", MOST / 1024)]
    TooLong,
}

/// A service's secrets, as they are now.
///
/// # Errors
/// Where one is not where it is kept.
pub(crate) fn read(service: &Service) -> Result<BTreeMap<String, Secret>, SecretError> {
    let mut secrets = BTreeMap::new();
    for (name, kept) in &service.permissions.secrets {
        secrets.insert(name.clone(), Secret(read_one(name, kept)?));
    }
    if secrets.values().map(|secret| secret.0.len()).sum::<usize>() > MOST {
        return Err(SecretError::TooLong);
    }
    Ok(secrets)
}

fn read_one(name: &str, kept: &Kept) -> Result<Vec<u8>, SecretError> {
    match &kept.source {
        SecretSource::Env(variable) => {
            let value = env::var_os(variable).map(std::ffi::OsString::into_encoded_bytes);
            value.ok_or_else(|| SecretError::Unset { name: name.to_owned(), variable: variable.clone() })
        }
        SecretSource::File(file) => fs::read(file).map_err(|source| SecretError::Read {
            name: name.to_owned(),
            file: file.clone(),
            source,
        }),
    }
}

/// Takes secrets out of texts.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    secrets: Vec<(String, String)>,
}

impl Redactor {
    /// One that knows these secrets, as far as they are texts. A line's end after them does not count.
    pub(crate) fn new(secrets: &BTreeMap<String, Secret>) -> Self {
        let texts = secrets.iter().filter_map(|(name, secret)| {
            let text = std::str::from_utf8(&secret.0).ok()?.trim();
            (text.len() >= SHORTEST).then(|| (text.to_owned(), format!("[secret {name}]")))
        });
        let mut secrets: Vec<_> = texts.collect();
        // One may be a part of another.
        secrets.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        Self { secrets }
    }

    /// The text without them.
    pub(crate) fn clean(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, (secret, name)| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), name) } else { text }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_wherever_they_are() {
        let secret = |text: &str| Secret(text.as_bytes().to_vec());
        let secrets = [("pw", "hunter22\n"), ("long", "hunter22-more"), ("short", "abc"), ("none", "")];
        let secrets = secrets.map(|(name, text)| (name.to_owned(), secret(text))).into();
        let redactor = Redactor::new(&secrets);
        let clean = redactor.clean("a hunter22, hunter22-more and abc".into());
        assert_eq!(clean, "a [secret pw], [secret long] and abc");
    }
}
