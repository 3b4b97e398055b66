//! Calls and events from outside of all services: `POST /v1/services/SERVICE/METHOD`, `POST /v1/events/EVENT`.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use orchestrator_core::routing::{Code, Fault};
use orchestrator_manager::{Answer, ManagerHandle, OperatorCall, Stream};

use super::asked::Asked;
use super::routes::Refused;
use super::wire;

/// Calls a method. A value is answered as JSON, a stream as server-sent events.
pub(super) async fn call(
    State(handle): State<ManagerHandle>,
    Path((service, method)): Path<(String, String)>,
    Asked(query): Asked<wire::Call>,
    body: Bytes,
) -> Result<Response, Response> {
    let wire::Call { timeout, retries, key } = query;
    let arguments =
        json(body, "[]", "the body is to be a list of arguments: [1, \"two\"]", serde_json::Value::is_array)
            .map_err(IntoResponse::into_response)?;
    let call = OperatorCall { service, method, timeout, retries, key };
    match handle.call(call, arguments).await {
        Ok(Answer::Value(value)) => Ok(([("content-type", "application/json")], value).into_response()),
        Ok(Answer::Stream(items)) => {
            let events = stream::unfold(Some(items), next_event);
            Ok(([("content-type", "text/event-stream")], Body::from_stream(events)).into_response())
        }
        Err(fault) => Err(faulty(fault)),
    }
}

/// Tells an event; answers with how many replicas hear it.
pub(super) async fn emit(
    State(handle): State<ManagerHandle>,
    Path(event): Path<String>,
    body: Bytes,
) -> Result<Json<wire::Emitted>, Response> {
    let data = json(body, "null", "the body is to be JSON", |_| true).map_err(IntoResponse::into_response)?;
    let receivers = handle.emit(event, data).await.map_err(faulty)?;
    Ok(Json(wire::Emitted { receivers }))
}

/// The body, if it is such JSON.
fn json(
    body: Bytes,
    absent: &'static str,
    fix: &str,
    is: fn(&serde_json::Value) -> bool,
) -> Result<Bytes, Refused> {
    if body.is_empty() {
        return Ok(Bytes::from_static(absent.as_bytes()));
    }
    match serde_json::from_slice(&body) {
        Ok(value) if is(&value) => Ok(body),
        _ => Err(Refused(StatusCode::BAD_REQUEST, "bad-request", fix.to_owned())),
    }
}

type Event = Result<String, std::convert::Infallible>;

/// The next item of a stream as an event; after what was thrown, nothing more.
async fn next_event(items: Option<Stream>) -> Option<(Event, Option<Stream>)> {
    let mut items = items?;
    match items.next().await {
        Ok(None) => None,
        Ok(Some(item)) => Some((Ok(format!("data: {}\n\n", String::from_utf8_lossy(&item))), Some(items))),
        Err(fault) => {
            let failure = serde_json::to_string(&failure(fault)).unwrap_or_default();
            Some((Ok(format!("event: error\ndata: {failure}\n\n")), None))
        }
    }
}

fn faulty(fault: Fault) -> Response {
    let status = match fault.code {
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Code::Unavailable | Code::Overloaded | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Code::Denied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::ServiceError => StatusCode::BAD_GATEWAY,
    };
    (status, Json(failure(fault))).into_response()
}

fn failure(fault: Fault) -> wire::Failure {
    let message = fault.to_string();
    let thrown = fault.thrown.map(|thrown| wire::Thrown { name: thrown.name, stack: thrown.stack });
    wire::Failure { error: wire::FailureBody { kind: fault.code.to_string(), message, thrown } }
}
