//! `/api/v1`: JSON for programs, described by `openapi.json`, which a test holds against the routes and the answers.
//!
//! Times are RFC 3339 in UTC. Ids are component names; in a path their `/` is written `%2F`.

pub(super) mod cameras;
pub(super) mod clips;
pub(super) mod door_setup;
pub(super) mod doors;
pub(super) mod faces;
pub(super) mod health;
pub(super) mod journal;
pub(super) mod keypads;
pub(super) mod pass_keys;
pub(super) mod passes;
pub(super) mod people;
pub(super) mod plates;
pub(super) mod premises;
pub(super) mod rules;
pub(super) mod rules_form;
pub(super) mod sightings;
pub(super) mod telegram;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use godvision_core::{Name, WallTime};
use serde::de::DeserializeOwned;

use super::WebError;

/// The description that is served.
pub const OPENAPI: &str = include_str!("openapi.json");

/// `GET /api/v1/openapi.json`
pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

/// The query of a URL; what is wrong with it is told in our own form.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, WebError> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        Ok(Self(query?.0))
    }
}

/// The `{id}` of a path, decoded.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, WebError> {
        let path: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        Ok(Self(path?.0))
    }
}

/// An empty parameter, as forms send it, is none.
pub(super) fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

/// Reads a moment of a query.
pub(super) fn moment(what: &str, text: Option<&str>) -> Result<Option<WallTime>, WebError> {
    given(text)
        .map(|text| {
            // A plus in a query is a blank once decoded.
            let moment: jiff::Timestamp = text.replace(' ', "+").parse().map_err(|_| {
                let message = format!("{what}={text:?} is no time: write it as 2026-11-21T09:30:00Z");
                WebError::bad_request("bad_time", message)
            })?;
            Ok(WallTime::from_unix_micros(moment.as_microsecond()))
        })
        .transpose()
}

/// Reads a component's or subsystem's name of a query.
pub(super) fn name(what: &str, text: Option<&str>) -> Result<Option<Name>, WebError> {
    given(text)
        .map(|text| {
            Name::new(text).map_err(|error| WebError::bad_request("bad_name", format!("{what}={text:?}: {error}")))
        })
        .transpose()
}
