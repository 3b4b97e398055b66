//! `GET /v1/attach`: a program becomes part of the project. After the answer, the connection is its link.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use hyper_util::rt::TokioIo;
use orchestrator_manager::ManagerHandle;

use super::routes::Refused;

/// What the connection becomes.
const LINK: HeaderValue = HeaderValue::from_static("orchestrator-link");

pub(super) async fn attach(
    State(handle): State<ManagerHandle>,
    mut request: Request,
) -> Result<Response, Refused> {
    if !wants_link(request.headers()) {
        let fix = "this is for programs that attach: add the headers 'connection: upgrade' and \
                   'upgrade: orchestrator-link'";
        return Err(Refused(StatusCode::UPGRADE_REQUIRED, "bad-request", fix.into()));
    }
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // Who goes away at once has not been there.
        let Ok(connection) = upgraded.await else { return };
        if let Err(error) = handle.attach(TokioIo::new(connection)).await {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(cause, "{error}");
        }
    });
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE, LINK);
    Ok(answer)
}

fn wants_link(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|wanted| wanted.as_bytes().eq_ignore_ascii_case(LINK.as_bytes()))
}
