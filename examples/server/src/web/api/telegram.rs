//! Messages by Telegram for administrators: the bot, who is bound to it, what they are told, and a message to try it out.
//!
//! **Never:** the bot's token in an answer; a code of anybody in a list.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};
use godvision_core::Name;
use godvision_core::journal::Level;
use serde::{Deserialize, Serialize};

use super::{Id, given};
use crate::store::{Binding, Notice, Notices};
use crate::web::guard::Who;
use crate::web::system::SystemError;
use crate::web::{AppState, WebError};

/// Somebody who is reached by Telegram.
#[derive(Serialize)]
pub(crate) struct BindingView {
    pub(crate) person: String,
    pub(crate) account: String,
    pub(crate) notices: Vec<&'static str>,
    pub(crate) bound: String,
}

impl BindingView {
    pub(crate) fn is_told(&self, notice: &str) -> bool {
        self.notices.contains(&notice)
    }
}

impl From<Binding> for BindingView {
    fn from(binding: Binding) -> Self {
        Self {
            person: binding.person.to_string(),
            account: binding.account,
            notices: binding.notices.0.iter().map(|notice| notice.code()).collect(),
            bound: binding.bound.to_string(),
        }
    }
}

/// The bot and whom it reaches.
#[derive(Serialize)]
pub(crate) struct TelegramView {
    pub(crate) is_set_up: bool,
    /// Another Bot API than Telegram's own.
    pub(crate) api: Option<String>,
    /// The bot's name, once Telegram has said it.
    pub(crate) account: Option<String>,
    /// What is wrong, with what to do.
    pub(crate) problem: Option<String>,
    pub(crate) people: Vec<BindingView>,
}

impl TelegramView {
    pub(crate) async fn of(state: &AppState) -> Result<Self, WebError> {
        let (setup, status) = (state.system().telegram_setup(), state.system().telegram().status());
        let people = state.store().telegram().bindings().await?;
        Ok(Self {
            is_set_up: setup.is_there,
            api: setup.api,
            account: status.account,
            problem: status.problem,
            people: people.into_iter().map(Into::into).collect(),
        })
    }
}

