//! [`Asked`] and [`Told`]: the query and the body of a call, as they should be; or a refusal in the form of every other.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::routes::Refused;

/// A query. A key that is not known is refused: it was meant to be another one.
pub(super) struct Asked<T>(pub(super) T);

/// A body of JSON.
pub(super) struct Told<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| bad(error.status(), &error.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Told<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let body = Json::from_request(request, state).await;
        body.map(|Json(body)| Self(body)).map_err(|error| bad(error.status(), &error.body_text()))
    }
}

/// The reason in one line, without what every such reason begins with.
fn bad(status: StatusCode, text: &str) -> Refused {
    let text = text.rsplit_once(": ").map_or(text, |(_, last)| last);
    Refused(status, "bad-request", text.to_owned())
}
