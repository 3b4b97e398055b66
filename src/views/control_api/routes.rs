//! The routes of the control API: each is one call of the [`ManagerHandle`].

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use orchestrator_core::ServiceName;
use orchestrator_core::report::Snapshot;
use orchestrator_core::supervisor::{Refusal, Request};
use orchestrator_manager::{Apply, ApplyError, EventItem, LogItem, LogQuery, ManagerHandle, RequestError};
use serde::Serialize;

use super::asked::{Asked, Told, Verb};
use super::{attach, calls, wire};

pub(super) fn router(handle: ManagerHandle) -> Router {
    Router::new()
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/snapshots", get(snapshots))
        .route("/v1/events", get(events))
        .route("/v1/logs", get(logs))
        .route("/v1/services/{verb}", post(services))
        .route("/v1/services/{service}/{method}", post(calls::call))
        .route("/v1/events/{event}", post(calls::emit))
        .route("/v1/reload", post(reload))
        .route("/v1/scale", post(scale))
        .route("/v1/apply", post(apply))
        .route("/v1/shutdown", post(shutdown))
        .route("/v1/attach", get(attach::attach))
        .fallback(wrong_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(handle)
}

/// An error as an answer: its status, its kind, and what to read.
pub(super) struct Refused(pub(super) StatusCode, pub(super) &'static str, pub(super) String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, kind, message) = self;
        let error = wire::FailureBody { kind: kind.into(), message, thrown: None };
        (status, Json(wire::Failure { error })).into_response()
    }
}

