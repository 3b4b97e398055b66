//! [`Connection`]: one connection to Redis for commands and one for what is published. Neither comes back by itself: with
//! either of them, a session is over.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use orchestrator_core::manifest::RedisUrl;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, Msg, RedisError, TlsCertificates};
use tokio::time::timeout;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("Redis does not accept this user and password, as the address has them")]
    Password,
    #[error(transparent)]
    Redis(RedisError),
    #[error("it does not answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Password,
            _ => Self::Redis(error),
        }
    }
}

/// Both connections.
pub(super) struct Connection {
    pub(super) commands: MultiplexedConnection,
    /// What is published on the channels, until the connection is lost.
    pub(super) messages: std::pin::Pin<Box<dyn Stream<Item = Msg> + Send>>,
}

impl Connection {
    /// Connects, and listens on these channels.
    pub(super) async fn open(
        url: &RedisUrl,
        root: Option<&[u8]>,
        channels: &[&str],
        patience: Duration,
    ) -> Result<Self, ConnectError> {
        let client = match root {
            None => Client::open(url.reveal())?,
            Some(root) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(root.to_vec()) };
                Client::build_with_tls(url.reveal(), certificates)?
            }
        };
        timeout(patience, Self::connect(&client, channels, patience))
            .await
            .map_err(|_| ConnectError::Silent(patience))?
    }

    async fn connect(client: &Client, channels: &[&str], patience: Duration) -> Result<Self, ConnectError> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience));
        let commands = client.get_multiplexed_async_connection_with_config(&settings).await?;
        let mut published = client.get_async_pubsub().await?;
        for channel in channels {
            published.subscribe(channel).await?;
        }
        // Dropping the sink would end the subscriptions.
        let (sink, stream) = published.split();
        let messages = stream.inspect(move |_| {
            let _ = &sink;
        });
        Ok(Self { commands, messages: Box::pin(messages) })
    }
}
