//! The page of the people of the site.

use godvision_core::Name;

use super::*;
use crate::store::{Person, PersonKey};
use crate::web::api::people::PeopleParameters;

struct KeyChip {
    id: u64,
    kind: &'static str,
    label: String,
    is_revoked: bool,
    is_outdated: bool,
    added: Moment,
}

impl From<PersonKey> for KeyChip {
    fn from(it: PersonKey) -> Self {
        Self {
            id: it.id,
            kind: it.kind.code(),
            label: it.label,
            is_revoked: it.is_revoked,
            is_outdated: it.is_outdated,
            added: it.added.into(),
        }
    }
}

struct PersonRow {
    name: String,
    path: String,
    title: String,
    note: String,
    groups: Vec<(String, String)>,
    groups_text: String,
    is_revoked: bool,
    has_face: bool,
    keys: Vec<KeyChip>,
}

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    shell: Shell,
    search: String,
    group: String,
    groups: Vec<String>,
    /// Groups that somebody is put in and no rule document names.
    unnamed: Vec<String>,
    rows: Vec<PersonRow>,
    is_first_page: bool,
    first: String,
    next: Option<String>,
    title_max: usize,
    note_max: usize,
}

/// `GET /people`
pub(in crate::web) async fn people(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Asked(asked): Asked<PeopleParameters>,
) -> Response {
    match page(&state, &who, &asked).await {
        Ok(page) => shown(&page),
        Err(error) => error_page(error),
    }
}

async fn page(state: &AppState, who: &Who, asked: &PeopleParameters) -> Result<PeoplePage, WebError> {
    let query = asked.query()?;
    let access = state.store().access();
    let found = access.people(&query).await?;
    let last = found.last().filter(|_| found.len() == query.limit).map(|it| it.name.to_string());
    let faces: std::collections::BTreeSet<Name> =
        state.store().faces().persons().into_iter().map(|it| it.name).collect();
    let group = query.group.as_ref().map(Name::to_string).unwrap_or_default();
    let address = |after: &str| address("/people", &[("search", &query.search), ("group", &group), ("after", after)]);
    let named = access.rules().groups;
    let groups = access.groups();
    let row = |it: Person| PersonRow {
        path: escape(it.name.as_str()).replace('/', "%2F"),
        has_face: faces.contains(&it.name),
        name: it.name.to_string(),
        title: it.title,
        note: it.note,
        groups: it.groups.iter().map(|it| (it.to_string(), escape(it.as_str()))).collect(),
        groups_text: it.groups.iter().map(Name::as_str).collect::<Vec<_>>().join(", "),
        is_revoked: it.is_revoked,
        keys: it.keys.into_iter().map(KeyChip::from).collect(),
    };
    Ok(PeoplePage {
        shell: Shell::new("people", who),
        rows: found.into_iter().map(row).collect(),
        is_first_page: query.after.is_empty(),
        first: address(""),
        next: last.map(|last| address(&last)),
        unnamed: groups.iter().filter(|it| !named.contains(it)).map(Name::to_string).collect(),
        groups: groups.iter().map(Name::to_string).collect(),
        search: query.search.clone(),
        group,
        title_max: crate::store::TITLE_CHARS_MAX,
        note_max: crate::store::PERSON_NOTE_CHARS_MAX,
    })
}
