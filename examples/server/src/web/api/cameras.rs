//! Cameras: list, switches, live view.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use godvision_core::Name;
use godvision_core::journal::Level;
use godvision_core::signal::media::StreamState;
use godvision_core::signal::seen::{Rest, RestKind};
use serde::{Deserialize, Serialize};

use super::super::guard::Who;
use super::super::system::{Analysis, Camera, Switch, SystemError, Watching};
use super::super::{AppState, WebError, live as view};
use super::Id;

/// How often an open live view asks whether its session still lives.
const SESSION_CHECK_EVERY: Duration = Duration::from_secs(10);

#[derive(Serialize)]
pub(crate) struct CameraList {
    cameras: Vec<CameraView>,
}

#[derive(Serialize)]
struct CameraView {
    id: String,
    title: String,
    state: &'static str,
    since: String,
    code: Option<&'static str>,
    detail: String,
    format: Option<FormatView>,
    detection: bool,
    archive: bool,
    analyses: Vec<AnalysisView>,
    rests: Vec<RestView>,
    tampers: Vec<&'static str>,
    recording: bool,
    viewers: usize,
    counters: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct AnalysisView {
    name: &'static str,
    on: bool,
    missing: Option<String>,
}

impl From<Analysis> for AnalysisView {
    fn from(it: Analysis) -> Self {
        Self { name: it.switch.code(), on: it.is_on, missing: it.missing }
    }
}

#[derive(Serialize)]
struct RestView {
    thing: u64,
    kind: &'static str,
    since: String,
    region: [u16; 4],
    zones: Vec<String>,
}

impl From<Rest> for RestView {
    fn from(it: Rest) -> Self {
        let region = [it.region.left, it.region.top, it.region.right, it.region.bottom];
        Self { thing: it.thing, kind: rest_code(it.kind), since: it.since.wall.to_string(), region, zones: it.zones }
    }
}

/// Stable code of what a thing at rest is.
pub(crate) fn rest_code(kind: RestKind) -> &'static str {
    match kind {
        RestKind::Left => "left",
        RestKind::Taken => "taken",
        RestKind::Unsure => "unsure",
    }
}

#[derive(Serialize)]
struct FormatView {
    codec: String,
    codec_name: String,
    width: u16,
    height: u16,
}

/// Stable code of a stream's state.
pub(crate) fn state_code(state: StreamState) -> &'static str {
    match state {
        StreamState::Connecting => "connecting",
        StreamState::Online => "online",
        StreamState::Stalled => "stalled",
        StreamState::BackingOff => "backing_off",
        StreamState::NeedsAttention => "needs_attention",
        StreamState::Stopped => "stopped",
    }
}

fn camera_view(state: &AppState, camera: Camera) -> CameraView {
    CameraView {
        viewers: state.live().viewers(&camera.id),
        id: camera.id.to_string(),
        title: camera.title,
        state: state_code(camera.state),
        since: camera.since.to_string(),
        code: camera.code,
        detail: camera.detail,
        format: camera.format.map(|format| FormatView {
            codec: format.codec.to_string(),
            codec_name: format.codec_name.clone(),
            width: format.width,
            height: format.height,
        }),
        detection: camera.detection,
        archive: camera.archive,
        analyses: camera.analyses.into_iter().map(AnalysisView::from).collect(),
        rests: camera.rests.into_iter().map(RestView::from).collect(),
        tampers: camera.tampers.iter().map(|it| it.kind.code()).collect(),
        recording: camera.is_recording,
        counters: camera.counters.into_iter().collect(),
    }
}

/// `GET /api/v1/cameras`
pub(crate) async fn list(State(state): State<AppState>) -> Json<CameraList> {
    let cameras = state.system().cameras().into_iter().map(|camera| camera_view(&state, camera)).collect();
    Json(CameraList { cameras })
}

