//! The pages. Each is rendered with what is true now, and stays readable without a script.
//!
//! All words are in the templates. Moments are written in UTC and shown in the reader's own zone by the browser.

use askama::Template;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use godvision_core::WallTime;
use godvision_core::journal::{Journal, Kept};
use godvision_core::signal::door::Decision;

use super::api::cameras::{rest_code, state_code as camera_state};
use super::api::clips::ClipParameters;
use super::api::doors::{indication_code, verdict_code};
use super::api::journal::{JournalParameters, is_for};
use super::api::{Asked, given};
use super::guard::{Who, escape, who};
use super::system::{Camera, Clip, ClipState};
use super::{AppState, WebError};
use crate::store::Role;

pub(super) mod board;
pub(super) mod faces;
pub(super) mod keypads;
pub(super) mod moments;
pub(super) mod pass_keys;
pub(super) mod passes;
pub(super) mod people;
pub(super) mod plates;
pub(super) mod premises;
pub(super) mod rules;
pub(super) mod sightings;
pub(super) mod telegram;

/// What the frame around every page shows.
struct Shell {
    page: &'static str,
    user: String,
    role: &'static str,
    may_operate: bool,
    may_administer: bool,
}

impl Shell {
    fn new(page: &'static str, who: &Who) -> Self {
        Self {
            page,
            user: who.name().to_owned(),
            role: who.session.user.role.code(),
            may_operate: who.may(Role::Operator),
            may_administer: who.may(Role::Admin),
        }
    }
}

/// A moment, for machines and for people without a script.
struct Moment {
    rfc3339: String,
    utc: String,
}

impl From<WallTime> for Moment {
    fn from(at: WallTime) -> Self {
        let (year, month, day, hour, minute, second) = at.utc_parts();
        let utc = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC");
        Self { rfc3339: at.to_string(), utc }
    }
}

