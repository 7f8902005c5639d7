//! The page of the plates that somebody wrote down.

use super::*;
use crate::store::{KnownPlate, NOTE_CHARS_MAX, OWNER_CHARS_MAX};
use crate::web::api::plates::PlateParameters;

struct PlateRow {
    plate: String,
    owner: String,
    note: String,
    standing: &'static str,
    from: Option<Moment>,
    to: Option<Moment>,
    /// The last day of the period: it ends before `to`.
    last: Option<Moment>,
    is_current: bool,
}

#[derive(Template)]
#[template(path = "plates.html")]
struct PlatesPage {
    shell: Shell,
    search: String,
    rows: Vec<PlateRow>,
    is_first_page: bool,
    first: String,
    next: Option<String>,
    export: String,
    owner_max: usize,
    note_max: usize,
}

/// `GET /plates`
pub(in crate::web) async fn plates(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Asked(asked): Asked<PlateParameters>,
) -> Response {
    match page(&state, &who, &asked).await {
        Ok(page) => shown(&page),
        Err(error) => error_page(error),
    }
}

async fn page(state: &AppState, who: &Who, asked: &PlateParameters) -> Result<PlatesPage, WebError> {
    let (search, after, limit) = asked.query()?;
    let found = state.store().plates().page(search, after, limit).await?;
    let last = found.last().filter(|_| found.len() == limit).map(|it| it.plate.to_string());
    let now = state.clock().wall();
    let row = |it: KnownPlate| PlateRow {
        is_current: it.from.is_none_or(|from| now >= from) && it.to.is_none_or(|to| now < to),
        plate: it.plate.to_string(),
        owner: it.owner,
        note: it.note,
        standing: it.standing.code(),
        from: it.from.map(Moment::from),
        to: it.to.map(Moment::from),
        last: it.to.map(|to| to.plus_micros(-1).into()),
    };
    Ok(PlatesPage {
        shell: Shell::new("plates", who),
        search: search.to_owned(),
        rows: found.into_iter().map(row).collect(),
        is_first_page: after.is_empty(),
        first: address("/plates", &[("search", search)]),
        next: last.map(|last| address("/plates", &[("search", search), ("after", &last)])),
        export: address("/plates.csv", &[("search", search)]),
        owner_max: OWNER_CHARS_MAX,
        note_max: NOTE_CHARS_MAX,
    })
}
