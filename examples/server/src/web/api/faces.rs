//! Faces: who is known, enrolment by photos, forgetting, strangers who come again, and a search by a photo.
//!
//! All of it is for administrators: it is about people's bodies. Photos come as JPEG; none of them is kept but a small
//! picture of the face, sealed.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use godvision_core::journal::Level;
use godvision_core::{Name, WallTime};
use godvision_vision::face::gallery::{Deletion, List, Person};
use serde::{Deserialize, Serialize};

use super::super::guard::Who;
use super::super::system::SystemError;
use super::super::{AppState, WebError};
use super::Id;
use crate::store::{ENROL_PHOTOS_MAX, FaceProblem, KeptSighting, PHOTO_BYTES_MAX, SightingQuery};

/// Largest enrolment: eight photos as a page sends them, and room for some that are larger.
pub(crate) const ENROL_BYTES_MAX: usize = 16 << 20;
/// Largest photo that is searched for.
pub(crate) const SEARCH_BYTES_MAX: usize = PHOTO_BYTES_MAX;
/// Longest words of a consent or reason, in characters.
pub(crate) const WORDS_CHARS_MAX: usize = 1000;
/// Deletions that are listed.
pub(crate) const DELETIONS_SHOWN: usize = 20;
/// Groups of strangers that are listed.
pub(crate) const STRANGERS_SHOWN: usize = 50;
/// Pictures shown of one group.
const GROUP_PICTURES: usize = 4;
/// Faces that a search gives.
const FOUND_MAX: usize = 24;
/// Least similarity of a face that a search gives: below it, it is somebody else.
const FOUND_MIN: f32 = 0.36;
/// A face of the history belongs to the sighting of its camera that is nearest, within this: a track is reported a moment
/// after it began.
const NEAR_MICROS: i64 = 3_000_000;

#[derive(Serialize)]
pub(crate) struct FaceList {
    persons: Vec<PersonView>,
    forgotten: Vec<DeletionView>,
}

#[derive(Serialize)]
pub(crate) struct PersonView {
    person: String,
    list: &'static str,
    photos: usize,
    by: String,
    at: String,
    words: String,
}

impl From<Person> for PersonView {
    fn from(it: Person) -> Self {
        Self {
            person: it.name.to_string(),
            list: it.list.code(),
            photos: it.photos,
            by: it.statement.by().to_owned(),
            at: it.statement.at().to_string(),
            words: it.statement.text().to_owned(),
        }
    }
}

#[derive(Serialize)]
struct DeletionView {
    person: String,
    list: &'static str,
    photos: usize,
    by: String,
    at: String,
    why: String,
}

impl From<Deletion> for DeletionView {
    fn from(it: Deletion) -> Self {
        Self {
            person: it.person.to_string(),
            list: it.list.code(),
            photos: it.photos,
            by: it.statement.by().to_owned(),
            at: it.statement.at().to_string(),
            why: it.statement.text().to_owned(),
        }
    }
}