/// `12 s`, `3:05`, `1:02:03`.
fn length(duration: std::time::Duration) -> String {
    let seconds = (duration.as_millis() + 500) / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

/// `640 B`, `12 kB`, `3.4 MB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 {
            return if value < 9.95 && unit != "B" {
                format!("{value:.1} {unit}")
            } else {
                format!("{value:.0} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn shown(page: &impl Template) -> Response {
    render(StatusCode::OK, page)
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    status: u16,
    message: String,
}

/// An error as a page, for a person who followed a link.
fn error_page(error: WebError) -> Response {
    render(error.status, &ErrorPage { status: error.status.as_u16(), message: error.message })
}

/// `GET /`
pub(super) async fn home() -> Redirect {
    Redirect::to("/cameras")
}

/// What is not there: JSON for programs, a page for people.
pub(super) async fn not_found(request: Request) -> Response {
    let error = WebError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this address");
    if request.uri().path().starts_with("/api/") { error.into_response() } else { error_page(error) }
}

/// A known path with another method.
pub(super) async fn wrong_method() -> WebError {
    WebError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "this address does not take this method: see the Allow header",
    )
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    name: &'a str,
    next: &'a str,
    message: Option<String>,
}

/// A path of this site, so that a link cannot send people elsewhere after they signed in.
pub(super) fn local_path(next: &str) -> &str {
    let is_local = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n', '\t']);
    if is_local { next } else { "/" }
}

#[derive(serde::Deserialize)]
pub(super) struct LoginParameters {
    next: Option<String>,
}

/// `GET /login`
pub(super) async fn login(
    State(state): State<AppState>,
    headers: HeaderMap,
    Asked(parameters): Asked<LoginParameters>,
) -> Result<Response, WebError> {
    let next = local_path(parameters.next.as_deref().unwrap_or("/"));
    if who(&state, &headers).await?.is_some() {
        return Ok(Redirect::to(next).into_response());
    }
    Ok(shown(&LoginPage { name: "", next, message: None }))
}

/// The form once more, with what was wrong.
pub(super) fn login_again(name: &str, next: &str, error: WebError) -> Response {
    let name: String = name.chars().take(crate::store::USER_NAME_CHARS_MAX).collect();
    render(error.status, &LoginPage { name: &name, next, message: Some(error.message) })
}

/// Something about a camera's view that lasts.
struct Mark {
    code: &'static str,
    since: Moment,
}

struct CameraCard {
    id: String,
    path: String,
    title: String,
    state: &'static str,
    since: Moment,
    detail: String,
    format: Option<String>,
    detection: bool,
    archive: bool,
    analyses: Vec<super::system::Analysis>,
    rests: Vec<Mark>,
    tampers: Vec<Mark>,
    is_recording: bool,
    counters: Vec<(String, u64)>,
}

impl From<Camera> for CameraCard {
    fn from(camera: Camera) -> Self {
        Self {
            id: camera.id.to_string(),
            path: escape(camera.id.as_str()).replace('/', "%2F"),
            title: camera.title,
            state: camera_state(camera.state),
            since: camera.since.into(),
            detail: camera.detail,
            format: camera.format.map(|it| format!("{} · {}×{}", it.codec, it.width, it.height)),
            detection: camera.detection,
            archive: camera.archive,
            analyses: camera.analyses,
            rests: camera
                .rests
                .iter()
                .map(|it| Mark { code: rest_code(it.kind), since: it.since.wall.into() })
                .collect(),
            tampers: camera.tampers.iter().map(|it| Mark { code: it.kind.code(), since: it.at.wall.into() }).collect(),
            is_recording: camera.is_recording,
            counters: camera.counters.into_iter().map(|(name, value)| (name.replace('_', " "), value)).collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "cameras.html")]
struct CamerasPage {
    shell: Shell,
    cameras: Vec<CameraCard>,
}

/// `GET /cameras`
pub(super) async fn cameras(State(state): State<AppState>, Extension(who): Extension<Who>) -> Response {
    let cameras = state.system().cameras().into_iter().map(CameraCard::from).collect();
    shown(&CamerasPage { shell: Shell::new("cameras", &who), cameras })
}

struct ClipCard {
    id: String,
    path: String,
    camera: String,
    from: Moment,
    length: String,
    size: String,
    cause: String,
    motion_after: Option<String>,
    state: &'static str,
    percent: u8,
    why: String,
    marks: Vec<moments::Mark>,
}

impl ClipCard {
    fn new(clip: Clip, cameras: &[Camera], marks: Vec<moments::Mark>) -> Self {
        let title = cameras.iter().find(|camera| camera.id == clip.camera).map(|camera| camera.title.clone());
        let state = clip.state.code();
        let (percent, why) = match clip.state {
            ClipState::Uploading { percent } => (percent.min(100), String::new()),
            ClipState::Parked { why } => (0, why),
            _ => (0, String::new()),
        };
        Self {
            path: escape(&clip.id).replace('/', "%2F"),
            id: clip.id,
            camera: title.unwrap_or_else(|| clip.camera.to_string()),
            from: clip.from.into(),
            length: length(clip.duration),
            size: size(clip.size_bytes),
            cause: clip.cause,
            motion_after: clip.motion_after.map(length),
            state,
            percent,
            why,
            marks,
        }
    }
}

struct Choice {
    value: String,
    title: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "clips.html")]
struct ClipsPage {
    shell: Shell,
    cameras: Vec<Choice>,
    from: String,
    to: String,
    is_filtered: bool,
    is_first_page: bool,
    clips: Vec<ClipCard>,
    newest: String,
    older: Option<String>,
}

/// An address of this site with the parameters that are given.
fn address(path: &str, parameters: &[(&str, &str)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, given(Some(value))?)));
    let pairs: Vec<String> = given.map(|(name, value)| format!("{name}={}", escape(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// `GET /clips`
pub(super) async fn clips(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Asked(asked): Asked<ClipParameters>,
) -> Response {
    let found = match asked.query() {
        Ok(query) => {
            let limit = query.limit;
            state.system().clips(query).await.map(|clips| (clips, limit)).map_err(WebError::from)
        }
        Err(error) => Err(error),
    };
    let (clips, limit) = match found {
        Ok(found) => found,
        Err(error) => return error_page(error),
    };
    let cameras = state.system().cameras();
    let text = |value: &Option<String>| given(value.as_deref()).unwrap_or_default().to_owned();
    let (camera, from, to) = (text(&asked.camera), text(&asked.from), text(&asked.to));
    let last = clips.last().filter(|_| clips.len() == limit).map_or("", |clip| &clip.id);
    let page = |before| address("/clips", &[("camera", &camera), ("from", &from), ("to", &to), ("before", before)]);
    let (newest, older) = (page(""), (!last.is_empty()).then(|| page(last)));
    let doors = state.system().doors();
    let mut cards = Vec::with_capacity(clips.len());
    for clip in clips {
        match moments::marks_of(&state, &doors, &clip).await {
            Ok(marks) => cards.push(ClipCard::new(clip, &cameras, marks)),
            Err(error) => return error_page(error),
        }
    }
    shown(&ClipsPage {
        shell: Shell::new("clips", &who),
        is_filtered: !(camera.is_empty() && from.is_empty() && to.is_empty()),
        is_first_page: given(asked.before.as_deref()).is_none(),
        newest,
        older,
        clips: cards,
        cameras: cameras
            .into_iter()
            .map(|it| Choice { is_chosen: it.id.as_str() == camera, value: it.id.to_string(), title: it.title })
            .collect(),
        from,
        to,
    })
}

struct DecisionRow {
    at: Moment,
    verdict: &'static str,
    who: Option<String>,
    credential: &'static str,
    reason: &'static str,
    rule: Option<String>,
    source: String,
    /// Plays the clip around it.
    clip: Option<String>,
}

impl From<&Decision> for DecisionRow {
    fn from(decision: &Decision) -> Self {
        Self {
            at: decision.decided.wall.into(),
            verdict: verdict_code(decision.verdict),
            who: decision.user.as_ref().map(|user| user.leaf().to_owned()),
            credential: decision.credential,
            reason: decision.reason.code(),
            rule: decision.rule.as_ref().map(ToString::to_string),
            source: decision.source.to_string(),
            clip: None,
        }
    }
}

struct DoorCard {
    id: String,
    path: String,
    title: String,
    state: &'static str,
    since: Moment,
    indication: &'static str,
    open_for: Option<String>,
    detail: String,
    decisions: Vec<DecisionRow>,
    stand: premises::Standing,
}

#[derive(Template)]
#[template(path = "doors.html")]
struct DoorsPage {
    shell: Shell,
    doors: Vec<DoorCard>,
    whole: premises::Whole,
}

/// `GET /doors`
pub(super) async fn doors(State(state): State<AppState>, Extension(who): Extension<Who>) -> Response {
    let all = state.system().doors();
    let whole = premises::Whole::new(&state, &all);
    let mut doors = Vec::new();
    for door in all {
        let stand = premises::Standing::new(&door, &who);
        let mut decisions: Vec<DecisionRow> = Vec::with_capacity(door.decisions.len());
        for decision in &door.decisions {
            let clip = moments::clip_of(&state, &door, decision).await;
            decisions.push(DecisionRow { clip, ..decision.into() });
        }
        doors.push(DoorCard {
            id: door.id.to_string(),
            path: escape(door.id.as_str()).replace('/', "%2F"),
            title: door.title,
            state: door.state.code(),
            since: door.since.into(),
            indication: indication_code(door.indication),
            open_for: door.open_for.map(length),
            detail: door.detail,
            decisions,
            stand,
        });
    }
    shown(&DoorsPage { shell: Shell::new("doors", &who), doors, whole })
}

struct JournalRow {
    id: u64,
    at: Moment,
    service: String,
    service_query: String,
    level: &'static str,
    code: String,
    text: String,
    fields: Vec<(String, String)>,
    sighting: Option<u64>,
    clip: Option<String>,
}

impl From<Kept> for JournalRow {
    fn from(entry: Kept) -> Self {
        Self {
            id: entry.id,
            at: entry.at.into(),
            service_query: escape(&entry.service),
            service: entry.service,
            level: entry.level.code(),
            code: entry.code,
            text: entry.text,
            sighting: entry.fields.iter().find(|(name, _)| name == "sighting").and_then(|(_, id)| id.parse().ok()),
            fields: entry.fields,
            clip: None,
        }
    }
}

#[derive(Template)]
#[template(path = "journal.html")]
struct JournalPage {
    shell: Shell,
    services: Vec<String>,
    service: String,
    from: String,
    to: String,
    level: String,
    is_filtered: bool,
    is_first_page: bool,
    rows: Vec<JournalRow>,
    newest: String,
    older: Option<String>,
    export: String,
    head: String,
}

/// `GET /journal`
pub(super) async fn journal(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Asked(asked): Asked<JournalParameters>,
) -> Response {
    match journal_page(&state, &who, asked).await {
        Ok(page) => shown(&page),
        Err(error) => error_page(error),
    }
}

async fn journal_page(state: &AppState, who: &Who, asked: JournalParameters) -> Result<JournalPage, WebError> {
    let query = asked.query()?;
    let limit = query.limit();
    let journal = state.store().journal();
    let rows = journal.query(query).await?;
    let text = |value: &Option<String>| given(value.as_deref()).unwrap_or_default().to_owned();
    let (service, level) = (text(&asked.service), text(&asked.level));
    let (from, to) = (text(&asked.from), text(&asked.to));
    let page = |path: &str, before: &str| {
        address(path, &[("service", &service), ("from", &from), ("to", &to), ("level", &level), ("before", before)])
    };
    let last = rows.last().filter(|_| rows.len() == limit).map(|row| row.id.to_string());
    let older = last.map(|last| page("/journal", &last));
    let doors = state.system().doors();
    let mut shown_rows = Vec::with_capacity(rows.len());
    for row in rows.into_iter().filter(|row| is_for(row, who)) {
        let clip = moments::clip_of_line(state, &doors, &row).await;
        shown_rows.push(JournalRow { clip, ..row.into() });
    }
    let mut rows = shown_rows;
    // A line outlives what was seen; its picture is shown while there is one.
    let named: Vec<u64> = rows.iter().filter_map(|row| row.sighting).collect();
    let kept = state.store().sightings().with_crops(&named).await?;
    for row in &mut rows {
        row.sighting = row.sighting.filter(|id| kept.contains(id));
    }
    Ok(JournalPage {
        shell: Shell::new("journal", who),
        services: with_subsystems(journal.services().await?),
        is_filtered: [&service, &from, &to, &level].iter().any(|text| !text.is_empty()),
        is_first_page: asked.before.is_none(),
        newest: page("/journal", ""),
        older,
        export: page("/journal.csv", ""),
        head: journal.head().await?.to_string(),
        rows,
        service,
        from,
        to,
        level,
    })
}

/// The services and every subsystem above them, in order.
fn with_subsystems(services: Vec<String>) -> Vec<String> {
    let mut all: std::collections::BTreeSet<String> = services.iter().cloned().collect();
    for service in &services {
        all.extend(service.match_indices('/').filter_map(|(end, _)| service.get(..end)).map(str::to_owned));
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn lengths_and_sizes_are_short() {
        assert_eq!(length(Duration::from_millis(12_400)), "12 s");
        assert_eq!(length(Duration::from_secs(185)), "3:05");
        assert_eq!(length(Duration::from_secs(3723)), "1:02:03");
        for (bytes, text) in [
            (0, "0 B"),
            (640, "640 B"),
            (12_345, "12 kB"),
            (3_449_999, "3.4 MB"),
            (999_600, "1.0 MB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn only_paths_of_this_site_are_gone_to() {
        for good in ["/", "/clips?camera=yard"] {
            assert_eq!(local_path(good), good);
        }
        for bad in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "clips"] {
            assert_eq!(local_path(bad), "/");
        }
    }

    #[test]
    fn subsystems_can_be_chosen_too() {
        let services = ["yard/gate/camera", "yard/light", "web"].map(str::to_owned).to_vec();
        assert_eq!(with_subsystems(services), ["web", "yard", "yard/gate", "yard/gate/camera", "yard/light"]);
    }
}
