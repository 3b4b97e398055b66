//! [`Client`]: the command line's end of the control API.

use std::io;
use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use orchestrator_core::report::Snapshot;
use orchestrator_views::control_api::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::exit_code::Code;
use crate::failure::{Failure, chain};

/// A running project, as its control API shows it. Each call is a connection of its own.
#[derive(Debug)]
pub(crate) struct Client {
    socket: Box<Path>,
}

/// A stream of JSON lines.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Answer {
    stream: bool,
    pub(crate) lines: Lines,
}

impl Client {
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.into() }
    }

    pub(crate) async fn snapshot(&self) -> Result<Snapshot, Failure> {
        let mut lines = self.get("/v1/snapshot").await?;
        lines.whole().await
    }

    /// Asks for a stream of values.
    pub(crate) async fn get(&self, path: &str) -> Result<Lines, Failure> {
        let body = self.call(Method::GET, path, Bytes::new()).await?.into_body();
        Ok(Lines { body, buffer: Vec::new() })
    }

    pub(crate) async fn post<T: Serialize>(&self, path: &str, body: &T) -> Result<(), Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::internal(&error))?;
        self.call(Method::POST, path, body.into()).await.map(|_| ())
    }

    /// Asks for something with a body, and for what comes of it.
    pub(crate) async fn ask<T: Serialize>(&self, path: &str, body: &T) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::internal(&error))?;
        let response = self.call(Method::POST, path, body.into()).await?;
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        let stream = kind == Some("text/event-stream");
        Ok(Answer { stream, lines: Lines { body: response.into_body(), buffer: Vec::new() } })
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| unreachable(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "orchestrator")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| Failure::internal(&error))?;
        let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let refused: Result<wire::Failure, Failure> =
            Lines { body: response.into_body(), buffer: Vec::new() }.whole().await;
        Err(refused.map_or_else(|failure| failure, |refused| failure_of(refused.error)))
    }
}

impl Answer {
    /// Whether it is many values, as server-sent events.
    pub(crate) fn is_stream(&self) -> bool {
        self.stream
    }
}

impl Lines {
    /// The next line, without its end; None at the end.
    pub(crate) async fn next_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).take(end).collect();
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            let frame = self.body.frame().await?.ok()?;
            self.buffer.extend(frame.into_data().unwrap_or_default());
        }
    }

    /// The next value; None at the end.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Option<Result<T, Failure>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).map_err(|error| Failure::internal(&error)));
            }
            match self.body.frame().await? {
                Ok(frame) => self.buffer.extend(frame.into_data().unwrap_or_default()),
                // The project ended, and the connection with it.
                Err(_) => return None,
            }
        }
    }

    /// All of it, as one value.
    pub(crate) async fn whole<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| unreachable(&error))?;
            self.buffer.extend(frame.into_data().unwrap_or_default());
        }
        serde_json::from_slice(&self.buffer).map_err(|error| Failure::internal(&error))
    }
}

fn unreachable(error: &dyn std::error::Error) -> Failure {
    let message = format!("the orchestrator cannot be reached: {}", chain(error));
    Failure::new(Code::NotRunning, message)
}

pub(crate) fn failure_of(error: wire::FailureBody) -> Failure {
    let code = match error.kind.as_str() {
        "unknown-service" | "bad-request" => Code::Usage,
        "ended" => Code::NotRunning,
        "timeout" => Code::TimedOut,
        "internal" => Code::Internal,
        _ => Code::Failed,
    };
    let mut text = error.message;
    if let Some(thrown) = error.thrown {
        let place = thrown.stack.lines().next().map(|line| format!(", {}", line.trim())).unwrap_or_default();
        text = format!("{}: {text}{place}", thrown.name);
    }
    Failure::new(code, text)
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::internal(&error)
    }
}