/// `GET /api/v1/faces`
pub(crate) async fn list(State(state): State<AppState>) -> Json<FaceList> {
    let faces = state.store().faces();
    Json(FaceList {
        persons: faces.persons().into_iter().map(PersonView::from).collect(),
        forgotten: faces.deletions(DELETIONS_SHOWN).into_iter().map(DeletionView::from).collect(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolBody {
    person: String,
    list: String,
    words: String,
    photos: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Enrolled {
    person: Option<PersonView>,
    photos: Vec<PhotoView>,
}

#[derive(Serialize)]
struct PhotoView {
    taken: bool,
    code: Option<&'static str>,
    why: Option<String>,
}

impl From<Option<FaceProblem>> for PhotoView {
    fn from(problem: Option<FaceProblem>) -> Self {
        let code = problem.as_ref().map(FaceProblem::code);
        Self { taken: problem.is_none(), code, why: problem.map(|problem| problem.to_string()) }
    }
}

fn person_name(text: &str) -> Result<Name, WebError> {
    Name::new(text.trim()).map_err(|error| WebError::bad_request("bad_person", error.to_string()))
}

fn words(text: &str, what: &str) -> Result<String, WebError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > WORDS_CHARS_MAX {
        let message = format!("{what} has 1 to {WORDS_CHARS_MAX} characters");
        return Err(WebError::bad_request("bad_words", message));
    }
    Ok(text.to_owned())
}

fn must_be_new(state: &AppState, person: &Name) -> Result<(), WebError> {
    if state.store().faces().persons().iter().any(|known| known.name == *person) {
        let message = format!("{person} is here already: take another name, or forget that one first");
        return Err(WebError::bad_request("bad_person", message));
    }
    Ok(())
}

/// Who says the words, and the words as they are recorded.
fn statement(list: List, person: &Name, who: &Who, words: &str) -> (String, String) {
    match list {
        List::Allow => (person.to_string(), format!("{words} (recorded by {})", who.name())),
        List::Watch => (who.name().to_owned(), words.to_owned()),
    }
}

fn found(state: &AppState, person: &Name) -> Option<PersonView> {
    state.store().faces().persons().into_iter().find(|known| known.name == *person).map(PersonView::from)
}

/// `POST /api/v1/faces`: says of each photo why it does not serve; enrols with the others, if there are any.
pub(crate) async fn enrol(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<Json<EnrolBody>, JsonRejection>,
) -> Result<Json<Enrolled>, WebError> {
    let Json(EnrolBody { person, list, words: text, photos }) = body?;
    let person = person_name(&person)?;
    let list = match &*list {
        "allow" => List::Allow,
        "watch" => List::Watch,
        other => {
            return Err(WebError::bad_request("bad_list", format!("list={other:?} is none of allow, watch")));
        }
    };
    let text = words(&text, if list == List::Allow { "what the person agreed to" } else { "the reason to watch" })?;
    must_be_new(&state, &person)?;
    if photos.is_empty() || photos.len() > ENROL_PHOTOS_MAX {
        return Err(WebError::bad_request("bad_photos", format!("give 1 to {ENROL_PHOTOS_MAX} photos")));
    }
    // What is no base64 is no photo either, and is told so at its place.
    let photos = photos.iter().map(|photo| Bytes::from(STANDARD.decode(photo).unwrap_or_default())).collect();
    let prepared = state.store().faces().prepare(photos).await?;
    if prepared.rows.is_none() {
        return Ok(Json(Enrolled { person: None, photos: prepared.photos.into_iter().map(PhotoView::from).collect() }));
    }
    // Journalled first: nobody is known by their face without a line that says who made it so.
    let note = format!("{} enrolled the face of {person} on the list {}", who.name(), list.code());
    let fields = [("person", person.as_str()), ("list", list.code()), ("user", who.name())];
    state.note(Level::Security, "face.enrolled", note, &fields).await?;
    let (by, text) = statement(list, &person, &who, &text);
    state.store().faces().enrol(&person, list, &prepared, &by, &text).await?;
    let photos = prepared.photos.into_iter().map(PhotoView::from).collect();
    Ok(Json(Enrolled { person: found(&state, &person), photos }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForgetBody {
    why: String,
}

#[derive(Serialize)]
pub(crate) struct ForgottenView {
    photos: usize,
    history_faces: usize,
    sightings: usize,
}

/// `DELETE /api/v1/faces/{id}`: the person's rows, picture, sightings, and the faces of the history that are like theirs.
pub(crate) async fn forget(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<ForgetBody>, JsonRejection>,
) -> Result<Json<ForgottenView>, WebError> {
    let Json(ForgetBody { why }) = body?;
    let missing = || SystemError::NotFound { what: "person", id: id.clone() };
    let person = Name::new(&id).map_err(|_| missing())?;
    let known = state.store().faces().persons().into_iter().find(|known| known.name == person);
    let known = known.ok_or_else(missing)?;
    let why = words(&why, "the reason to forget")?;
    let text = format!("{} forgot the face of {person}", who.name());
    let fields = [("person", person.as_str()), ("list", known.list.code()), ("why", &*why), ("user", who.name())];
    state.note(Level::Security, "face.forgotten", text, &fields).await?;
    let forgotten = state.store().faces().forget(&person, who.name(), &why).await?;
    let sightings = remove_sightings(&state, person.as_str(), &["face", "watched"]).await?;
    let (photos, history_faces) = (forgotten.deletion.photos, forgotten.history_faces);
    Ok(Json(ForgottenView { photos, history_faces, sightings }))
}

/// Removes what was seen of somebody.
async fn remove_sightings(state: &AppState, subject: &str, kinds: &[&str]) -> Result<usize, WebError> {
    let sightings = state.store().sightings();
    let mut removed = 0;
    for kind in kinds {
        let query = SightingQuery {
            kind: Some((*kind).to_owned()),
            subject: Some(subject.to_owned()),
            limit: crate::store::SIGHTING_PAGE_MAX,
            ..SightingQuery::default()
        };
        loop {
            let page = sightings.list(&query).await?;
            if page.is_empty() {
                break;
            }
            for it in page {
                removed += usize::from(sightings.remove(it.id).await?);
            }
        }
    }
    Ok(removed)
}

/// `GET /api/v1/faces/{id}/photo`
pub(crate) async fn photo(State(state): State<AppState>, Id(id): Id) -> Result<Response, WebError> {
    let missing = || SystemError::NotFound { what: "picture of", id: id.clone() };
    let person = Name::new(&id).map_err(|_| missing())?;
    let jpeg = state.store().faces().portrait(&person).await?.ok_or_else(missing)?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response())
}

#[derive(Serialize)]
pub(crate) struct StrangerList {
    strangers: Vec<StrangerView>,
}

/// Somebody nobody knows, who was seen several times.
#[derive(Serialize)]
pub(crate) struct StrangerView {
    pub(crate) group: u64,
    /// What their sightings call them.
    pub(crate) name: String,
    pub(crate) faces: u64,
    /// Sightings with a picture, newest first.
    pub(crate) sightings: Vec<u64>,
}

/// Groups of strangers that have a picture to know them by, the most seen first.
pub(crate) async fn groups(state: &AppState) -> Result<Vec<StrangerView>, WebError> {
    let faces = state.store().faces();
    let mut groups = Vec::new();
    for (group, count) in faces.strangers().into_iter().take(STRANGERS_SHOWN) {
        let name = faces.group_name(group);
        let seen = sightings_of(state, &name).await?;
        let sightings = seen.iter().filter(|it| it.crop_bytes > 0).map(|it| it.id).take(GROUP_PICTURES).collect();
        groups.push(StrangerView { group, name, faces: count, sightings });
    }
    Ok(groups)
}

async fn sightings_of(state: &AppState, group: &str) -> Result<Vec<KeptSighting>, WebError> {
    let query = SightingQuery {
        kind: Some("stranger".to_owned()),
        subject: Some(group.to_owned()),
        limit: 2 * GROUP_PICTURES,
        ..SightingQuery::default()
    };
    Ok(state.store().sightings().list(&query).await?)
}

/// `GET /api/v1/strangers`
pub(crate) async fn strangers(State(state): State<AppState>) -> Result<Json<StrangerList>, WebError> {
    Ok(Json(StrangerList { strangers: groups(&state).await? }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameBody {
    person: String,
    words: String,
}

fn group(id: &str) -> Result<u64, WebError> {
    let missing = |_| SystemError::NotFound { what: "group of strangers", id: id.to_owned() };
    Ok(id.parse::<u64>().map_err(missing)?)
}

fn must_be_there(state: &AppState, group: u64) -> Result<(), WebError> {
    let is_there = state.store().faces().strangers().iter().any(|(known, _)| *known == group);
    let missing = || SystemError::NotFound { what: "group of strangers", id: group.to_string() };
    Ok(is_there.then_some(()).ok_or_else(missing)?)
}

/// `PUT /api/v1/strangers/{id}`: a group becomes a person who agreed.
pub(crate) async fn name_stranger(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<NameBody>, JsonRejection>,
) -> Result<Json<PersonView>, WebError> {
    let Json(NameBody { person, words: text }) = body?;
    let group = group(&id)?;
    must_be_there(&state, group)?;
    let person = person_name(&person)?;
    let text = words(&text, "what the person agreed to")?;
    must_be_new(&state, &person)?;
    let name = state.store().faces().group_name(group);
    let note = format!("{} enrolled the unknown face {name} as {person}", who.name());
    let fields = [("person", person.as_str()), ("list", "allow"), ("group", &*name), ("user", who.name())];
    state.note(Level::Security, "face.enrolled", note, &fields).await?;
    let seen = sightings_of(&state, &name).await?;
    let portrait = match seen.iter().find(|it| it.crop_bytes > 0) {
        Some(it) => state.store().sightings().crop(it.id).await?,
        None => None,
    };
    let (by, text) = statement(List::Allow, &person, &who, &text);
    state.store().faces().name_stranger(group, &person, &by, &text, portrait).await?;
    let missing = || SystemError::NotFound { what: "person", id: person.to_string() };
    Ok(Json(found(&state, &person).ok_or_else(missing)?))
}

/// `DELETE /api/v1/strangers/{id}`: the group and what was seen of it.
pub(crate) async fn forget_stranger(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<ForgottenView>, WebError> {
    let group = group(&id)?;
    must_be_there(&state, group)?;
    let name = state.store().faces().group_name(group);
    let text = format!("{} forgot the unknown face {name}", who.name());
    state.note(Level::Security, "face.forgotten", text, &[("group", &*name), ("user", who.name())]).await?;
    state.store().faces().memory().strangers(|strangers| strangers.forget(group));
    let sightings = remove_sightings(&state, &name, &["stranger"]).await?;
    Ok(Json(ForgottenView { photos: 0, history_faces: 0, sightings }))
}

#[derive(Serialize)]
pub(crate) struct FoundList {
    found: Vec<FoundView>,
}

#[derive(Serialize)]
struct FoundView {
    similarity: u16,
    at: String,
    camera: String,
    sighting: Option<u64>,
    kind: Option<String>,
    subject: Option<String>,
}

/// `POST /api/v1/face-search`: when and where somebody like the face of a photo was seen since the server started.
pub(crate) async fn search(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<FoundList>, WebError> {
    let photo = body.map_err(|rejection| WebError::new(rejection.status(), "bad_body", rejection.body_text()))?;
    let photo = state.store().faces().look(photo).await?;
    // Looking for a person is an act that touches people: it leaves a line too.
    let text = format!("{} searched the faces that were seen by a photo", who.name());
    state.note(Level::Security, "face.searched", text, &[("user", who.name())]).await?;
    let all = WallTime::from_unix_micros(i64::MIN)..WallTime::from_unix_micros(i64::MAX);
    let mut found = Vec::new();
    for (similarity, seen) in state.store().faces().search(&photo, all, FOUND_MAX)? {
        if similarity < FOUND_MIN {
            continue;
        }
        let at = seen.at.wall;
        let nearest = nearest_sighting(&state, &seen.camera, at).await?;
        found.push(FoundView {
            similarity: (similarity.clamp(0.0, 1.0) * 1000.0) as u16,
            at: at.to_string(),
            camera: seen.camera.to_string(),
            sighting: nearest.as_ref().filter(|it| it.crop_bytes > 0).map(|it| it.id),
            kind: nearest.as_ref().map(|it| it.kind.clone()),
            subject: nearest.and_then(|it| it.subject),
        });
    }
    Ok(Json(FoundList { found }))
}

async fn nearest_sighting(state: &AppState, camera: &Name, at: WallTime) -> Result<Option<KeptSighting>, WebError> {
    let query = SightingQuery {
        camera: Some(camera.clone()),
        from: Some(at.plus_micros(-NEAR_MICROS)),
        to: Some(at.plus_micros(NEAR_MICROS)),
        limit: 16,
        ..SightingQuery::default()
    };
    let near = state.store().sightings().list(&query).await?;
    let faces = near.into_iter().filter(|it| matches!(&*it.kind, "face" | "watched" | "stranger"));
    Ok(faces.min_by_key(|it| (it.at.as_unix_micros() - at.as_unix_micros()).abs()))
}
