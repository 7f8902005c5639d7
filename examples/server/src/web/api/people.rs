//! People, their groups and what they carry. Every change is journalled with who made it, in one transaction.
//!
//! **Never:** a PIN or a whole card number in an answer; a change that the doors could not use.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::{Extension, Json};
use godvision_core::journal::{Entry, Level};
use godvision_core::{Name, Secret};
use serde::{Deserialize, Serialize};

use super::super::guard::Who;
use super::super::{AppState, WebError};
use super::{Asked, Id, given};
use crate::store::{AccessProblem, KeyKind, PEOPLE_PAGE_MAX, PeopleQuery, Person, PersonKey};

/// People in a page when nothing is said.
pub(crate) const LIMIT_DEFAULT: usize = 100;
/// Longest text that is searched for.
const SEARCH_CHARS_MAX: usize = 100;

/// What may be asked for; the page and the API understand the same.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct PeopleParameters {
    pub(crate) search: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) after: Option<String>,
    pub(crate) limit: Option<usize>,
}

impl PeopleParameters {
    pub(crate) fn query(&self) -> Result<PeopleQuery, WebError> {
        let search = given(self.search.as_deref()).unwrap_or_default();
        if search.chars().count() > SEARCH_CHARS_MAX {
            let message = format!("a search has at most {SEARCH_CHARS_MAX} characters");
            return Err(WebError::bad_request("bad_search", message));
        }
        Ok(PeopleQuery {
            search: search.to_owned(),
            group: super::name("group", self.group.as_deref())?,
            after: given(self.after.as_deref()).unwrap_or_default().to_owned(),
            limit: self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, PEOPLE_PAGE_MAX),
        })
    }
}

#[derive(Serialize)]
pub(crate) struct PersonView {
    name: String,
    title: String,
    note: String,
    groups: Vec<String>,
    revoked: bool,
    keys: Vec<KeyView>,
}

#[derive(Serialize)]
pub(crate) struct KeyView {
    id: u64,
    kind: &'static str,
    label: String,
    revoked: bool,
    set_anew: bool,
    added: String,
}

impl From<&PersonKey> for KeyView {
    fn from(it: &PersonKey) -> Self {
        Self {
            id: it.id,
            kind: it.kind.code(),
            label: it.label.clone(),
            revoked: it.is_revoked,
            set_anew: it.is_outdated,
            added: it.added.to_string(),
        }
    }
}

