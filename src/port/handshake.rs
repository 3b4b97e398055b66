//! How the two ends of a WebSocket find out that they belong together, before the first message: the token and
//! the protocol's version travel in the upgrade request's headers. Every refusal looks the same from outside, so
//! that who guesses learns nothing.

use std::io;

use tokio_tungstenite::tungstenite::Error as WebSocketError;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::token::Token;

/// The protocol that is spoken, with its version, as the WebSocket's subprotocol. A change that an older end would
/// misunderstand needs a new one.
pub const VERSION: &str = "orchestrator.v1";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The other end proved nothing: no token, another token, another version, or no WebSocket at all. From the
    /// connecting side: it was refused, for one of these reasons.
    #[error("handshake refused")]
    Refused,
    /// It took too long.
    #[error("handshake not finished in time")]
    Late,
    /// The socket failed.
    #[error("handshake failed")]
    Io(#[source] io::Error),
}

/// Checks an upgrade request on the accepting side.
pub(crate) struct Gate<'a>(pub(crate) &'a Token);

impl Callback for Gate<'_> {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        // Both are looked at whatever the first one says.
        let version =
            single(request.headers(), &SEC_WEBSOCKET_PROTOCOL).is_some_and(|value| value == VERSION);
        let token = presented(request.headers()).is_some_and(|token| token.matches(self.0));
        if version & token {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(VERSION));
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        Err(refusal)
    }
}

/// Adds the token and the version to an upgrade request.
pub(crate) fn present(headers: &mut HeaderMap, token: &Token) -> Result<(), HandshakeError> {
    let bearer = format!("Bearer {}", token.to_hex());
    let mut value = HeaderValue::try_from(bearer).map_err(|_| HandshakeError::Refused)?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(VERSION));
    Ok(())
}

fn presented(headers: &HeaderMap) -> Option<Token> {
    let digits = single(headers, &AUTHORIZATION)?.strip_prefix("Bearer ")?;
    Token::from_hex(digits).ok()
}

/// The header's value, where there is exactly one.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

impl From<WebSocketError> for HandshakeError {
    fn from(error: WebSocketError) -> Self {
        match error {
            WebSocketError::Io(error) => Self::Io(error),
            _ => Self::Refused,
        }
    }
}
