//! The board of a guard post: one lane a door, with a lamp that is read from afar.
//!
//! **Never:** a lamp that says GO while the relay has not confirmed it.

use godvision_core::signal::door::{DoorState, Indication};

use super::*;
use crate::web::system::{Door, SystemError};

/// Most lanes: what fits a wall screen.
pub(crate) const LANES_MAX: usize = 8;

#[derive(serde::Deserialize)]
pub(in crate::web) struct BoardParameters {
    doors: Option<String>,
}

struct LastDecision {
    verdict: &'static str,
    who: Option<String>,
    credential: &'static str,
    reason: &'static str,
    at: Moment,
    picture: Option<String>,
    clip: Option<String>,
}

struct Lane {
    id: String,
    path: String,
    title: String,
    lamp: &'static str,
    state: &'static str,
    indication: &'static str,
    since: Moment,
    detail: String,
    open_for: Option<String>,
    last: Option<LastDecision>,
    stand: premises::Standing,
}

#[derive(Template)]
#[template(path = "board.html")]
struct BoardPage {
    shell: Shell,
    lanes: Vec<Lane>,
    /// What the page asks the server to wait for a change of.
    revision: String,
    /// Doors that are not shown.
    more: usize,
    whole: premises::Whole,
}

/// What the lamp shows: `go`, `stop`, `wait` or `fault`.
pub(crate) fn lamp(state: DoorState, indication: Indication) -> &'static str {
    match (state, indication) {
        (DoorState::Unlocked | DoorState::Free, _) => "go",
        (DoorState::Unknown | DoorState::Fault, _) => "fault",
        (DoorState::LockedDown, _) => "stop",
        (DoorState::Unlocking, _) | (DoorState::Locked, Indication::Awaiting | Indication::Busy) => "wait",
        (DoorState::Locked, _) => "stop",
    }
}

/// `GET /board`
pub(in crate::web) async fn board(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Asked(asked): Asked<BoardParameters>,
) -> Response {
    match page(&state, &who, &asked).await {
        Ok(page) => shown(&page),
        Err(error) => error_page(error),
    }
}

async fn page(state: &AppState, who: &Who, asked: &BoardParameters) -> Result<BoardPage, WebError> {
    let all = state.system().doors();
    // Before the doors are drawn: a change in between is asked for again.
    let revision = crate::web::api::doors::revision(&all, who);
    let chosen: Vec<&Door> = match given(asked.doors.as_deref()) {
        None => all.iter().collect(),
        Some(list) => list
            .split(',')
            .map(str::trim)
            .filter(|id| !id.is_empty())
            .map(|id| {
                let found = all.iter().find(|door| door.id.as_str() == id);
                found.ok_or_else(|| SystemError::NotFound { what: "door", id: id.to_owned() })
            })
            .collect::<Result<_, _>>()?,
    };
    let mut lanes = Vec::new();
    for door in chosen.iter().take(LANES_MAX) {
        lanes.push(lane(state, who, door).await?);
    }
    let more = chosen.len().saturating_sub(LANES_MAX);
    let whole = premises::Whole::new(state, &all);
    Ok(BoardPage { shell: Shell::new("board", who), lanes, revision, more, whole })
}

async fn lane(state: &AppState, who: &Who, door: &Door) -> Result<Lane, WebError> {
    let last = match door.decisions.first() {
        None => None,
        Some(decision) => {
            let seen = moments::picture_of(state, door, decision).await;
            let mut picture = seen.map(|id| format!("/api/v1/sightings/{id}/crop"));
            // The enrolled face is for administrators.
            if let (None, Some(user), true) = (&picture, &decision.user, who.may(Role::Admin))
                && decision.credential != "manual"
                && state.store().faces().portraits().await?.contains(user.as_str())
            {
                picture = Some(format!("/api/v1/faces/{}/photo", escape(user.as_str()).replace('/', "%2F")));
            }
            let row = DecisionRow::from(decision);
            Some(LastDecision {
                verdict: row.verdict,
                who: row.who,
                credential: row.credential,
                reason: row.reason,
                at: row.at,
                picture,
                clip: moments::clip_of(state, door, decision).await,
            })
        }
    };
    Ok(Lane {
        id: door.id.to_string(),
        path: escape(door.id.as_str()).replace('/', "%2F"),
        title: door.title.clone(),
        lamp: lamp(door.state, door.indication),
        state: door.state.code(),
        indication: indication_code(door.indication),
        since: door.since.into(),
        detail: door.detail.clone(),
        open_for: door.open_for.map(length),
        stand: premises::Standing::new(door, who),
        last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lamp_says_go_only_when_the_door_is_open() {
        use {DoorState as S, Indication as I};
        for (state, indication, expected) in [
            (S::Unlocked, I::Open, "go"),
            (S::Unlocked, I::Held, "go"),
            (S::Free, I::Ready, "go"),
            (S::Unlocking, I::Open, "wait"),
            (S::Locked, I::Ready, "stop"),
            (S::Locked, I::Refused, "stop"),
            (S::Locked, I::Held, "stop"),
            (S::Locked, I::Awaiting, "wait"),
            (S::Locked, I::Busy, "wait"),
            (S::LockedDown, I::Awaiting, "stop"),
            (S::Unknown, I::Ready, "fault"),
            (S::Fault, I::Open, "fault"),
        ] {
            assert_eq!(lamp(state, indication), expected, "{state:?} {indication:?}");
        }
    }
}
