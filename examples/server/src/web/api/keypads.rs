//! Keypads on pages: administrators make them and their links; whoever has a link types, and sees what the reader shows.
//!
//! A keypad has no account, for a tablet beside a door would then hold one that also opens this server's other pages. Its
//! link is a key of its own: it types at one reader and does nothing else, and it is withdrawn without touching anybody's
//! password. What is typed is a credential like any other: rules, lockouts and the journal are those of the door.
//!
//! **Never:** a PIN in an answer, an address, a log or an error; the verdict, other than by what a reader shows.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::stream::{self, Stream};
use godvision_access::reader::soft::SoftHandle;
use godvision_core::journal::Level;
use godvision_core::signal::door::Key;
use godvision_core::{Name, Secret};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::Id;
use super::doors::indication_code;
use crate::web::guard::Who;
use crate::web::system::{Failing, Keypad, SystemError};
use crate::web::{AppState, WebError, peer};

/// Under which name tries of links are counted.
const TRIED_AS: &str = "the link of a keypad";
/// Most digits of a PIN, and most bytes of a body here.
const PIN_DIGITS_MAX: usize = 12;
/// Most pages that are told what keypads show, at once.
pub(crate) const VIEWS_MAX: usize = 128;
/// How often a page is told how long it has to wait, and whether its link is still good.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// A keypad as administrators see it.
#[derive(Serialize)]
pub(crate) struct KeypadView {
    pub(crate) id: String,
    pub(crate) door: Option<String>,
    /// The path of its page; whoever has it types here.
    pub(crate) link: Option<String>,
    pub(crate) made: Option<String>,
    pub(crate) made_by: Option<String>,
}

impl KeypadView {
    pub(crate) async fn of(state: &AppState, keypad: Keypad) -> Result<Self, WebError> {
        let link = state.store().keypads().of_reader(&keypad.id).await?;
        Ok(Self {
            id: keypad.id.to_string(),
            door: keypad.door.map(|door| door.to_string()),
            made: link.as_ref().map(|link| link.made.to_string()),
            made_by: link.as_ref().map(|link| link.made_by.clone()),
            link: link.map(|link| format!("/keypad/{}", link.token.expose())),
        })
    }
}

fn found(state: &AppState, id: &str) -> Result<Keypad, WebError> {
    let keypad = state.system().keypads().into_iter().find(|keypad| keypad.id.as_str() == id);
    Ok(keypad.ok_or_else(|| SystemError::NotFound { what: "keypad", id: id.to_owned() })?)
}