fn camera(state: &AppState, id: &str) -> Result<Camera, WebError> {
    let found = state.system().cameras().into_iter().find(|camera| camera.id.as_str() == id);
    Ok(found.ok_or_else(|| SystemError::NotFound { what: "camera", id: id.to_owned() })?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwitchBody {
    on: bool,
}

#[derive(Serialize)]
pub(crate) struct SwitchView {
    on: bool,
}

/// Kept first: a switch that acted but is forgotten at the next start would be worse than one that says it cannot.
async fn switch_and_keep(state: &AppState, camera: &Name, switch: Switch, on: bool) -> Result<(), WebError> {
    let settings = state.store().settings();
    let before = settings.switch(camera, switch).await?;
    settings.set_switch(camera, switch, on).await?;
    if let Err(error) = state.system().set_switch(camera, switch, on).await {
        match before {
            Some(before) => settings.set_switch(camera, switch, before).await?,
            None => settings.clear_switch(camera, switch).await?,
        }
        return Err(error.into());
    }
    Ok(())
}

async fn switch(
    state: &AppState,
    who: &Who,
    id: &str,
    switch: Switch,
    body: Result<Json<SwitchBody>, JsonRejection>,
) -> Result<Json<SwitchView>, WebError> {
    let Json(SwitchBody { on }) = body?;
    let camera: Name = camera(state, id)?.id;
    if switch.is_in_document() {
        state.system().set_switch(&camera, switch, on).await?;
    } else {
        switch_and_keep(state, &camera, switch, on).await?;
    }
    let word = if on { "on" } else { "off" };
    let text = format!("{} turned {switch} of {camera} {word}", who.name());
    let fields = [("camera", camera.as_str()), ("switch", switch.code()), ("to", word), ("user", who.name())];
    state.note(Level::Security, "camera.switched", text, &fields).await?;
    Ok(Json(SwitchView { on }))
}

/// `PUT /api/v1/cameras/{id}/detection`
pub(crate) async fn detection(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<SwitchBody>, JsonRejection>,
) -> Result<Json<SwitchView>, WebError> {
    switch(&state, &who, &id, Switch::Detection, body).await
}

/// `PUT /api/v1/cameras/{id}/archive`
pub(crate) async fn archive(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<SwitchBody>, JsonRejection>,
) -> Result<Json<SwitchView>, WebError> {
    switch(&state, &who, &id, Switch::Archive, body).await
}

/// `PUT /api/v1/cameras/{id}/qr`
pub(crate) async fn qr(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<SwitchBody>, JsonRejection>,
) -> Result<Json<SwitchView>, WebError> {
    switch(&state, &who, &id, Switch::Qr, body).await
}

/// `PUT /api/v1/cameras/{id}/plates`
pub(crate) async fn plates(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<SwitchBody>, JsonRejection>,
) -> Result<Json<SwitchView>, WebError> {
    switch(&state, &who, &id, Switch::Plates, body).await
}

/// `PUT /api/v1/cameras/{id}/faces`
pub(crate) async fn faces(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<SwitchBody>, JsonRejection>,
) -> Result<Json<SwitchView>, WebError> {
    switch(&state, &who, &id, Switch::Faces, body).await
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchingView {
    sensitivity: String,
    zones: Vec<String>,
}

impl From<Watching> for WatchingView {
    fn from(Watching { sensitivity, zones }: Watching) -> Self {
        Self { sensitivity, zones }
    }
}

/// `GET /api/v1/cameras/{id}/motion`
pub(crate) async fn watching(State(state): State<AppState>, Id(id): Id) -> Result<Json<WatchingView>, WebError> {
    let camera = camera(&state, &id)?.id;
    Ok(Json(state.system().watching(&camera)?.into()))
}

/// `PUT /api/v1/cameras/{id}/motion`
pub(crate) async fn set_watching(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<WatchingView>, JsonRejection>,
) -> Result<Json<WatchingView>, WebError> {
    let Json(WatchingView { sensitivity, zones }) = body?;
    let camera = camera(&state, &id)?.id;
    let count = zones.len().to_string();
    state.system().set_watching(&camera, Watching { sensitivity: sensitivity.clone(), zones }).await?;
    let text = format!("{} changed what the motion detector of {camera} watches", who.name());
    let fields =
        [("camera", camera.as_str()), ("sensitivity", &*sensitivity), ("zones", &*count), ("user", who.name())];
    state.note(Level::Security, "camera.watching", text, &fields).await?;
    Ok(Json(state.system().watching(&camera)?.into()))
}

/// `GET /api/v1/cameras/{id}/live`: a WebSocket; ends with the session that opened it.
pub(crate) async fn live(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, WebError> {
    let camera = camera(&state, &id)?.id;
    let upgrade = upgrade.map_err(|_| {
        WebError::new(StatusCode::UPGRADE_REQUIRED, "upgrade", "this is a WebSocket: connect to it with ws://")
    })?;
    Ok(view::limited(upgrade)
        .on_upgrade(move |socket| async move {
            let until = signed_out(&state, &who);
            view::serve_viewer(socket, state.live(), &camera, until).await;
        })
        .into_response())
}

async fn signed_out(state: &AppState, who: &Who) {
    let mut ticks = tokio::time::interval(SESSION_CHECK_EVERY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        // A database that fails for a moment is no reason to end a view that was allowed.
        if let Ok(None) = state.store().sessions().find(&who.token).await {
            return;
        }
    }
}
