//! [`Asked`], [`Told`] and [`Verb`]: the query, the body and the verb of a call, as they should be; or a refusal in the
//! form of every other, with what would have been right.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::routes::Refused;

/// A query. A key that is not known is refused: it was meant to be another one.
pub(super) struct Asked<T>(pub(super) T);

/// A body of JSON.
pub(super) struct Told<T>(pub(super) T);

/// What services can be told to do.
#[derive(Clone, Copy)]
pub(super) enum Verb {
    Start,
    Stop,
    Restart,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(query)| Self(query))
            .map_err(|error| bad(error.status(), "query", &error.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Told<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let body = Json::from_request(request, state).await;
        body.map(|Json(body)| Self(body)).map_err(|error| match error {
            JsonRejection::MissingJsonContentType(_) => Refused(
                error.status(),
                "bad-request",
                "the body does not say that it is JSON: add the header 'content-type: application/json'"
                    .into(),
            ),
            _ => bad(error.status(), "body", &error.body_text()),
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Verb {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let verb = Path::<String>::from_request_parts(parts, state).await;
        match verb.as_deref().map(String::as_str) {
            Ok("start") => Ok(Self::Start),
            Ok("stop") => Ok(Self::Stop),
            Ok("restart") => Ok(Self::Restart),
            _ => Err(Refused(
                StatusCode::NOT_FOUND,
                "bad-request",
                "services have no such verb: use start, stop or restart".into(),
            )),
        }
    }
}

/// The reason in one line, without what every such reason begins with.
fn bad(status: StatusCode, what: &str, text: &str) -> Refused {
    let text = match text.split_once(": ") {
        Some((preamble, reason)) if preamble.starts_with("Failed to ") => reason,
        _ => text,
    };
    Refused(status, "bad-request", format!("the {what} is wrong: {text}"))
}
