//! The page of the people whose faces are known, and of those who come again unknown.

use godvision_vision::face::gallery::{List, Person};

use super::*;
use crate::store::ENROL_PHOTOS_MAX;
use crate::web::api::faces::{DELETIONS_SHOWN, StrangerView, WORDS_CHARS_MAX, groups};

/// People shown at once; a search by name finds the others.
const PERSONS_SHOWN: usize = 200;

#[derive(serde::Deserialize)]
pub(in crate::web) struct FaceParameters {
    search: Option<String>,
}

struct PersonCard {
    name: String,
    path: String,
    is_watched: bool,
    photos: usize,
    has_portrait: bool,
    by: String,
    at: Moment,
    words: String,
}

struct DeletionRow {
    name: String,
    by: String,
    at: Moment,
    why: String,
}

struct CameraChoice {
    path: String,
    title: String,
}

#[derive(Template)]
#[template(path = "faces.html")]
struct FacesPage {
    shell: Shell,
    persons: Vec<PersonCard>,
    search: String,
    /// How many are not shown.
    more: usize,
    strangers: Vec<StrangerView>,
    cameras: Vec<CameraChoice>,
    deletions: Vec<DeletionRow>,
    photos_max: usize,
    words_max: usize,
}

/// `GET /faces`
pub(in crate::web) async fn faces(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Asked(asked): Asked<FaceParameters>,
) -> Response {
    match page(&state, &who, &asked).await {
        Ok(page) => shown(&page),
        Err(error) => error_page(error),
    }
}

async fn page(state: &AppState, who: &Who, asked: &FaceParameters) -> Result<FacesPage, WebError> {
    let faces = state.store().faces();
    let search = given(asked.search.as_deref()).unwrap_or_default().to_owned();
    let wanted = search.to_lowercase();
    let mut persons = faces.persons();
    persons.retain(|person| person.name.as_str().to_lowercase().contains(&wanted));
    let more = persons.len().saturating_sub(PERSONS_SHOWN);
    persons.truncate(PERSONS_SHOWN);
    let portraits = faces.portraits().await?;
    let persons = persons.into_iter().map(|person| {
        let has_portrait = portraits.contains(person.name.as_str());
        card(person, has_portrait)
    });
    let deletions = faces.deletions(DELETIONS_SHOWN).into_iter().map(|it| DeletionRow {
        name: it.person.to_string(),
        by: it.statement.by().to_owned(),
        at: it.statement.at().into(),
        why: it.statement.text().to_owned(),
    });
    let cameras = state.system().cameras().into_iter();
    let cameras = cameras.map(|it| CameraChoice { path: escape(it.id.as_str()).replace('/', "%2F"), title: it.title });
    Ok(FacesPage {
        shell: Shell::new("faces", who),
        persons: persons.collect(),
        search,
        more,
        strangers: groups(state).await?,
        cameras: cameras.collect(),
        deletions: deletions.collect(),
        photos_max: ENROL_PHOTOS_MAX,
        words_max: WORDS_CHARS_MAX,
    })
}

fn card(person: Person, has_portrait: bool) -> PersonCard {
    PersonCard {
        path: escape(person.name.as_str()).replace('/', "%2F"),
        name: person.name.to_string(),
        is_watched: person.list == List::Watch,
        photos: person.photos,
        has_portrait,
        by: person.statement.by().to_owned(),
        at: person.statement.at().into(),
        words: person.statement.text().to_owned(),
    }
}
