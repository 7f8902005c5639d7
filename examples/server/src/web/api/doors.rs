//! Doors: list, open.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use godvision_core::signal::door::{Decision, DoorState, Indication, Verdict};
use serde::Serialize;

use super::super::guard::Who;
use super::super::system::{Door, SystemError};
use super::super::{AppState, WebError};
use super::Id;

#[derive(Serialize)]
pub(crate) struct DoorList {
    doors: Vec<DoorView>,
}

#[derive(Serialize)]
struct DoorView {
    id: String,
    title: String,
    state: &'static str,
    since: String,
    indication: &'static str,
    open_for_ms: Option<u64>,
    detail: String,
    decisions: Vec<DecisionView>,
}

/// A decision as programs see it.
#[derive(Serialize)]
pub(crate) struct DecisionView {
    source: String,
    door: Option<String>,
    user: Option<String>,
    credential: &'static str,
    verdict: &'static str,
    reason: &'static str,
    reason_text: String,
    rule: Option<String>,
    presented: String,
    decided: String,
}

/// Stable code of a door's state.
pub(crate) fn state_code(state: DoorState) -> &'static str {
    match state {
        DoorState::Unknown => "unknown",
        DoorState::Locked => "locked",
        DoorState::Unlocking => "unlocking",
        DoorState::Unlocked => "unlocked",
        DoorState::Free => "free",
        DoorState::LockedDown => "locked_down",
        DoorState::Fault => "fault",
    }
}

/// Stable code of what a reader shows.
pub(crate) fn indication_code(indication: Indication) -> &'static str {
    match indication {
        Indication::Ready => "ready",
        Indication::Busy => "busy",
        Indication::Awaiting => "awaiting",
        Indication::Open => "open",
        Indication::Held => "held",
        Indication::Refused => "refused",
    }
}

/// Stable code of a verdict.
pub(crate) fn verdict_code(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Admit => "admit",
        Verdict::Refuse => "refuse",
    }
}

impl From<&Decision> for DecisionView {
    fn from(decision: &Decision) -> Self {
        Self {
            source: decision.source.to_string(),
            door: decision.door.as_ref().map(ToString::to_string),
            user: decision.user.as_ref().map(ToString::to_string),
            credential: decision.credential,
            verdict: verdict_code(decision.verdict),
            reason: decision.reason.code(),
            reason_text: decision.reason.to_string(),
            rule: decision.rule.as_ref().map(ToString::to_string),
            presented: decision.presented.wall.to_string(),
            decided: decision.decided.wall.to_string(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<&Door> for DoorView {
    fn from(door: &Door) -> Self {
        Self {
            id: door.id.to_string(),
            title: door.title.clone(),
            state: state_code(door.state),
            since: door.since.to_string(),
            indication: indication_code(door.indication),
            open_for_ms: door.open_for.map(millis),
            detail: door.detail.clone(),
            decisions: door.decisions.iter().map(DecisionView::from).collect(),
        }
    }
}

/// `GET /api/v1/doors`
pub(crate) async fn list(State(state): State<AppState>) -> Json<DoorList> {
    Json(DoorList { doors: state.system().doors().iter().map(DoorView::from).collect() })
}

/// `POST /api/v1/doors/{id}/open`. A refusal is an answer like any other: `verdict` says it.
pub(crate) async fn open(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<DecisionView>, WebError> {
    let found = state.system().doors().into_iter().find(|door| door.id.as_str() == id);
    let door = found.ok_or(SystemError::NotFound { what: "door", id })?;
    let decision = state.system().open_door(&door.id, who.name()).await?;
    Ok(Json(DecisionView::from(&decision)))
}