/// `GET /api/v1/keypads`
pub(crate) async fn list(State(state): State<AppState>) -> Result<Json<Vec<KeypadView>>, WebError> {
    let mut all = Vec::new();
    for keypad in state.system().keypads() {
        all.push(KeypadView::of(&state, keypad).await?);
    }
    Ok(Json(all))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKeypad {
    name: String,
    door: String,
}

/// `POST /api/v1/keypads`: a keypad at a door, in the site document and in force.
pub(crate) async fn add(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<Json<NewKeypad>, JsonRejection>,
) -> Result<Json<KeypadView>, WebError> {
    let Json(asked) = body?;
    let name = |code, text: &str| Name::new(text).map_err(|error| WebError::bad_request(code, error.to_string()));
    let (id, door) = (name("bad_name", asked.name.trim())?, name("bad_door", &asked.door)?);
    let text = format!("{} adds the keypad {id} at {door}", who.name());
    let fields = [("keypad", id.as_str()), ("door", door.as_str()), ("user", who.name())];
    state.note(Level::Security, "keypad.added", text, &fields).await?;
    state.system().add_keypad(&id, &door).await?;
    Ok(Json(KeypadView::of(&state, found(&state, id.as_str())?).await?))
}

/// `DELETE /api/v1/keypads/{id}`
pub(crate) async fn remove(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<KeypadView>, WebError> {
    let keypad = found(&state, &id)?;
    let text = format!("{} removes the keypad {id}", who.name());
    state.note(Level::Security, "keypad.removed", text, &[("keypad", &id), ("user", who.name())]).await?;
    state.store().keypads().withdraw(&keypad.id).await?;
    state.system().remove_keypad(&keypad.id).await?;
    Ok(Json(KeypadView::of(&state, keypad).await?))
}

/// `POST /api/v1/keypads/{id}/link`: a new link; the one before is dead.
pub(crate) async fn renew_link(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<KeypadView>, WebError> {
    let keypad = found(&state, &id)?;
    let text = format!("{} made a link of the keypad {id}; the one before is dead", who.name());
    state.note(Level::Security, "keypad.link_made", text, &[("keypad", &id), ("user", who.name())]).await?;
    state.store().keypads().renew(&keypad.id, who.name()).await?;
    Ok(Json(KeypadView::of(&state, keypad).await?))
}

/// `DELETE /api/v1/keypads/{id}/link`
pub(crate) async fn withdraw_link(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<KeypadView>, WebError> {
    let keypad = found(&state, &id)?;
    let text = format!("{} withdrew the link of the keypad {id}", who.name());
    state.note(Level::Security, "keypad.link_withdrawn", text, &[("keypad", &id), ("user", who.name())]).await?;
    if !state.store().keypads().withdraw(&keypad.id).await? {
        return Err(SystemError::NotFound { what: "link of the keypad", id }.into());
    }
    Ok(Json(KeypadView::of(&state, keypad).await?))
}

/// The keypad whose link this is, and its reader. A wrong link is counted as a wrong password is.
pub(crate) async fn of_link(state: &AppState, token: String, from: IpAddr) -> Result<(Name, SoftHandle), WebError> {
    let token = Secret::from(token);
    if let Some(reader) = state.store().keypads().reader_of(&token).await? {
        let handle = state.system().keypad(&reader)?;
        return Ok((reader, handle));
    }
    let tried = state.throttle().attempt(from, TRIED_AS, state.clock().mono());
    Err(match tried {
        Ok(()) => WebError::new(StatusCode::NOT_FOUND, "not_found", "there is no keypad at this address any more"),
        Err(wait) => WebError::too_many(wait.as_secs().max(1)),
    })
}

/// `POST /keypad/{token}`: digits, as the whole body.
pub(crate) async fn typed(
    State(state): State<AppState>,
    Id(token): Id,
    request: Request,
) -> Result<StatusCode, WebError> {
    let (_, handle) = of_link(&state, token, peer(&request)).await?;
    let bad = || WebError::bad_request("bad_pin", format!("send 1 to {PIN_DIGITS_MAX} digits and nothing else"));
    let body: Bytes = axum::body::to_bytes(request.into_body(), PIN_DIGITS_MAX).await.map_err(|_| bad())?;
    let pin =
        std::str::from_utf8(&body).ok().filter(|pin| !pin.is_empty() && pin.bytes().all(|it| it.is_ascii_digit()));
    let pin = Secret::from(pin.ok_or_else(bad)?);
    handle.present(Key::Pin(pin)).map_err(|_| {
        let message = "the reader takes nothing now: try again in a moment";
        WebError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a page is told.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
struct Shown {
    shows: &'static str,
    /// Seconds until the reader takes something again, after too many failures.
    wait: u64,
}

fn shown_now(state: &AppState, reader: &Name, handle: &SoftHandle) -> Shown {
    let now = state.clock().wall();
    let locked = state.system().premises().locked_out;
    let until = locked.into_iter().find(|it| it.who == Failing::Source(reader.clone())).map(|it| it.until);
    let micros = until.map_or(0, |until| until.as_unix_micros() - now.as_unix_micros());
    Shown { shows: indication_code(handle.shown()), wait: u64::try_from(micros).unwrap_or(0).div_ceil(1_000_000) }
}

struct View {
    state: AppState,
    token: Secret,
    reader: Name,
    handle: SoftHandle,
    told: Option<Shown>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

/// `GET /keypad/{token}/shown`: server-sent events, each `{"shows": ..., "wait": ...}`; `gone` once the link is dead.
pub(crate) async fn shown(State(state): State<AppState>, Id(token): Id, request: Request) -> Response {
    let (reader, handle) = match of_link(&state, token.clone(), peer(&request)).await {
        Ok(found) => found,
        Err(error) => return error.into_response(),
    };
    let Ok(place) = std::sync::Arc::clone(state.keypad_views()).try_acquire_owned() else {
        let message = "too many keypads are open: close some of their pages";
        return WebError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).into_response();
    };
    let view = View { state, token: token.into(), reader, handle, told: None, is_over: false, _place: place };
    Sse::new(told(view)).keep_alive(KeepAlive::default()).into_response()
}

fn told(view: View) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(view, |mut view| async move {
        loop {
            if view.is_over {
                return None;
            }
            if view.told.is_some() {
                let _ = tokio::time::timeout(TOLD_EVERY, view.handle.changed()).await;
            }
            let owner = view.state.store().keypads().reader_of(&view.token).await;
            if !matches!(owner, Ok(Some(reader)) if reader == view.reader) {
                view.is_over = true;
                return Some((Ok(Event::default().event("gone").data("")), view));
            }
            let now = shown_now(&view.state, &view.reader, &view.handle);
            if view.told != Some(now) {
                view.told = Some(now);
                let event = Event::default().json_data(now).unwrap_or_default();
                return Some((Ok(event), view));
            }
        }
    })
}
