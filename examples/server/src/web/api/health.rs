//! Health and metrics.

use std::fmt::Write;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use serde::Serialize;

use super::super::guard::who;
use super::super::{AppState, WebError};

#[derive(Serialize)]
pub(crate) struct HealthView {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<PartView>>,
}

#[derive(Serialize)]
struct PartView {
    component: String,
    well: bool,
    detail: String,
}

/// `GET /api/v1/health`: anybody learns whether the server answers and is well; who is signed in learns what is not.
pub(crate) async fn health(State(state): State<AppState>, headers: HeaderMap) -> Result<Json<HealthView>, WebError> {
    let parts = state.system().health();
    let status = if parts.iter().all(|part| part.is_well) { "ok" } else { "degraded" };
    if who(&state, &headers).await?.is_none() {
        return Ok(Json(HealthView { status, version: None, parts: None }));
    }
    let view = |part: super::super::system::Health| PartView {
        component: part.component,
        well: part.is_well,
        detail: part.detail,
    };
    let parts = Some(parts.into_iter().map(view).collect());
    Ok(Json(HealthView { status, version: Some(env!("CARGO_PKG_VERSION")), parts }))
}

/// `GET /metrics`: Prometheus' text format, version 0.0.4.
pub(crate) async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    let mut text = state.system().metrics();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let journal = state.store().journal();
    let mut gauge = |kind: &str, name: &str, help: &str, lines: &[(String, u64)]| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in lines {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    gauge("counter", "godvision_journal_entries_total", "Entries committed.", &[(String::new(), journal.entries())]);
    gauge("counter", "godvision_journal_commits_total", "Commits made.", &[(String::new(), journal.commits())]);
    let crops = state.store().sightings().crops_bytes();
    gauge("gauge", "godvision_sightings_crops_bytes", "Pictures of sightings kept.", &[(String::new(), crops)]);
    let live = state.live().counters();
    let by_camera = |value: fn(&super::super::live::LiveCounters) -> u64| -> Vec<(String, u64)> {
        // Names hold letters, digits, '-', '_', '.' and '/', so they need no escape in a label.
        live.iter().map(|(camera, counters)| (format!("{{camera=\"{camera}\"}}"), value(counters))).collect()
    };
    gauge("gauge", "godvision_live_viewers", "Viewers of a camera.", &by_camera(|it| it.viewers as u64));
    gauge("counter", "godvision_live_fragments_total", "Fragments of a camera.", &by_camera(|it| it.fragments));
    gauge("counter", "godvision_live_sent_total", "Fragments handed to viewers.", &by_camera(|it| it.sent));
    gauge(
        "counter",
        "godvision_live_dropped_total",
        "Fragments that lagging viewers missed.",
        &by_camera(|it| it.dropped),
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
