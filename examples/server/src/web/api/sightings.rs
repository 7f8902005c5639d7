//! Sightings: list, their pictures, and deleting one.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use godvision_core::journal::Level;
use serde::{Deserialize, Serialize};

use super::super::guard::Who;
use super::super::system::SystemError;
use super::super::{AppState, WebError};
use super::{Asked, Id, given, moment, name};
use crate::store::{KeptSighting, SightingQuery};

/// Sightings in a page when nothing is said.
const LIMIT_DEFAULT: usize = 24;
/// Longest subject that is asked for.
const SUBJECT_CHARS_MAX: usize = 100;
/// What can be seen.
pub(crate) const KINDS: [&str; 5] = ["qr", "plate", "face", "watched", "stranger"];

/// What a list of sightings may be asked for; the page and the API understand the same.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct SightingParameters {
    pub(crate) camera: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) before: Option<u64>,
    pub(crate) limit: Option<usize>,
}

impl SightingParameters {
    pub(crate) fn query(&self) -> Result<SightingQuery, WebError> {
        let kind = given(self.kind.as_deref());
        if let Some(kind) = kind.filter(|kind| !KINDS.contains(kind)) {
            let message = format!("kind={kind:?} is none of {}", KINDS.join(", "));
            return Err(WebError::bad_request("bad_kind", message));
        }
        let subject = given(self.subject.as_deref());
        if subject.is_some_and(|subject| subject.chars().count() > SUBJECT_CHARS_MAX) {
            let message = format!("a subject has at most {SUBJECT_CHARS_MAX} characters");
            return Err(WebError::bad_request("bad_subject", message));
        }
        // A plate is found however it is written.
        let subject = subject.map(|text| match text.parse::<godvision_vision::plate::PlateText>() {
            Ok(plate) if kind.is_none_or(|kind| kind == "plate") => plate.to_string(),
            _ => text.to_owned(),
        });
        Ok(SightingQuery {
            camera: name("camera", self.camera.as_deref())?,
            kind: kind.map(str::to_owned),
            subject,
            from: moment("from", self.from.as_deref())?,
            to: moment("to", self.to.as_deref())?,
            before: self.before,
            limit: self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, crate::store::SIGHTING_PAGE_MAX),
        })
    }
}

#[derive(Serialize)]
pub(crate) struct SightingList {
    sightings: Vec<SightingView>,
    next: Option<u64>,
}

#[derive(Serialize)]
struct SightingView {
    id: u64,
    at: String,
    camera: String,
    kind: String,
    subject: Option<String>,
    owner: Option<String>,
    standing: Option<String>,
    near: Vec<String>,
    score: u16,
    region: [u16; 4],
    crop_bytes: u64,
}

impl From<KeptSighting> for SightingView {
    fn from(it: KeptSighting) -> Self {
        Self {
            id: it.id,
            at: it.at.to_string(),
            camera: it.camera,
            kind: it.kind,
            subject: it.subject,
            owner: it.owner,
            standing: it.standing,
            near: it.near.iter().flat_map(|near| near.split(' ')).map(str::to_owned).collect(),
            score: it.score,
            region: [it.region.left, it.region.top, it.region.right, it.region.bottom],
            crop_bytes: it.crop_bytes,
        }
    }
}

/// `GET /api/v1/sightings`
pub(crate) async fn list(
    State(state): State<AppState>,
    Asked(parameters): Asked<SightingParameters>,
) -> Result<Json<SightingList>, WebError> {
    let query = parameters.query()?;
    let found = state.store().sightings().list(&query).await?;
    let next = (found.len() == query.limit).then(|| found.last().map(|it| it.id)).flatten();
    Ok(Json(SightingList { sightings: found.into_iter().map(SightingView::from).collect(), next }))
}

fn not_found(id: &str) -> WebError {
    SystemError::NotFound { what: "sighting", id: id.to_owned() }.into()
}

/// `GET /api/v1/sightings/{id}/crop`: its picture. A browser may keep it but asks each time whether it may still show it:
/// it can be deleted, and others may sign in at the same browser.
pub(crate) async fn crop(State(state): State<AppState>, Id(id): Id, headers: HeaderMap) -> Result<Response, WebError> {
    let number: u64 = id.parse().map_err(|_| not_found(&id))?;
    let jpeg = state.store().sightings().crop(number).await?.ok_or_else(|| not_found(&id))?;
    // A picture never changes under its id, and an id is never used twice.
    let tag = format!("\"{number}\"");
    let about = [
        (header::CONTENT_TYPE, "image/jpeg".to_owned()),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
        (header::ETAG, tag.clone()),
    ];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    Ok((about, jpeg).into_response())
}

/// `DELETE /api/v1/sightings/{id}`: it and its picture are gone for good. The journal says that, not what was seen.
pub(crate) async fn remove(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<StatusCode, WebError> {
    let number: u64 = id.parse().map_err(|_| not_found(&id))?;
    let found = state.store().sightings().find(number).await?.ok_or_else(|| not_found(&id))?;
    // Journalled first: nothing that people could look at goes without a line.
    let text = format!("{} deleted a sighting of {}", who.name(), found.camera);
    let at = found.at.to_string();
    let fields =
        [("camera", &*found.camera), ("kind", &*found.kind), ("seen", &*at), ("number", &*id), ("user", who.name())];
    state.note(Level::Security, "sighting.deleted", text, &fields).await?;
    state.store().sightings().remove(number).await?;
    Ok(StatusCode::NO_CONTENT)
}
