//! [`Client`]: calls the control API of a running project. `docs/control-api.md` describes the API.

use std::io;
use std::marker::PhantomData;
use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use orchestrator_views::control_api::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// The longest line of a stream that is believed: more than a log record can be.
const LONGEST_LINE: usize = 16 << 20;

/// A connection to the control API of a running project.
#[derive(Debug)]
pub(crate) struct Client {
    requests: SendRequest<Full<Bytes>>,
}

/// An answer that goes on: one value a line.
#[derive(Debug)]
pub(crate) struct Values<T> {
    body: Incoming,
    /// What has been received of lines that were not given out yet.
    received: Vec<u8>,
    /// How much of `received` has been searched for the end of a line.
    searched: usize,
    of: PhantomData<fn() -> T>,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody answers there.
    #[error("cannot connect to the project")]
    Connect(#[source] io::Error),
    /// The connection broke off: the project's orchestrator has ended.
    #[error("lost the connection to the project")]
    Lost(#[source] hyper::Error),
    /// The project refuses, or what was asked for did not come true.
    #[error("{}", .0.message)]
    Refused(wire::FailureBody),
    /// The answer is not what it should be: most likely another version answers.
    #[error("cannot understand the project's answer; is it run by another version?")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Client {
    /// Connects to the socket of a project.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket).await.map_err(ClientError::Connect)?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(ClientError::Lost)?;
        // What goes wrong with the connection is told to whoever waits for an answer.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self { requests })
    }

    /// Asks for one value.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        let body = self.send(Method::GET, path, Bytes::new()).await?.into_body();
        let bytes = body.collect().await.map_err(ClientError::Lost)?.to_bytes();
        serde_json::from_slice(&bytes).map_err(not_understood)
    }

    /// Asks for something to be done. What the answer waits for is the API's matter.
    pub(crate) async fn post<B: Serialize>(&mut self, path: &str, body: &B) -> Result<(), ClientError> {
        let body = serde_json::to_vec(body).map_err(not_understood)?;
        self.send(Method::POST, path, body.into()).await.map(drop)
    }

    /// Asks for an answer that goes on, one value a line.
    pub(crate) async fn stream<T: DeserializeOwned>(&mut self, path: &str) -> Result<Values<T>, ClientError> {
        let body = self.send(Method::GET, path, Bytes::new()).await?.into_body();
        Ok(Values { body, received: Vec::new(), searched: 0, of: PhantomData })
    }

    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "orchestrator")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(not_understood)?;
        self.requests.ready().await.map_err(ClientError::Lost)?;
        let response = self.requests.send_request(request).await.map_err(ClientError::Lost)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let bytes = response.into_body().collect().await.map_err(ClientError::Lost)?.to_bytes();
        let failure: wire::Failure = serde_json::from_slice(&bytes).map_err(not_understood)?;
        Err(ClientError::Refused(failure.error))
    }
}

impl<T: DeserializeOwned> Values<T> {
    /// The next value. None at the end of the answer, also where the project's orchestrator has ended. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(value) = self.next_received()? {
                return Ok(Some(value));
            }
            match self.body.frame().await {
                None | Some(Err(_)) => return Ok(None),
                Some(Ok(frame)) => self.received.extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
        }
    }

    /// The next value that has been received already.
    pub(crate) fn next_received(&mut self) -> Result<Option<T>, ClientError> {
        let Some(end) = self.received[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.received.len();
            if self.received.len() > LONGEST_LINE {
                return Err(not_understood("a line of it is too long"));
            }
            return Ok(None);
        };
        let end = self.searched + end;
        let value = serde_json::from_slice(&self.received[..end]).map_err(not_understood)?;
        self.received.drain(..=end);
        self.searched = 0;
        Ok(Some(value))
    }
}

fn not_understood(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
    ClientError::Answer(error.into())
}
