//! Doors as an administrator edits them: a form made of the unit's own specification. A relay's address goes in and never
//! comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::{Extension, Json};
use godvision_access::driver_spec::{AddressField, DriverSpec, FieldKind, PulseEnd, Verified};
use godvision_core::bus::{ParamKind, ParamSpec, ParamValue};
use godvision_core::journal::Level;
use godvision_core::{Name, Secret};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::guard::Who;
use super::super::system::{DoorChange, DoorSetup, RelayAsk, RelayForm, RelayReading, RelayShown, SystemError};
use super::super::{AppState, WebError};
use super::{Id, given, name};

/// The parameter of a door that is its relay's address.
const RELAY: &str = "relay";
/// How long a relay is tried.
const TEST_PULSE: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct FieldView {
    name: &'static str,
    kind: &'static str,
    about: &'static str,
    required: bool,
    min: Option<f64>,
    max: Option<f64>,
    /// For a choice.
    choices: Option<&'static [&'static str]>,
    default: Option<Value>,
    value: Option<Value>,
    /// Whether it has a value that is not shown.
    is_set: bool,
}

#[derive(Serialize)]
struct SourceView {
    output: String,
    linked: bool,
}

/// What a form may show of a relay's address.
#[derive(Serialize)]
struct RelayView {
    driver: String,
    fields: BTreeMap<&'static str, String>,
    /// What is set and not shown.
    kept: Vec<&'static str>,
}

impl From<RelayShown> for RelayView {
    fn from(it: RelayShown) -> Self {
        Self { driver: it.driver, fields: it.fields.into_iter().collect(), kept: it.kept }
    }
}

#[derive(Serialize)]
pub(crate) struct SetupView {
    fields: Vec<FieldView>,
    sources: Vec<SourceView>,
    relay: Option<RelayView>,
}

fn json(value: &ParamValue) -> Option<Value> {
    Some(match value {
        ParamValue::Text(text) => text.as_str().into(),
        ParamValue::Integer(number) => (*number).into(),
        ParamValue::Number(number) => (*number).into(),
        ParamValue::Flag(flag) => (*flag).into(),
        ParamValue::Texts(texts) => texts.clone().into(),
        ParamValue::Secret(_) | ParamValue::SecretName(_) => return None,
    })
}

#[expect(clippy::cast_precision_loss, reason = "the limits of a form's field")]
fn field(spec: &ParamSpec) -> FieldView {
    let (kind, min, max) = match spec.kind {
        ParamKind::Text => ("text", None, None),
        ParamKind::Secret => ("secret", None, None),
        ParamKind::Integer { min, max } => ("integer", Some(min as f64), Some(max as f64)),
        ParamKind::Number { min, max } => ("number", Some(min), Some(max)),
        ParamKind::Flag => ("flag", None, None),
        ParamKind::Seconds { min, max } => ("seconds", Some(min), Some(max)),
        ParamKind::Choice(_) => ("choice", None, None),
        ParamKind::Texts => ("texts", None, None),
    };
    FieldView {
        name: spec.name,
        kind,
        about: spec.about,
        required: !spec.optional && spec.default.is_none(),
        min,
        max,
        choices: if let ParamKind::Choice(all) = spec.kind { Some(all) } else { None },
        default: spec.default.as_ref().and_then(json),
        value: None,
        is_set: false,
    }
}

impl From<DoorSetup> for SetupView {
    fn from(setup: DoorSetup) -> Self {
        let fields = setup.fields.into_iter().map(|it| FieldView {
            value: it.value.as_ref().filter(|_| !matches!(it.spec.kind, ParamKind::Secret)).and_then(json),
            is_set: it.is_set,
            ..field(&it.spec)
        });
        let sources = setup.sources.into_iter().map(|it| SourceView { output: it.output, linked: it.is_linked });
        Self { fields: fields.collect(), sources: sources.collect(), relay: None }
    }
}