impl From<RequestError> for Refused {
    fn from(error: RequestError) -> Self {
        let (status, kind) = match &error {
            RequestError::Refused(Refusal::UnknownService { .. }) => {
                (StatusCode::NOT_FOUND, "unknown-service")
            }
            RequestError::Refused(_) => (StatusCode::CONFLICT, "refused"),
            RequestError::Unmet(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unmet"),
            RequestError::Ended => (StatusCode::GONE, "ended"),
        };
        Self(status, kind, error.to_string())
    }
}

impl From<ApplyError> for Refused {
    fn from(error: ApplyError) -> Self {
        let (status, kind) = match &error {
            ApplyError::Unmet(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unmet"),
            ApplyError::Ended => (StatusCode::GONE, "ended"),
            _ => (StatusCode::CONFLICT, "refused"),
        };
        Self(status, kind, error.to_string())
    }
}

async fn snapshot(State(handle): State<ManagerHandle>) -> Json<Snapshot> {
    Json(Snapshot::clone(&handle.snapshot()))
}

/// The present, and again whenever it has changed.
async fn snapshots(State(handle): State<ManagerHandle>) -> Response {
    let mut watched = handle.snapshots();
    watched.mark_changed();
    lines(stream::unfold(watched, |mut watched| async move {
        watched.changed().await.ok()?;
        let snapshot = watched.borrow_and_update().clone();
        Some((line(&*snapshot), watched))
    }))
}

async fn events(State(handle): State<ManagerHandle>, Asked(query): Asked<wire::Events>) -> Response {
    let follow = query.follow;
    lines(stream::unfold(handle.events(query.after), move |mut reader| async move {
        let next = if follow { reader.next().await } else { reader.next_kept() };
        let item = match next? {
            EventItem::Missed(missed) => line(&wire::EventItem::Missed { missed }),
            EventItem::Event(event) => line(&*event),
        };
        Some((item, reader))
    }))
}

async fn logs(
    State(handle): State<ManagerHandle>,
    Asked(query): Asked<wire::Logs>,
) -> Result<Response, Refused> {
    let names = query.services.as_deref().unwrap_or_default().split(',').filter(|name| !name.is_empty());
    let services = names.map(ServiceName::parse).collect::<Result<_, _>>();
    let services =
        services.map_err(|error| Refused(StatusCode::BAD_REQUEST, "bad-request", error.to_string()))?;
    let query = LogQuery { services, since: query.since, tail: query.tail, after: 0, follow: query.follow };
    let internal =
        |error: std::io::Error| Refused(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string());
    let reader = handle.logs(query).map_err(internal)?;
    Ok(lines(stream::unfold(reader, |mut reader| async move {
        let item = match reader.next().await? {
            Err(error) => Err(error),
            Ok(LogItem::Missed(missed)) => line(&wire::LogItem::Missed { missed }),
            Ok(LogItem::Record(record)) => line(&record),
        };
        Some((item, reader))
    })))
}

async fn services(
    State(handle): State<ManagerHandle>,
    verb: Verb,
    Told(body): Told<wire::Services>,
) -> Result<StatusCode, Refused> {
    let mut services = body.services;
    if services.is_empty() {
        services = handle.snapshot().services.iter().map(|service| service.name.clone()).collect();
    }
    let request = match verb {
        Verb::Start => Request::Start(services),
        Verb::Stop => Request::Stop(services),
        Verb::Restart => Request::Restart(services),
    };
    let done = if body.wait { handle.request(request).await } else { handle.submit(request).await };
    done.map(|()| StatusCode::NO_CONTENT).map_err(Into::into)
}

async fn reload(
    State(handle): State<ManagerHandle>,
    Told(body): Told<wire::Services>,
) -> Result<StatusCode, Refused> {
    let mut services = body.services;
    if services.is_empty() {
        services = handle.snapshot().reloadable();
    }
    let request = Request::Reload(services);
    let done = if body.wait { handle.request(request).await } else { handle.submit(request).await };
    done.map(|()| StatusCode::NO_CONTENT).map_err(Into::into)
}

async fn scale(
    State(handle): State<ManagerHandle>,
    Told(body): Told<wire::Scale>,
) -> Result<StatusCode, Refused> {
    let request = Request::Scale(body.service, body.replicas);
    let done = if body.wait { handle.request(request).await } else { handle.submit(request).await };
    done.map(|()| StatusCode::NO_CONTENT).map_err(Into::into)
}

async fn apply(
    State(handle): State<ManagerHandle>,
    Told(body): Told<wire::Apply>,
) -> Result<Json<wire::Applied>, Refused> {
    let wire::Apply { file, variables, dry_run, wait } = body;
    let steps = handle.apply(Apply { file, variables, dry_run, wait }).await?;
    Ok(Json(wire::Applied { steps }))
}

async fn shutdown(
    State(handle): State<ManagerHandle>,
    Told(body): Told<wire::Shutdown>,
) -> Result<StatusCode, Refused> {
    let request = if body.kill { Request::Kill } else { Request::Shutdown };
    handle.submit(request).await.map(|()| StatusCode::NO_CONTENT).map_err(Into::into)
}

async fn wrong_path() -> Refused {
    let fix = "use /v1/snapshot, /v1/snapshots, /v1/events, /v1/logs, /v1/services/VERB, \
               /v1/services/SERVICE/METHOD, /v1/events/EVENT, /v1/reload, /v1/scale, /v1/apply, /v1/attach or /v1/shutdown";
    Refused(StatusCode::NOT_FOUND, "bad-request", format!("there is nothing at this path: {fix}"))
}

async fn wrong_method(uri: Uri) -> Refused {
    let changes = ["/v1/services/", "/v1/reload", "/v1/scale", "/v1/apply", "/v1/shutdown"]
        .iter()
        .any(|path| uri.path().starts_with(path));
    let method = if changes { "POST" } else { "GET" };
    Refused(
        StatusCode::METHOD_NOT_ALLOWED,
        "bad-request",
        format!("this path has another method: use {method}"),
    )
}

type Line = std::io::Result<String>;

/// One value as one line of JSON.
fn line<T: Serialize>(value: &T) -> Line {
    let text = serde_json::to_string(value)?;
    Ok(text + "\n")
}

fn lines(stream: impl Stream<Item = Line> + Send + 'static) -> Response {
    let body = Body::from_stream(stream);
    ([("content-type", "application/x-ndjson")], body).into_response()
}
