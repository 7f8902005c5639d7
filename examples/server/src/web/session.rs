//! Signing in and out.

use std::net::IpAddr;

use axum::extract::rejection::{FormRejection, JsonRejection};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Form, Json};
use godvision_core::Secret;
use godvision_core::journal::Level;
use serde::{Deserialize, Serialize};

use super::guard::{Who, cookie_name, who};
use super::{AppState, WebError, pages, peer};
use crate::store::{ABSOLUTE_LIFE, Session};

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

#[derive(Deserialize)]
struct LoginForm {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

#[derive(Serialize)]
struct SignedIn<'a> {
    token: &'a str,
    #[serde(flatten)]
    session: SessionView,
}

/// Who is signed in, as programs see it.
#[derive(Serialize)]
pub(super) struct SessionView {
    name: String,
    role: &'static str,
    expires: String,
}

impl SessionView {
    fn new(session: &Session) -> Self {
        Self { name: session.user.name.clone(), role: session.user.role.code(), expires: session.expires.to_string() }
    }
}

/// Checks name and password, slows down who keeps failing, journals what came of it, and starts a session.
async fn sign_in(state: &AppState, from: IpAddr, name: &str, password: Secret) -> Result<(Secret, Session), WebError> {
    let users = state.store().users();
    let tried = state.throttle().attempt(from, name, state.clock().mono());
    if let Err(wait) = tried {
        return Err(WebError::too_many(wait.as_secs().max(1)));
    }
    let address = from.to_string();
    let Some(user) = users.verify(name, password).await? else {
        // People type passwords into the name field, so only names that exist are written down.
        let known = users.list().await?.into_iter().find(|user| user.name.eq_ignore_ascii_case(name));
        let whom = known.map_or_else(|| "a name nobody has".to_owned(), |user| user.name);
        let text = format!("sign-in refused for {whom} from {address}");
        state.note(Level::Security, "session.refused", text, &[("user", &whom), ("address", &address)]).await?;
        let message = "the name or the password is wrong";
        return Err(WebError::new(StatusCode::UNAUTHORIZED, "wrong_login", message));
    };
    state.throttle().succeeded(from, name);
    // Journalled first: nobody is in without a line that says so.
    let text = format!("{} signed in from {address}", user.name);
    state.note(Level::Security, "session.started", text, &[("user", &user.name), ("address", &address)]).await?;
    let token = state.store().sessions().start(&user).await?;
    let session = state.store().sessions().find(&token).await?.ok_or_else(|| {
        WebError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the session ended at once: sign in again")
    })?;
    Ok((token, session))
}

fn cookie(state: &AppState, token: &str, seconds: u64) -> HeaderValue {
    let secure = if state.options().is_behind_tls { "; Secure" } else { "" };
    let text = format!("{}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}", cookie_name(state));
    let mut value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

/// `POST /api/v1/login`
pub(super) async fn login(State(state): State<AppState>, request: Request) -> Result<Response, WebError> {
    let from = peer(&request);
    let body: Result<Json<Login>, JsonRejection> = Json::from_request(request, &state).await;
    let Json(Login { name, password }) = body?;
    let (token, session) = sign_in(&state, from, &name, Secret::from(password)).await?;
    let answer = SignedIn { token: token.expose(), session: SessionView::new(&session) };
    let cookie = cookie(&state, token.expose(), ABSOLUTE_LIFE.as_secs());
    Ok(with_cookie(Json(answer).into_response(), cookie))
}

/// `POST /login`: the form of the login page.
pub(super) async fn login_page(State(state): State<AppState>, request: Request) -> Response {
    let from = peer(&request);
    let body: Result<Form<LoginForm>, FormRejection> = Form::from_request(request, &state).await;
    let form = match body {
        Ok(Form(form)) => form,
        Err(rejection) => return pages::login_again("", "/", WebError::from(rejection)),
    };
    let next = pages::local_path(&form.next);
    match sign_in(&state, from, &form.name, Secret::from(form.password)).await {
        Ok((token, _)) => {
            let cookie = cookie(&state, token.expose(), ABSOLUTE_LIFE.as_secs());
            with_cookie(Redirect::to(next).into_response(), cookie)
        }
        Err(error) => pages::login_again(&form.name, next, error),
    }
}

async fn sign_out(state: &AppState, who: &Who) -> Result<(), WebError> {
    state.store().sessions().end(&who.token).await?;
    let name = who.name();
    state.note(Level::Security, "session.ended", format!("{name} signed out"), &[("user", name)]).await
}

/// `POST /api/v1/logout`
pub(super) async fn logout(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
) -> Result<Response, WebError> {
    sign_out(&state, &who).await?;
    Ok(with_cookie(StatusCode::NO_CONTENT.into_response(), cookie(&state, "", 0)))
}

/// `POST /logout`: the button. Works for whoever is already out, too.
pub(super) async fn logout_page(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, WebError> {
    if let Some(who) = who(&state, &headers).await? {
        sign_out(&state, &who).await?;
    }
    Ok(with_cookie(Redirect::to("/login").into_response(), cookie(&state, "", 0)))
}

/// `GET /api/v1/session`
pub(super) async fn whoami(Extension(who): Extension<Who>) -> Json<SessionView> {
    Json(SessionView::new(&who.session))
}

#[derive(Deserialize)]
struct NewPassword {
    current: String,
    new: String,
}

/// `POST /api/v1/password`: one's own password. Signs the user out everywhere.
pub(super) async fn change_password(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    request: Request,
) -> Result<Response, WebError> {
    let from = peer(&request);
    let body: Result<Json<NewPassword>, JsonRejection> = Json::from_request(request, &state).await;
    let Json(NewPassword { current, new }) = body?;
    let name = who.name();
    let tried = state.throttle().attempt(from, name, state.clock().mono());
    if let Err(wait) = tried {
        return Err(WebError::too_many(wait.as_secs().max(1)));
    }
    if state.store().users().verify(name, Secret::from(current)).await?.is_none() {
        let text = format!("{name} gave a wrong password to change it");
        state.note(Level::Security, "password.refused", text, &[("user", name)]).await?;
        return Err(WebError::new(StatusCode::FORBIDDEN, "wrong_password", "the current password is wrong"));
    }
    state.throttle().succeeded(from, name);
    match state.store().users().set_password(name, Secret::from(new)).await {
        Err(error @ crate::store::StoreError::BadPassword) => {
            return Err(WebError::bad_request("bad_password", error.to_string()));
        }
        done => done?,
    }
    let text = format!("{name} changed their password");
    state.note(Level::Security, "password.changed", text, &[("user", name)]).await?;
    Ok(with_cookie(StatusCode::NO_CONTENT.into_response(), cookie(&state, "", 0)))
}
