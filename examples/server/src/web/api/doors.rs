//! Doors: list, open.

use std::time::Duration;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::{Extension, Json};
use godvision_core::Name;
use godvision_core::journal::Level;
use godvision_core::signal::door::{AlarmKind, Decision, Indication, Verdict};
use serde::{Deserialize, Serialize};

use super::super::guard::Who;
use super::super::pages::moments;
use super::super::system::{Door, SystemError};
use super::super::{AppState, WebError};
use super::{Asked, Id, premises};

#[derive(Serialize)]
pub(crate) struct DoorList {
    doors: Vec<DoorView>,
}

#[derive(Serialize)]
pub(crate) struct DoorView {
    id: String,
    title: String,
    state: &'static str,
    since: String,
    indication: &'static str,
    open_for_ms: Option<u64>,
    detail: String,
    cameras: Vec<String>,
    mode: &'static str,
    free_because: Option<&'static str>,
    ajar: Option<bool>,
    alarms: Vec<&'static str>,
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
    /// The page that plays the clip around it, once there is one.
    clip: Option<String>,
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

impl DecisionView {
    async fn of(state: &AppState, door: &Door, decision: &Decision) -> Self {
        Self {
            clip: moments::clip_of(state, door, decision).await,
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

impl DoorView {
    pub(crate) async fn of(state: &AppState, who: &Who, door: &Door) -> Self {
        let mut decisions = Vec::with_capacity(door.decisions.len());
        for decision in &door.decisions {
            decisions.push(DecisionView::of(state, door, decision).await);
        }
        Self {
            id: door.id.to_string(),
            title: door.title.clone(),
            state: door.state.code(),
            since: door.since.to_string(),
            indication: indication_code(door.indication),
            open_for_ms: door.open_for.map(millis),
            detail: door.detail.clone(),
            cameras: door.cameras.iter().map(ToString::to_string).collect(),
            mode: premises::mode_code(door.mode),
            free_because: premises::freedom_code(door.mode),
            ajar: door.is_ajar,
            alarms: premises::shown_alarms(door, who).into_iter().map(AlarmKind::code).collect(),
            decisions,
        }
    }
}

/// `GET /api/v1/doors`
pub(crate) async fn list(State(state): State<AppState>, Extension(who): Extension<Who>) -> Json<DoorList> {
    let mut doors = Vec::new();
    for door in state.system().doors() {
        doors.push(DoorView::of(&state, &who, &door).await);
    }
    Json(DoorList { doors })
}

/// How long an answer waits for a change.
const CHANGE_WAIT: Duration = Duration::from_secs(15);
/// How often it looks: what a lamp may be behind by, beside the network.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A text that differs whenever something of the doors that a board shows `who` does.
pub(crate) fn revision(doors: &[Door], who: &Who) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hash = DefaultHasher::new();
    for door in doors {
        (door.id.as_str(), door.state, door.since, door.indication, &door.detail).hash(&mut hash);
        (door.mode, door.is_ajar, premises::shown_alarms(door, who)).hash(&mut hash);
        let last = door.decisions.first();
        last.map(|it| (it.decided.wall, it.verdict, it.reason, it.user.as_ref().map(Name::as_str))).hash(&mut hash);
    }
    format!("{:016x}", hash.finish())
}

#[derive(Deserialize)]
pub(crate) struct ChangeParameters {
    since: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct ChangeView {
    revision: String,
}

/// `GET /api/v1/doors/changes`: answers at once if `since` is not the revision now, else when it no longer is, or after
/// [`CHANGE_WAIT`] all the same.
pub(crate) async fn changes(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Asked(parameters): Asked<ChangeParameters>,
) -> Json<ChangeView> {
    let looks = CHANGE_WAIT.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        let revision = revision(&state.system().doors(), &who);
        if parameters.since.as_deref() != Some(&revision) || state.live().is_stopping() {
            return Json(ChangeView { revision });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Json(ChangeView { revision: revision(&state.system().doors(), &who) })
}

/// Most characters of a reason to open by hand.
const REASON_CHARS_MAX: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opening {
    reason: String,
}

/// `POST /api/v1/doors/{id}/open`: with a reason, which is journalled first. A refusal is an answer like any other: `verdict` says it.
pub(crate) async fn open(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<Opening>, JsonRejection>,
) -> Result<Json<DecisionView>, WebError> {
    let Json(Opening { reason }) = body?;
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
        let message = format!("say why, in at most {REASON_CHARS_MAX} characters: the journal keeps it");
        return Err(WebError::bad_request("bad_reason", message));
    }
    let found = state.system().doors().into_iter().find(|door| door.id.as_str() == id);
    let door = found.ok_or(SystemError::NotFound { what: "door", id })?;
    let text = format!("{} asks to open {} by hand: {reason}", who.name(), door.id);
    let fields = [("door", door.id.as_str()), ("reason", reason), ("user", who.name())];
    state.note(Level::Security, "door.by_hand", text, &fields).await?;
    let decision = state.system().open_door(&door.id, who.name(), reason).await?;
    Ok(Json(DecisionView::of(&state, &door, &decision).await))
}