impl From<&Person> for PersonView {
    fn from(it: &Person) -> Self {
        Self {
            name: it.name.to_string(),
            title: it.title.clone(),
            note: it.note.clone(),
            groups: it.groups.iter().map(Name::to_string).collect(),
            revoked: it.is_revoked,
            keys: it.keys.iter().map(KeyView::from).collect(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct PersonList {
    people: Vec<PersonView>,
    groups: Vec<String>,
    next: Option<String>,
}

/// `GET /api/v1/people`
pub(crate) async fn list(
    State(state): State<AppState>,
    Asked(parameters): Asked<PeopleParameters>,
) -> Result<Json<PersonList>, WebError> {
    let query = parameters.query()?;
    let access = state.store().access();
    let found = access.people(&query).await?;
    let next = (found.len() == query.limit).then(|| found.last().map(|it| it.name.to_string())).flatten();
    let groups = access.groups().iter().map(Name::to_string).collect();
    Ok(Json(PersonList { people: found.iter().map(PersonView::from).collect(), groups, next }))
}

fn person_name(text: &str) -> Result<Name, WebError> {
    Name::new(text.trim()).map_err(|error| WebError::bad_request("bad_name", error.to_string()))
}

async fn person(state: &AppState, name: &Name) -> Result<Person, WebError> {
    let found = state.store().access().person(name).await?;
    found.ok_or_else(|| crate::store::StoreError::Access(AccessProblem::NoPerson { name: name.to_string() }).into())
}

/// What is written about a person; what they carry is changed one by one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonContent {
    #[serde(default)]
    title: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    revoked: bool,
}

fn line(
    state: &AppState,
    who: &Who,
    (code, text): (&str, String),
    person: &Name,
    more: &[(&'static str, &str)],
) -> Result<Entry, WebError> {
    let fields = [&[("person", person.as_str())], more, &[("user", who.name())]].concat();
    state.entry(Level::Security, code, text, &fields)
}

fn words(groups: &BTreeSet<Name>) -> String {
    groups.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// `PUT /api/v1/people/{id}`
pub(crate) async fn put(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<PersonContent>, JsonRejection>,
) -> Result<Json<PersonView>, WebError> {
    let Json(content) = body?;
    let name = person_name(&id)?;
    let group = |text: &String| {
        Name::new(text.trim()).map_err(|error| WebError::bad_request("bad_groups", format!("{text:?}: {error}")))
    };
    let next = Person {
        title: content.title.trim().to_owned(),
        note: content.note.trim().to_owned(),
        groups: content.groups.iter().map(group).collect::<Result<_, _>>()?,
        is_revoked: content.revoked,
        ..Person::new(name.clone())
    };
    let access = state.store().access();
    let was = access.person(&name).await?;
    let user = who.name();
    let what = match was.as_ref().map(|was| was.is_revoked) {
        None => ("person.added", format!("{user} added the person {name}")),
        Some(false) if next.is_revoked => ("person.revoked", format!("{user} withdrew everything of {name}")),
        Some(true) if !next.is_revoked => ("person.returned", format!("{user} gave everything back to {name}")),
        Some(_) => ("person.changed", format!("{user} changed what is known of {name}")),
    };
    let (now, before) = (words(&next.groups), was.map(|was| words(&was.groups)).unwrap_or_default());
    let entry = line(&state, &who, what, &name, &[("groups", &now), ("groups_before", &before)])?;
    access.put_person(&next, entry).await?;
    Ok(Json((&person(&state, &name).await?).into()))
}

/// `DELETE /api/v1/people/{id}`: can be undone for a day.
pub(crate) async fn remove(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<PersonView>, WebError> {
    let name = person_name(&id)?;
    let was = person(&state, &name).await?;
    let text = format!("{} removed {name} with all they carry", who.name());
    state.store().access().remove_person(&name, line(&state, &who, ("person.removed", text), &name, &[])?).await?;
    Ok(Json((&was).into()))
}

/// `POST /api/v1/people/{id}/restore`
pub(crate) async fn restore(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<PersonView>, WebError> {
    let name = person_name(&id)?;
    let text = format!("{} brought {name} back", who.name());
    state.store().access().restore_person(&name, line(&state, &who, ("person.restored", text), &name, &[])?).await?;
    Ok(Json((&person(&state, &name).await?).into()))
}

/// A card, PIN or plate as somebody wrote it. Never printed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    kind: String,
    key: String,
}

/// `POST /api/v1/people/{id}/keys`
pub(crate) async fn add_key(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<NewKey>, JsonRejection>,
) -> Result<Json<PersonView>, WebError> {
    let body = body.map_err(|rejection| {
        // The parser's own words may repeat a part of the body.
        WebError::new(
            rejection.status(),
            "bad_body",
            "write {\"kind\": \"card\", \"pin\", \"duress_pin\" or \"plate\", \"key\": TEXT}",
        )
    });
    let Json(NewKey { kind, key }) = body?;
    let name = person_name(&id)?;
    let kind = KeyKind::from_code(&kind)
        .ok_or_else(|| WebError::bad_request("bad_kind", "the kind is none of card, pin, duress_pin, plate"))?;
    person(&state, &name).await?;
    let text = format!("{} gave {name} a {kind}", who.name());
    let blank = line(&state, &who, ("key.added", text), &name, &[("kind", kind.code())])?;
    let entry = |label: &str| if label.is_empty() { blank } else { blank.with("label", label) };
    state.store().access().add_key(&name, kind, Secret::from(key), entry).await?;
    Ok(Json((&person(&state, &name).await?).into()))
}

fn key_id(text: &str) -> Result<u64, WebError> {
    let missing = || WebError::new(axum::http::StatusCode::NOT_FOUND, "not_found", "nobody carries that");
    text.parse().map_err(|_| missing())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyState {
    revoked: bool,
}

/// `PUT /api/v1/keys/{id}`
pub(crate) async fn set_key(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<KeyState>, JsonRejection>,
) -> Result<Json<PersonView>, WebError> {
    let Json(KeyState { revoked }) = body?;
    let (id, access) = (key_id(&id)?, state.store().access());
    let key = access.key(id).await?;
    let (kind, name) = (key.kind, &key.person);
    let what = if revoked {
        ("key.withdrawn", format!("{} withdrew a {kind} of {name}", who.name()))
    } else {
        ("key.returned", format!("{} gave a {kind} back to {name}", who.name()))
    };
    let entry = line(&state, &who, what, name, &[("kind", kind.code()), ("label", &key.label)])?;
    access.set_key(id, revoked, entry).await?;
    Ok(Json((&person(&state, name).await?).into()))
}

/// `DELETE /api/v1/keys/{id}`: for good; whoever shows it is unknown from then on.
pub(crate) async fn remove_key(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<PersonView>, WebError> {
    let (id, access) = (key_id(&id)?, state.store().access());
    let key = access.key(id).await?;
    let (kind, name) = (key.kind, &key.person);
    let text = format!("{} removed a {kind} of {name}", who.name());
    let fields = [("kind", kind.code()), ("label", &*key.label)];
    access.remove_key(id, line(&state, &who, ("key.removed", text), name, &fields)?).await?;
    Ok(Json((&person(&state, name).await?).into()))
}

/// The page that shows somebody's rolling codes. Whoever has its address has the codes.
#[derive(Serialize)]
pub(crate) struct CodeView {
    link: Option<String>,
}

async fn code_view(state: &AppState, name: &Name) -> Result<Json<CodeView>, WebError> {
    let link = state.store().access().code_link(name).await?;
    Ok(Json(CodeView { link: link.map(|link| format!("/code/{}", link.expose())) }))
}

/// `GET /api/v1/people/{id}/code`
pub(crate) async fn code(State(state): State<AppState>, Id(id): Id) -> Result<Json<CodeView>, WebError> {
    let name = person_name(&id)?;
    person(&state, &name).await?;
    code_view(&state, &name).await
}

/// `POST /api/v1/people/{id}/code`: rolling codes with a new link; codes and link of before are dead.
pub(crate) async fn renew_code(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<CodeView>, WebError> {
    let name = person_name(&id)?;
    let text = format!("{} gave {name} rolling codes with a new link", who.name());
    let entry = line(&state, &who, ("code.renewed", text), &name, &[])?;
    state.store().access().renew_code(&name, entry).await?;
    code_view(&state, &name).await
}

/// `DELETE /api/v1/people/{id}/code`
pub(crate) async fn withdraw_code(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<CodeView>, WebError> {
    let name = person_name(&id)?;
    let text = format!("{} withdrew the rolling codes of {name}", who.name());
    let entry = line(&state, &who, ("code.withdrawn", text), &name, &[])?;
    state.store().access().withdraw_code(&name, entry).await?;
    code_view(&state, &name).await
}
