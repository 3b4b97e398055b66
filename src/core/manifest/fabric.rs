//! [`Fabric`]: where orchestrators and programs of several hosts find each other, as the manifest says it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A fabric: everybody who has its Redis, its prefix and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fabric {
    /// The Redis.
    pub redis: RedisUrl,
    /// What all members have and nobody else; none where the environment says it.
    pub key: Option<FabricKey>,
    /// The certificates of whoever vouches for the Redis over TLS, as an absolute path; none where it is one of those whom everybody knows.
    pub ca: Option<PathBuf>,
    /// What its channels and keys in Redis begin with.
    pub prefix: String,
    /// How long nothing may be heard of a member before it counts as gone.
    pub timeout: Duration,
}

/// The address of a Redis, with all that is needed to be let in. Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

/// A text that is no address of a Redis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no redis or rediss address")]
pub struct RedisUrlError;

/// The key of a fabric. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct FabricKey(String);

/// A key that is too easy to guess.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key has {0} bytes, where 32 are the least")]
pub struct FabricKeyError(usize);

impl Fabric {
    /// The prefix, unless another one is said.
    pub const PREFIX: &'static str = "orchestrator";

    /// The time-out, unless another one is said.
    pub const TIMEOUT: Duration = Duration::from_secs(6);

    /// A fabric of which nothing is known but its Redis.
    #[must_use]
    pub fn at(redis: RedisUrl) -> Self {
        Self { redis, key: None, ca: None, prefix: Self::PREFIX.to_owned(), timeout: Self::TIMEOUT }
    }
}

impl RedisUrl {
    /// Reads `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, or the same with `rediss` for TLS.
    ///
    /// # Errors
    /// Where it is none. The error does not say what was written: there may be a password in it.
    pub fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let rest = text.strip_prefix("redis://").or_else(|| text.strip_prefix("rediss://"));
        let rest = rest.ok_or(RedisUrlError)?;
        let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server);
        let (server, database) = server.split_once('/').unwrap_or((server, ""));
        let port = match server.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port,
            _ => "6379",
        };
        let is_number = |text: &str, most: u32| text.parse::<u32>().is_ok_and(|number| number <= most);
        let host = server.split(':').next().unwrap_or_default();
        if host.is_empty()
            || !is_number(port, 65535)
            || !(database.is_empty() || is_number(database, 65535))
            || !text.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(RedisUrlError);
        }
        Ok(Self(text.to_owned()))
    }

    /// All of it, with the password.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The number of the database.
    #[must_use]
    pub fn database(&self) -> u32 {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server);
        server.split_once('/').and_then(|(_, database)| database.parse().ok()).unwrap_or_default()
    }
}

impl FabricKey {
    /// The fewest bytes.
    pub const LEAST: usize = 32;

    /// A key.
    ///
    /// # Errors
    /// Where it is too short.
    pub fn parse(text: &str) -> Result<Self, FabricKeyError> {
        if text.len() < Self::LEAST {
            return Err(FabricKeyError(text.len()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The key itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("redis", ""));
        let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server);
        write!(f, "{scheme}://{server}")
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for FabricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FabricKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (text, shown, database) in [
            ("redis://localhost", "redis://localhost", 0),
            ("redis://10.0.0.1:6380/3", "redis://10.0.0.1:6380/3", 3),
            ("rediss://me:pass@word@cache.example.com/1", "rediss://cache.example.com/1", 1),
            ("redis://:secret@[::1]:6379", "redis://[::1]:6379", 0),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!((url.to_string(), url.database(), url.reveal()), (shown.to_owned(), database, text));
            assert_eq!(format!("{url:?}"), shown);
        }
        for text in ["localhost:6379", "http://a", "redis://", "redis://a:b", "redis://a/b", "redis://a b"] {
            assert_eq!(RedisUrl::parse(text), Err(RedisUrlError), "{text}");
        }
    }

    #[test]
    fn a_key_is_long_and_is_not_shown() {
        let key = FabricKey::parse(&"k".repeat(32)).unwrap();
        assert_eq!(format!("{key:?}"), "FabricKey");
        let error = FabricKey::parse("short").unwrap_err();
        assert_eq!(error.to_string(), "the key has 5 bytes, where 32 are the least");
    }
}
