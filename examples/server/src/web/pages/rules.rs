//! The page of the rules: the document as text, its versions, and a form that asks why.

use super::*;
use crate::store::{PEOPLE_PAGE_MAX, PeopleQuery};

struct VersionRow {
    id: u64,
    at: Moment,
    by: String,
    is_in_force: bool,
}

struct DoorChoice {
    value: String,
    title: String,
}

#[derive(Template)]
#[template(path = "rules.html")]
struct RulesPage {
    shell: Shell,
    version: u64,
    rules: usize,
    text: String,
    refused: Option<String>,
    versions: Vec<VersionRow>,
    people: Vec<String>,
    doors: Vec<DoorChoice>,
}

/// `GET /rules`
pub(in crate::web) async fn rules(State(state): State<AppState>, Extension(who): Extension<Who>) -> Response {
    match page(&state, &who).await {
        Ok(page) => shown(&page),
        Err(error) => error_page(error),
    }
}

async fn page(state: &AppState, who: &Who) -> Result<RulesPage, WebError> {
    let access = state.store().access();
    let now = access.rules();
    let version = now.version.id;
    let row = |it: crate::store::RuleVersion| VersionRow {
        is_in_force: it.id == version,
        id: it.id,
        at: it.at.into(),
        by: it.by,
    };
    let people = access.people(&PeopleQuery { limit: PEOPLE_PAGE_MAX, ..PeopleQuery::default() }).await?;
    let doors = state.system().doors().into_iter();
    Ok(RulesPage {
        shell: Shell::new("rules", who),
        version,
        rules: now.rules,
        text: now.text.to_string(),
        refused: now.refused,
        versions: access.versions().await?.into_iter().map(row).collect(),
        people: people.into_iter().map(|it| it.name.to_string()).collect(),
        doors: doors.map(|it| DoorChoice { value: it.id.to_string(), title: it.title }).collect(),
    })
}
