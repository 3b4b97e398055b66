//! One request and its answer: what is wrong with the request is answered here, everything else by the js process.

use std::rc::Rc;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::HOST;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::time::timeout;

use super::PATIENCE;
use super::headers::{from_lines, to_lines};
use super::messages::ToService;
use super::reply::Reply;
use super::service::{Answer, Question, Service};
use crate::js_io::room::{Room, Share};

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) service: Rc<Service>,
    /// For bodies of requests.
    pub(super) bodies: Room,
    pub(super) longest_body: usize,
}

impl Exchange {
    /// The answer; where nothing else can be said, a status alone.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
        self.try_answer(request).await.unwrap_or_else(plain)
    }

    async fn try_answer(&self, request: Request<Incoming>) -> Result<Response<Reply>, StatusCode> {
        let (head, body) = request.into_parts();
        let url = url(&head)?;
        let mut share = self.bodies.share();
        let body = self.receive(body, &mut share).await?;
        let method = head.method.as_str().to_owned();
        let request = ToService::Request { method, url, headers: to_lines(&head.headers) };
        let (question, answered) =
            self.service.ask(&request, &body).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        drop(body);
        // Without an answer the js process has ended, and this one is about to.
        let answer = answered.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        drop(share);
        response(answer, question)
    }

    /// The whole body.
    async fn receive(&self, mut body: Incoming, share: &mut Share) -> Result<Vec<u8>, StatusCode> {
        if body.is_end_stream() {
            return Ok(Vec::new());
        }
        // One that says that it is too long is not waited for.
        if body.size_hint().lower() > self.longest_body as u64 {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let mut bytes = Vec::new();
        loop {
            let frame = timeout(PATIENCE, body.frame()).await.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
            let Some(frame) = frame else { return Ok(bytes) };
            let Ok(data) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else { continue };
            if bytes.len() + data.len() > self.longest_body {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            share.grow(data.len()).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
            bytes.extend_from_slice(&data);
        }
    }
}

/// What is asked for, with the host that the client has named.
fn url(head: &hyper::http::request::Parts) -> Result<String, StatusCode> {
    if head.method == Method::CONNECT {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let named = match (head.uri.authority(), head.headers.get(HOST)) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().map_err(|_| StatusCode::BAD_REQUEST)?,
        (None, None) if head.version < Version::HTTP_11 => "localhost",
        (None, None) => return Err(StatusCode::BAD_REQUEST),
    };
    if named.is_empty()
        || !named.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%:[]".contains(&byte))
    {
        return Err(StatusCode::BAD_REQUEST);
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    // `OPTIONS *` is about no path.
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(format!("http://{named}{slash}{path}"))
}

fn response(answer: Answer, question: Question) -> Result<Response<Reply>, StatusCode> {
    // What has no room here, and what is no answer, is not the client's fault.
    let held = answer.body.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    let status = StatusCode::from_u16(answer.status).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let headers = from_lines(&answer.headers).ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
    let reply = match answer.rest {
        Some(rest) => Reply::Pieces { rest, question },
        None => Reply::Whole(Some(held)),
    };
    let mut response = Response::new(reply);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// A status alone.
fn plain(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::Whole(None));
    *response.status_mut() = status;
    response
}
