//! The keys that sign guests' passes: listed, made, retired, withdrawn. Every change is journalled with who made it.
//!
//! **Never:** a key, neither half of it.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::{Extension, Json};
use godvision_core::WallTime;
use godvision_core::journal::Level;
use serde::Serialize;

use super::super::guard::Who;
use super::super::{AppState, WebError};
use super::Id;
use super::passes::{WithdrawalReason, WithdrawnView, why};
use crate::store::{AccessProblem, KeptKey, StoreError};

#[derive(Serialize)]
pub(crate) struct KeyView {
    id: u8,
    /// `signing`, `verifying`, `ended` or `withdrawn`.
    state: &'static str,
    from: String,
    until: Option<String>,
    /// When the last pass of it can have ended.
    ends: Option<String>,
    made_by: Option<String>,
    /// Passes that would end with it.
    live: u64,
    withdrawn: Option<WithdrawnView>,
}

impl KeyView {
    fn of(key: &KeptKey, now: WallTime) -> Self {
        Self {
            id: key.id,
            state: key.state(now).code(),
            from: key.signing.from.to_string(),
            until: key.signing.until.map(|it| it.to_string()),
            ends: key.ends().map(|it| it.to_string()),
            made_by: Some(key.made_by.clone()).filter(|it| !it.is_empty()),
            live: key.live,
            withdrawn: key.withdrawn.as_ref().map(WithdrawnView::from),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct KeyList {
    keys: Vec<KeyView>,
}

async fn listed(state: &AppState) -> Result<Json<KeyList>, WebError> {
    let (keys, now) = (state.store().access().pass_keys().await?, state.clock().wall());
    Ok(Json(KeyList { keys: keys.iter().map(|key| KeyView::of(key, now)).collect() }))
}

/// `GET /api/v1/pass-keys`: newest first.
pub(crate) async fn list(State(state): State<AppState>) -> Result<Json<KeyList>, WebError> {
    listed(&state).await
}

/// `POST /api/v1/pass-keys`: a new key signs from now on.
pub(crate) async fn make(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
) -> Result<Json<KeyList>, WebError> {
    let entry = |id: u8| {
        let text = format!("{} made key {id}, which signs passes from now on", who.name());
        state.entry(Level::Security, "passkey.made", text, &[("key", &id.to_string()), ("user", who.name())])
    };
    // Once before anything changes, so that a name that cannot be journalled is refused here.
    let prepared = entry(0)?;
    state.store().access().rotate_pass_key(who.name(), |id| entry(id).unwrap_or(prepared)).await?;
    listed(&state).await
}

fn id_of(text: &str) -> Result<u8, WebError> {
    let missing = || StoreError::Access(AccessProblem::NoPassKey { id: text.chars().take(8).collect() });
    Ok(text.parse().map_err(|_| missing())?)
}

/// `POST /api/v1/pass-keys/{id}/retire`: signs nothing any more; what it signed is believed until it ends.
pub(crate) async fn retire(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<KeyList>, WebError> {
    let id = id_of(&id)?;
    let text = format!("{} retired key {id}: it signs no passes any more", who.name());
    let entry =
        state.entry(Level::Security, "passkey.retired", text, &[("key", &id.to_string()), ("user", who.name())])?;
    state.store().access().retire_pass_key(id, entry).await?;
    listed(&state).await
}

/// `POST /api/v1/pass-keys/{id}/withdraw`: nothing that it signed opens anything any more, at once and for good.
pub(crate) async fn withdraw(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<WithdrawalReason>, JsonRejection>,
) -> Result<Json<KeyList>, WebError> {
    let Json(WithdrawalReason { reason }) = body?;
    let (id, reason) = (id_of(&id)?, why(&reason)?);
    let entry = |live: u64| {
        let text = format!("{} withdrew key {id} with {live} live passes: {reason}", who.name());
        let (key, live) = (id.to_string(), live.to_string());
        let fields = [("key", &*key), ("passes", &live), ("reason", reason), ("user", who.name())];
        state.entry(Level::Security, "passkey.withdrawn", text, &fields)
    };
    let prepared = entry(0)?;
    let access = state.store().access();
    access.withdraw_pass_key(id, who.name(), reason, |live| entry(live).unwrap_or(prepared)).await?;
    listed(&state).await
}
