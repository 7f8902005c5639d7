//! The page of the keys that sign passes.

use super::*;
use crate::store::KeptKey;

struct KeyRow {
    id: u8,
    state: &'static str,
    from: Moment,
    until: Option<Moment>,
    ends: Option<Moment>,
    made_by: String,
    live: u64,
    why: Option<(String, String, Moment)>,
}

#[derive(Template)]
#[template(path = "pass_keys.html")]
struct KeysPage {
    shell: Shell,
    rows: Vec<KeyRow>,
    is_signing: bool,
}

fn row(key: KeptKey, now: WallTime) -> KeyRow {
    KeyRow {
        id: key.id,
        state: key.state(now).code(),
        from: key.signing.from.into(),
        until: key.signing.until.map(Moment::from),
        ends: key.ends().map(Moment::from),
        live: key.live,
        why: key.withdrawn.map(|it| (it.by, it.reason, it.at.into())),
        made_by: key.made_by,
    }
}

/// `GET /pass-keys`
pub(in crate::web) async fn list(State(state): State<AppState>, Extension(who): Extension<Who>) -> Response {
    let keys = match state.store().access().pass_keys().await {
        Ok(keys) => keys,
        Err(error) => return error_page(error.into()),
    };
    let now = state.clock().wall();
    let rows: Vec<KeyRow> = keys.into_iter().map(|key| row(key, now)).collect();
    let is_signing = rows.iter().any(|it| it.state == "signing");
    shown(&KeysPage { shell: Shell::new("passes", &who), rows, is_signing })
}
