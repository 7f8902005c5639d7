//! What operators command of the premises: lockdown, emergency, alarms they have looked at, who is where, and readers that
//! are locked out. Each command is journalled with who gave it before it is in force.
//!
//! **Never:** a silent alarm in an answer to a viewer, whose screen may stand at the door.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::{Extension, Json};
use godvision_core::Name;
use godvision_core::signal::door::AlarmKind;
use serde::{Deserialize, Serialize};

use super::super::guard::Who;
use super::super::system::{Door, Failing, Freedom, Mode, PremisesCommand, SystemError};
use super::super::{AppState, WebError};
use super::Id;
use super::doors::DoorView;
use crate::store::Role;

#[derive(Serialize)]
pub(crate) struct PremisesView {
    emergency: bool,
    areas: Vec<AreaView>,
    locked_out: Vec<LockedOutView>,
}

#[derive(Serialize)]
struct AreaView {
    area: String,
    inside: Vec<String>,
}

#[derive(Serialize)]
struct LockedOutView {
    kind: &'static str,
    name: String,
    until: String,
}

/// Stable code of how a door is kept.
pub(crate) fn mode_code(mode: Mode) -> &'static str {
    match mode {
        Mode::Normal => "normal",
        Mode::Free(_) => "free",
        Mode::LockedDown => "locked_down",
    }
}

/// Stable code of why a door is free.
pub(crate) fn freedom_code(mode: Mode) -> Option<&'static str> {
    match mode {
        Mode::Free(Freedom::Emergency) => Some("emergency"),
        Mode::Free(Freedom::FirstCard) => Some("first_card"),
        Mode::Free(Freedom::Schedule) => Some("schedule"),
        Mode::Normal | Mode::LockedDown => None,
    }
}

/// The alarms at `door` that `who` is shown.
pub(crate) fn shown_alarms(door: &Door, who: &Who) -> Vec<AlarmKind> {
    let is_shown = |kind: &AlarmKind| !kind.is_silent() || who.may(Role::Operator);
    door.alarms.iter().copied().filter(is_shown).collect()
}

/// Whether it stands until somebody says that they have looked.
pub(crate) fn waits_for_somebody(kind: AlarmKind) -> bool {
    matches!(kind, AlarmKind::Forced | AlarmKind::Duress)
}

/// `reader` or `person`, and which.
pub(crate) fn failing_code(who: &Failing) -> (&'static str, &Name) {
    match who {
        Failing::Source(name) => ("reader", name),
        Failing::Person(name) => ("person", name),
    }
}

fn view(state: &AppState) -> PremisesView {
    let now = state.system().premises();
    let names = |names: Vec<Name>| names.iter().map(Name::to_string).collect();
    PremisesView {
        emergency: now.is_emergency,
        areas: now
            .areas
            .into_iter()
            .map(|it| AreaView { area: it.area.to_string(), inside: names(it.inside) })
            .collect(),
        locked_out: now
            .locked_out
            .iter()
            .map(|it| {
                let (kind, name) = failing_code(&it.who);
                LockedOutView { kind, name: name.to_string(), until: it.until.to_string() }
            })
            .collect(),
    }
}

/// `GET /api/v1/premises`
pub(crate) async fn get(State(state): State<AppState>) -> Json<PremisesView> {
    Json(view(&state))
}

fn name(text: &str) -> Result<Name, WebError> {
    Name::new(text.trim()).map_err(|error| WebError::bad_request("bad_name", error.to_string()))
}

fn door(state: &AppState, id: String) -> Result<Door, WebError> {
    let found = state.system().doors().into_iter().find(|door| door.id.as_str() == id);
    Ok(found.ok_or(SystemError::NotFound { what: "door", id })?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    on: bool,
}

async fn command(state: &AppState, who: &Who, command: PremisesCommand) -> Result<(), WebError> {
    Ok(state.system().command(command, who.name()).await?)
}

/// `PUT /api/v1/lockdown`: of every door.
pub(crate) async fn lockdown(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<Json<Turn>, JsonRejection>,
) -> Result<Json<PremisesView>, WebError> {
    let Json(Turn { on: is_on }) = body?;
    let doors = state.system().doors().into_iter().map(|door| door.id).collect();
    command(&state, &who, PremisesCommand::Lockdown { doors, is_on }).await?;
    Ok(Json(view(&state)))
}

/// `PUT /api/v1/doors/{id}/lockdown`
pub(crate) async fn lockdown_one(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<Turn>, JsonRejection>,
) -> Result<Json<DoorView>, WebError> {
    let Json(Turn { on: is_on }) = body?;
    let doors = vec![door(&state, id.clone())?.id];
    command(&state, &who, PremisesCommand::Lockdown { doors, is_on }).await?;
    Ok(Json(DoorView::of(&state, &who, &door(&state, id)?).await))
}

/// `PUT /api/v1/emergency`
pub(crate) async fn emergency(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<Json<Turn>, JsonRejection>,
) -> Result<Json<PremisesView>, WebError> {
    let Json(Turn { on: is_on }) = body?;
    command(&state, &who, PremisesCommand::Emergency { is_on }).await?;
    Ok(Json(view(&state)))
}

/// `POST /api/v1/doors/{id}/acknowledge`: somebody has looked; alarms that do not end by themselves are over.
pub(crate) async fn acknowledge(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<DoorView>, WebError> {
    let seen = door(&state, id.clone())?.id;
    command(&state, &who, PremisesCommand::Acknowledge { door: seen }).await?;
    Ok(Json(DoorView::of(&state, &who, &door(&state, id)?).await))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forgiven {
    person: String,
}

/// `POST /api/v1/premises/forgive`: where somebody was last seen, and their failures, are forgotten.
pub(crate) async fn forgive(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<Json<Forgiven>, JsonRejection>,
) -> Result<Json<PremisesView>, WebError> {
    let Json(Forgiven { person }) = body?;
    command(&state, &who, PremisesCommand::Forgive { person: name(&person)? }).await?;
    Ok(Json(view(&state)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unblocked {
    reader: String,
}

/// `POST /api/v1/premises/unblock`: a locked-out reader may be used again.
pub(crate) async fn unblock(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<Json<Unblocked>, JsonRejection>,
) -> Result<Json<PremisesView>, WebError> {
    let Json(Unblocked { reader }) = body?;
    command(&state, &who, PremisesCommand::Unblock { source: name(&reader)? }).await?;
    Ok(Json(view(&state)))
}