fn door(text: &str) -> Result<Name, WebError> {
    Name::new(text.trim()).map_err(|error| WebError::bad_request("bad_name", error.to_string()))
}

/// `GET /api/v1/door-setup`: of a door that is still to be made.
pub(crate) async fn blank(State(state): State<AppState>) -> Result<Json<SetupView>, WebError> {
    Ok(Json(state.system().door_setup(None)?.into()))
}

/// `GET /api/v1/doors/{id}/setup`
pub(crate) async fn get(State(state): State<AppState>, Id(id): Id) -> Result<Json<SetupView>, WebError> {
    setup(&state, &door(&id)?).await
}

async fn setup(state: &AppState, door: &Name) -> Result<Json<SetupView>, WebError> {
    let view = SetupView::from(state.system().door_setup(Some(door))?);
    let relay = state.system().relay_shown(door).await?.map(RelayView::from);
    Ok(Json(SetupView { relay, ..view }))
}

/// A relay's address as a form says it: the server writes the address, so that no page ever holds one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelayContent {
    driver: String,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// Fields that stay as they are kept.
    #[serde(default)]
    keep: Vec<String>,
}

/// The address of a relay, however it was said.
async fn address(
    state: &AppState,
    door: Option<&Name>,
    form: Option<RelayContent>,
) -> Result<Option<Secret>, WebError> {
    let Some(RelayContent { driver, fields, keep }) = form else { return Ok(None) };
    let form =
        RelayForm { driver, fields: fields.into_iter().map(|(key, value)| (key, Secret::from(value))).collect(), keep };
    state.system().relay_address(door, form).await.map(Some).map_err(told)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetupContent {
    #[serde(default)]
    params: serde_json::Map<String, Value>,
    /// The relay, instead of an address in `params`.
    #[serde(default)]
    relay: Option<RelayContent>,
    /// What is read at the door; left out: as it was.
    #[serde(default)]
    sources: Option<Vec<String>>,
}

/// A field as a form sends it. `Ok(None)`: nothing is said, an address stays as it was.
fn param(spec: &ParamSpec, value: &Value) -> Result<Option<Option<ParamValue>>, WebError> {
    let expected = || WebError::bad_request("bad_params", format!("{}: {} is expected", spec.name, spec.kind));
    let text = || value.as_str().ok_or_else(expected);
    let is_empty = value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
    Ok(Some(Some(match spec.kind {
        ParamKind::Secret if is_empty => return Ok(None),
        _ if is_empty => return Ok(Some(None)),
        ParamKind::Secret => ParamValue::Secret(Secret::from(text()?.trim())),
        ParamKind::Text | ParamKind::Choice(_) => ParamValue::Text(text()?.trim().to_owned()),
        ParamKind::Integer { .. } => ParamValue::Integer(value.as_i64().ok_or_else(expected)?),
        ParamKind::Number { .. } | ParamKind::Seconds { .. } => {
            ParamValue::Number(value.as_f64().ok_or_else(expected)?)
        }
        ParamKind::Flag => ParamValue::Flag(value.as_bool().ok_or_else(expected)?),
        ParamKind::Texts => {
            let texts = value.as_array().ok_or_else(expected)?.iter().map(|it| it.as_str().map(str::to_owned));
            ParamValue::Texts(texts.collect::<Option<_>>().ok_or_else(expected)?)
        }
    })))
}

/// `PUT /api/v1/doors/{id}/setup`: adds the door, or changes what is given.
pub(crate) async fn put(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<SetupContent>, JsonRejection>,
) -> Result<Json<SetupView>, WebError> {
    // The parser's own words may repeat a part of the body.
    let body =
        body.map_err(|it| WebError::new(it.status(), "bad_body", "write {\"params\": {...}, \"sources\": [...]}"));
    let Json(SetupContent { params, relay, sources }) = body?;
    let door = door(&id)?;
    let is_new = state.system().doors().iter().all(|it| it.id != door);
    let relay = address(&state, Some(&door).filter(|_| !is_new), relay).await?;
    let specs: Vec<ParamSpec> = state.system().door_setup(None)?.fields.into_iter().map(|it| it.spec).collect();
    let mut change = DoorChange { params: Vec::new(), sources };
    for (key, value) in &params {
        let spec = specs.iter().find(|spec| spec.name == key).ok_or_else(|| {
            WebError::bad_request("bad_params", format!("{}: this means nothing to a door", key.escape_debug()))
        })?;
        if let Some(value) = param(spec, value)? {
            change.params.push((key.clone(), value));
        }
    }
    if let Some(relay) = relay {
        change.params.retain(|(key, _)| key != RELAY);
        change.params.push((RELAY.to_owned(), Some(ParamValue::Secret(relay))));
    }
    let keys: Vec<&str> = change.params.iter().map(|(key, _)| key.as_str()).collect();
    let keys = keys.join(", ");
    let fields = [("door", door.as_str()), ("params", &keys), ("user", who.name())];
    let (asked, done, word) = match is_new {
        true => ("door.adding", "door.added", "added"),
        false => ("door.changing", "door.changed", "changed"),
    };
    // Journalled first: no door is another one without a line that says who made it so.
    let text = format!("{} asked for the door {door} to be {word} in the site document", who.name());
    state.note(Level::Security, asked, text, &fields).await?;
    state.system().put_door(&door, change).await.map_err(told)?;
    let text = format!("{} {word} the door {door} in the site document", who.name());
    state.note(Level::Security, done, text, &fields).await?;
    setup(&state, &door).await
}

/// What is refused is about a field: the page shows it there.
fn told(error: SystemError) -> WebError {
    match error {
        SystemError::Refused { detail } => WebError::bad_request("bad_params", detail),
        other => other.into(),
    }
}

#[derive(Serialize)]
pub(crate) struct RemovedView {
    door: String,
}

/// `DELETE /api/v1/doors/{id}`
pub(crate) async fn remove(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<RemovedView>, WebError> {
    let door = door(&id)?;
    let fields = [("door", door.as_str()), ("user", who.name())];
    let text = format!("{} asked for the door {door} to be removed from the site document", who.name());
    state.note(Level::Security, "door.removing", text, &fields).await?;
    state.system().remove_door(&door).await?;
    let text = format!("{} removed the door {door} from the site document", who.name());
    state.note(Level::Security, "door.removed", text, &fields).await?;
    Ok(Json(RemovedView { door: door.to_string() }))
}

#[derive(Serialize)]
struct DriverFieldView {
    key: &'static str,
    kind: &'static str,
    about: &'static str,
    required: bool,
    min: Option<u32>,
    max: Option<u32>,
    choices: Option<&'static [&'static str]>,
    default: Option<&'static str>,
    example: Option<&'static str>,
}

impl From<&AddressField> for DriverFieldView {
    fn from(field: &AddressField) -> Self {
        let (kind, min, max, choices) = match field.kind {
            FieldKind::Number { min, max } => ("integer", Some(min), Some(max), None),
            // Several with commas between them are a text to a form; the driver's own check says what is wrong.
            FieldKind::Host | FieldKind::Text | FieldKind::Numbers { .. } | FieldKind::Names { .. } => {
                ("text", None, None, None)
            }
            FieldKind::Password => ("secret", None, None, None),
            FieldKind::Choice(of) => ("choice", None, None, Some(of)),
        };
        let &AddressField { key, about, required, default, example, .. } = field;
        Self { key, kind, about, required, min, max, choices, default, example }
    }
}

#[derive(Serialize)]
pub(crate) struct DriverView {
    driver: &'static str,
    title: &'static str,
    about: &'static str,
    /// Who ends a pulse: `device`, `host`, or `by_address`.
    pulse: &'static str,
    /// What it was tried against: `clients_only`, `documents`, `device`.
    verified: &'static str,
    /// What of it nobody has seen on a device.
    unverified: &'static [&'static str],
    fields: Vec<DriverFieldView>,
}