/// `GET /api/v1/telegram`
pub(crate) async fn get(State(state): State<AppState>) -> Result<Json<TelegramView>, WebError> {
    Ok(Json(TelegramView::of(&state).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TelegramContent {
    token: Option<String>,
    api: Option<String>,
}

/// `PUT /api/v1/telegram`
pub(crate) async fn put(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<Json<TelegramContent>, JsonRejection>,
) -> Result<Json<TelegramView>, WebError> {
    let Json(asked) = body?;
    let (token, api) = (given(asked.token.as_deref()), given(asked.api.as_deref()).map(str::to_owned));
    let what = if token.is_some() { "a new token" } else { "the token it had" };
    let text = format!("{} sets up messages by Telegram, with {what}", who.name());
    let fields = [("api", api.as_deref().unwrap_or("its own")), ("user", who.name())];
    state.note(Level::Security, "telegram.set_up", text, &fields).await?;
    state.system().put_telegram(token.map(Into::into), api).await?;
    Ok(Json(TelegramView::of(&state).await?))
}

/// `DELETE /api/v1/telegram`: no messages any more. Who is bound stays so, for a bot that comes later.
pub(crate) async fn remove(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
) -> Result<Json<TelegramView>, WebError> {
    let text = format!("{} ends messages by Telegram", who.name());
    state.note(Level::Security, "telegram.removed", text, &[("user", who.name())]).await?;
    state.system().remove_telegram().await?;
    Ok(Json(TelegramView::of(&state).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoticesContent {
    notices: Vec<String>,
}

fn notices(asked: &NoticesContent) -> Result<Notices, WebError> {
    let one = |code: &String| {
        let message = || format!("{code:?} is no notice: write alarms, refusals or openings");
        Notice::from_code(code).ok_or_else(|| WebError::bad_request("bad_notices", message()))
    };
    asked.notices.iter().map(one).collect::<Result<_, _>>().map(Notices)
}

fn person(text: &str) -> Result<Name, WebError> {
    Name::new(text).map_err(|error| WebError::bad_request("bad_name", error.to_string()))
}

fn missing(id: &str) -> WebError {
    SystemError::NotFound { what: "chat of", id: id.to_owned() }.into()
}

/// A code, shown once.
#[derive(Serialize)]
pub(crate) struct CodeView {
    code: String,
    /// A link that sends it, once the bot's name is known.
    link: Option<String>,
    until: String,
}

/// `POST /api/v1/telegram/people/{id}/code`: what somebody writes to the bot to be reached there.
pub(crate) async fn make_code(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<NoticesContent>, JsonRejection>,
) -> Result<Json<CodeView>, WebError> {
    let Json(asked) = body?;
    let (person, notices) = (person(&id)?, notices(&asked)?);
    let known = state.store().access().person(&person).await?;
    known.ok_or_else(|| SystemError::NotFound { what: "person", id: id.clone() })?;
    let text = format!("{} made a code that binds a Telegram chat to {person}", who.name());
    let told = notices.to_string();
    let fields = [("person", &*id), ("notices", &*told), ("user", who.name())];
    state.note(Level::Security, "telegram.code_made", text, &fields).await?;
    let made = state.store().telegram().make_code(&person, &notices).await?;
    let code = made.code.expose().to_owned();
    let link = state.system().telegram().status().account.map(|bot| format!("https://t.me/{bot}?start={code}"));
    Ok(Json(CodeView { code, link, until: made.until.to_string() }))
}

async fn binding(state: &AppState, id: &str) -> Result<Binding, WebError> {
    let found = state.store().telegram().bindings().await?.into_iter().find(|it| it.person.as_str() == id);
    found.ok_or_else(|| missing(id))
}

/// `PUT /api/v1/telegram/people/{id}`: what they are told.
pub(crate) async fn set_notices(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<NoticesContent>, JsonRejection>,
) -> Result<Json<BindingView>, WebError> {
    let Json(asked) = body?;
    let (person, notices) = (person(&id)?, notices(&asked)?);
    let told = notices.to_string();
    let text = format!("{} sets what {person} is told by Telegram", who.name());
    let fields = [("person", &*id), ("notices", &*told), ("user", who.name())];
    state.note(Level::Security, "telegram.notices", text, &fields).await?;
    state.store().telegram().set_notices(&person, &notices).await?;
    Ok(Json(binding(&state, &id).await?.into()))
}

/// `DELETE /api/v1/telegram/people/{id}`: they are not reached any more, and their buttons are dead.
pub(crate) async fn unbind(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<BindingView>, WebError> {
    let found = binding(&state, &id).await?;
    let text = format!("{id} is no longer reached by Telegram: ended by {}", who.name());
    let fields = [("person", &*id), ("user", who.name())];
    state.note(Level::Security, "telegram.unbound", text, &fields).await?;
    state.store().telegram().unbind(&found.person).await?;
    Ok(Json(found.into()))
}

/// What came of a message.
#[derive(Serialize)]
pub(crate) struct TriedView {
    is_said: bool,
    /// What Telegram said, if it was not.
    problem: Option<String>,
}

/// `POST /api/v1/telegram/people/{id}/test`: a message now. That it failed is an answer, not an error.
pub(crate) async fn try_out(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<TriedView>, WebError> {
    let found = binding(&state, &id).await?;
    let text = format!("A message to try this out, sent by {}.", who.name());
    let telegram = state.system().telegram();
    let tried = telegram.try_out(found.chat, &text, state.clock());
    let tried = tokio::time::timeout(std::time::Duration::from_secs(25), tried).await.map_err(|_| {
        WebError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "Telegram does not answer: try again in a moment")
    })?;
    let problem = tried.err().map(|error| error.to_string());
    Ok(Json(TriedView { is_said: problem.is_none(), problem }))
}
