//! What stands before every route: who asks, may they, and did their own page send them.
//!
//! A session is shown as a cookie (browsers) or a bearer token (programs). A browser sends the cookie whoever caused the
//! request, so a request that changes something, and a WebSocket, must come from our own pages: `Sec-Fetch-Site` says so,
//! or an `Origin` that names this host; a request with neither does not come from a browser.
//!
//! **Never:** a session in a URL; a route that is open because nobody listed it.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use godvision_core::Secret;

use super::route::Access;
use super::{AppState, WebError};
use crate::store::{Role, Session};

/// Who asks. Put into the request for handlers whose route needs a role.
#[derive(Clone)]
pub(super) struct Who {
    pub(super) session: Session,
    pub(super) token: Secret,
}

impl Who {
    pub(super) fn name(&self) -> &str {
        &self.session.user.name
    }

    pub(super) fn may(&self, role: Role) -> bool {
        self.session.user.role >= role
    }
}

/// The cookie's name. With TLS the prefix makes browsers refuse it from elsewhere.
pub(super) fn cookie_name(state: &AppState) -> &'static str {
    if state.options().is_behind_tls { "__Host-godvision" } else { "godvision" }
}

fn shown_token(state: &AppState, headers: &HeaderMap) -> Option<Secret> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        return value.to_str().ok()?.strip_prefix("Bearer ").map(|token| Secret::from(token.trim()));
    }
    let name = cookie_name(state);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, token)| Secret::from(token))
}

/// Who asks, if they are signed in.
pub(super) async fn who(state: &AppState, headers: &HeaderMap) -> Result<Option<Who>, WebError> {
    let Some(token) = shown_token(state, headers) else { return Ok(None) };
    Ok(state.store().sessions().find(&token).await?.map(|session| Who { session, token }))
}

/// Whether our own page sent this, or no browser at all.
fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text("host")
        }
        (None, None) => true,
    }
}

fn must_be_own(request: &Request) -> bool {
    !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        || request.headers().contains_key(header::UPGRADE)
}

fn is_for_programs(path: &str) -> bool {
    path.starts_with("/api/") || path == "/metrics" || path.ends_with(".csv")
}

pub(super) async fn guard(
    State((state, access)): State<(AppState, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    if must_be_own(&request) && !is_own(request.headers()) {
        let message = "this request was sent by another site: use this server's own pages";
        return WebError::new(StatusCode::FORBIDDEN, "cross_site", message).into_response();
    }
    let Access::AtLeast(role) = access else { return next.run(request).await };
    match who(&state, request.headers()).await {
        Err(error) => error.into_response(),
        Ok(None) => stranger(&request),
        Ok(Some(who)) if who.may(role) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Ok(Some(who)) => {
            let is = who.session.user.role;
            let message = format!("this needs the role {role}, and you are signed in as {is}: ask an administrator");
            WebError::new(StatusCode::FORBIDDEN, "role", message).into_response()
        }
    }
}

fn stranger(request: &Request) -> Response {
    if is_for_programs(request.uri().path()) {
        let message = "sign in: POST /api/v1/login, then send the cookie or the token as \"Authorization: Bearer\"";
        return WebError::new(StatusCode::UNAUTHORIZED, "signed_out", message)
            .with_header(header::WWW_AUTHENTICATE, "Bearer")
            .into_response();
    }
    let wanted = request.uri().path_and_query().map_or("/", |it| it.as_str());
    Redirect::to(&format!("/login?next={}", escape(wanted))).into_response()
}

/// Percent-encodes everything but letters, digits and `-._~/`.
pub(super) fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn requests_of_other_sites_are_told_apart() {
        let host = ("host", "nvr.local:8080");
        for (expected, pairs) in [
            (true, vec![host]),
            (true, vec![host, ("sec-fetch-site", "same-origin")]),
            (true, vec![host, ("origin", "http://nvr.local:8080")]),
            (true, vec![host, ("origin", "https://nvr.local:8080")]),
            (false, vec![host, ("origin", "http://nvr.local")]),
            (false, vec![host, ("origin", "http://evil.example")]),
            (false, vec![host, ("origin", "null")]),
            (false, vec![("origin", "null")]),
            (false, vec![host, ("sec-fetch-site", "cross-site"), ("origin", "http://nvr.local:8080")]),
            (false, vec![host, ("sec-fetch-site", "same-site")]),
        ] {
            assert_eq!(is_own(&headers(&pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn paths_are_escaped_for_a_query() {
        assert_eq!(escape("/clips?camera=yard&x=a b"), "/clips%3Fcamera%3Dyard%26x%3Da%20b");
    }
}