impl From<&DriverSpec> for DriverView {
    fn from(spec: &DriverSpec) -> Self {
        Self {
            driver: spec.scheme,
            title: spec.title,
            about: spec.about,
            pulse: match spec.pulse {
                Some(PulseEnd::Device) => "device",
                Some(PulseEnd::ByAddress) => "by_address",
                Some(PulseEnd::Host) | None => "host",
            },
            verified: match spec.verified {
                Verified::ClientsOnly => "clients_only",
                Verified::Documents => "documents",
                Verified::Device => "device",
            },
            unverified: spec.unverified,
            fields: spec.fields.iter().map(DriverFieldView::from).collect(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct DriverList {
    drivers: Vec<DriverView>,
}

/// `GET /api/v1/relay-drivers`: what relays there are, and what their forms ask for.
pub(crate) async fn drivers(State(state): State<AppState>) -> Json<DriverList> {
    Json(DriverList { drivers: state.system().relay_drivers().iter().map(DriverView::from).collect() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asking {
    #[serde(default)]
    door: Option<String>,
    /// An address, or a form of one.
    #[serde(default)]
    relay: Option<RelayAsked>,
    #[serde(default)]
    channel: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RelayAsked {
    Address(String),
    Form(RelayContent),
}

#[derive(Serialize)]
pub(crate) struct ReadingView {
    is_on: bool,
    took_ms: u64,
    driver: &'static str,
    timed_by_device: bool,
}

impl From<RelayReading> for ReadingView {
    fn from(reading: RelayReading) -> Self {
        Self {
            is_on: reading.is_on,
            took_ms: u64::try_from(reading.took.as_millis()).unwrap_or(u64::MAX),
            driver: reading.driver,
            timed_by_device: reading.is_timed_by_device,
        }
    }
}

/// Which relay is meant, and what the journal calls its door.
async fn asked(state: &AppState, body: Result<Json<Asking>, JsonRejection>) -> Result<(RelayAsk, String), WebError> {
    // The parser's own words may repeat a part of the body.
    let body = body.map_err(|it| WebError::new(it.status(), "bad_body", "write {\"door\": NAME, \"channel\": 0}"));
    let Json(Asking { door, relay, channel }) = body?;
    let door = name("door", door.as_deref())?;
    let told_of = door.as_ref().map_or("none", Name::as_str).to_owned();
    let relay = match relay {
        Some(RelayAsked::Form(form)) => address(state, door.as_ref(), Some(form)).await?,
        Some(RelayAsked::Address(text)) => given(Some(&text)).map(Secret::from),
        None => None,
    };
    Ok((RelayAsk { door, relay, channel }, told_of))
}

/// `POST /api/v1/relay-status`: reads the relay now. Moves nothing.
pub(crate) async fn read_relay(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<Json<Asking>, JsonRejection>,
) -> Result<Json<ReadingView>, WebError> {
    let (ask, door) = asked(&state, body).await?;
    let text = format!("{} asked a relay for its state", who.name());
    state.note(Level::Info, "relay.asked", text, &[("door", &door), ("user", who.name())]).await?;
    Ok(Json(state.system().read_relay(ask).await.map_err(told)?.into()))
}

/// `POST /api/v1/relay-test`: energises the relay for a moment, which may unlock a door. Journalled before it moves.
pub(crate) async fn test_relay(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<Json<Asking>, JsonRejection>,
) -> Result<Json<ReadingView>, WebError> {
    let (ask, door) = asked(&state, body).await?;
    let text = format!("{} tries a relay for {} s", who.name(), TEST_PULSE.as_secs());
    state.note(Level::Security, "relay.tested", text, &[("door", &door), ("user", who.name())]).await?;
    Ok(Json(state.system().pulse_relay(ask, TEST_PULSE).await.map_err(told)?.into()))
}
