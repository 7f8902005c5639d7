//! [`WebError`]: what a request gets instead of an answer: a status, a stable code, a sentence that says what to do.
//!
//! API routes answer `{"error": {"code", "message"}}`. Faults inside are logged here, once, and told without their cause.

use axum::Json;
use axum::extract::rejection::{FormRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use godvision_core::journal::JournalError;
use serde::Serialize;

use super::system::SystemError;
use crate::store::StoreError;

/// An answer that is an error.
#[derive(Debug)]
pub struct WebError {
    /// The status.
    pub status: StatusCode,
    /// Stable code for programs: `not_found`, `wrong_login`, ...
    pub code: &'static str,
    /// One sentence for people; never a secret.
    pub message: String,
    header: Option<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'a str,
    message: &'a str,
}

impl WebError {
    /// An error of `status`.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }

    /// The request is wrong: 400.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// With a header, if its value can stand in one.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.header = HeaderValue::from_str(value).ok().map(|value| (name, value));
        self
    }

    /// Come back in so many seconds: 429.
    pub fn too_many(seconds: u64) -> Self {
        let message = format!("too many tries to sign in: wait {seconds} s and try again");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tries", message)
            .with_header(header::RETRY_AFTER, &seconds.to_string())
    }

    pub(in crate::web) fn inside(what: &str, error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %chain(error), "{what}");
        let message = format!("{what}; the server's log says more");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "inside", message)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let body = Envelope { error: Inner { code: self.code, message: &self.message } };
        let mut response = (self.status, Json(&body)).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<StoreError> for WebError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Access(problem) => {
                let status = match problem.code() {
                    "not_found" => StatusCode::NOT_FOUND,
                    "meanwhile" | "withdrawn" | "retired" => StatusCode::CONFLICT,
                    _ => StatusCode::BAD_REQUEST,
                };
                Self::new(status, problem.code(), problem.to_string())
            }
            StoreError::Face(problem) => Self::bad_request(problem.code(), problem.to_string()),
            StoreError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error.to_string())
                .with_header(header::RETRY_AFTER, "3"),
            error => Self::inside("the store failed", &error),
        }
    }
}

impl From<JournalError> for WebError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Closed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server is stopping: try again in a moment")
            }
            error => Self::inside("the journal failed", &error),
        }
    }
}

impl From<SystemError> for WebError {
    fn from(error: SystemError) -> Self {
        let (status, code) = match &error {
            SystemError::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
            SystemError::Refused { .. } => (StatusCode::BAD_REQUEST, "refused"),
            SystemError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<JsonRejection> for WebError {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "bad_body", rejection.body_text())
    }
}

impl From<FormRejection> for WebError {
    fn from(rejection: FormRejection) -> Self {
        Self::new(rejection.status(), "bad_body", rejection.body_text())
    }
}

impl From<QueryRejection> for WebError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), "bad_query", rejection.body_text())
    }
}

impl From<PathRejection> for WebError {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), "bad_path", rejection.body_text())
    }
}
