//! What of the premises stands on the doors page and the board: alarms, how doors are kept, who is inside, who is locked
//! out, and the emergency.

use super::*;
use crate::web::api::premises::{failing_code, freedom_code, mode_code, shown_alarms, waits_for_somebody};
use crate::web::system::{Door, PremisesNow};

/// An alarm that stands.
pub(super) struct AlarmRow {
    pub(super) code: &'static str,
}

/// How a door is kept and what is wrong there.
pub(super) struct Standing {
    pub(super) id: String,
    pub(super) path: String,
    pub(super) title: String,
    pub(super) mode: &'static str,
    pub(super) freedom: &'static str,
    pub(super) is_ajar: Option<bool>,
    pub(super) alarms: Vec<AlarmRow>,
    /// Whether one of them stands until somebody has looked.
    pub(super) waits: bool,
    pub(super) may_operate: bool,
}

impl Standing {
    pub(super) fn new(door: &Door, who: &Who) -> Self {
        let alarms = shown_alarms(door, who);
        Self {
            id: door.id.to_string(),
            path: escape(door.id.as_str()).replace('/', "%2F"),
            title: door.title.clone(),
            mode: mode_code(door.mode),
            freedom: freedom_code(door.mode).unwrap_or_default(),
            is_ajar: door.is_ajar,
            waits: alarms.iter().copied().any(waits_for_somebody),
            alarms: alarms.into_iter().map(|kind| AlarmRow { code: kind.code() }).collect(),
            may_operate: who.may(Role::Operator),
        }
    }
}

pub(super) struct AreaRow {
    pub(super) area: String,
    pub(super) inside: Vec<String>,
}

pub(super) struct LockedOutRow {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) until: Moment,
}

/// What concerns no single door.
pub(super) struct Whole {
    pub(super) is_emergency: bool,
    /// Whether a lockdown of every door would change anything.
    pub(super) may_lock_down: bool,
    pub(super) may_end_lockdown: bool,
    pub(super) areas: Vec<AreaRow>,
    pub(super) locked_out: Vec<LockedOutRow>,
}

impl Whole {
    pub(super) fn new(state: &AppState, doors: &[Door]) -> Self {
        let PremisesNow { is_emergency, areas, locked_out } = state.system().premises();
        let is_locked_down = |door: &Door| mode_code(door.mode) == "locked_down";
        let row = |it: crate::web::system::LockedOut| {
            let (kind, name) = failing_code(&it.who);
            LockedOutRow { kind, name: name.to_string(), until: it.until.into() }
        };
        Self {
            is_emergency,
            may_lock_down: doors.iter().any(|door| !is_locked_down(door)),
            may_end_lockdown: doors.iter().any(is_locked_down),
            areas: areas
                .into_iter()
                .map(|it| AreaRow {
                    area: it.area.to_string(),
                    inside: it.inside.iter().map(ToString::to_string).collect(),
                })
                .collect(),
            locked_out: locked_out.into_iter().map(row).collect(),
        }
    }
}
