//! Style sheets, scripts and pictures of the pages, built into the program.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::WebError;
use super::api::Id;
use crate::store::hex;

const ASSETS: &[(&str, &str, &str)] = &[
    ("app.css", "text/css; charset=utf-8", include_str!("../../assets/app.css")),
    ("live.css", "text/css; charset=utf-8", include_str!("../../assets/live.css")),
    ("app.js", "text/javascript; charset=utf-8", include_str!("../../assets/app.js")),
    ("board.css", "text/css; charset=utf-8", include_str!("../../assets/board.css")),
    ("board.js", "text/javascript; charset=utf-8", include_str!("../../assets/board.js")),
    ("cameras.js", "text/javascript; charset=utf-8", include_str!("../../assets/cameras.js")),
    ("clips.js", "text/javascript; charset=utf-8", include_str!("../../assets/clips.js")),
    ("door_setup.js", "text/javascript; charset=utf-8", include_str!("../../assets/door_setup.js")),
    ("doors.js", "text/javascript; charset=utf-8", include_str!("../../assets/doors.js")),
    ("faces.js", "text/javascript; charset=utf-8", include_str!("../../assets/faces.js")),
    ("form.js", "text/javascript; charset=utf-8", include_str!("../../assets/form.js")),
    ("pass_keys.js", "text/javascript; charset=utf-8", include_str!("../../assets/pass_keys.js")),
    ("keypad.css", "text/css; charset=utf-8", include_str!("../../assets/keypad.css")),
    ("keypad.js", "text/javascript; charset=utf-8", include_str!("../../assets/keypad.js")),
    ("keypads.js", "text/javascript; charset=utf-8", include_str!("../../assets/keypads.js")),
    ("passes.js", "text/javascript; charset=utf-8", include_str!("../../assets/passes.js")),
    ("people.js", "text/javascript; charset=utf-8", include_str!("../../assets/people.js")),
    ("premises.js", "text/javascript; charset=utf-8", include_str!("../../assets/premises.js")),
    ("player.js", "text/javascript; charset=utf-8", include_str!("../../assets/player.js")),
    ("plates.js", "text/javascript; charset=utf-8", include_str!("../../assets/plates.js")),
    ("relay_form.js", "text/javascript; charset=utf-8", include_str!("../../assets/relay_form.js")),
    ("rules.js", "text/javascript; charset=utf-8", include_str!("../../assets/rules.js")),
    ("rules_form.js", "text/javascript; charset=utf-8", include_str!("../../assets/rules_form.js")),
    ("sightings.js", "text/javascript; charset=utf-8", include_str!("../../assets/sightings.js")),
    ("week.js", "text/javascript; charset=utf-8", include_str!("../../assets/week.js")),
    ("telegram.js", "text/javascript; charset=utf-8", include_str!("../../assets/telegram.js")),
    ("zones.js", "text/javascript; charset=utf-8", include_str!("../../assets/zones.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

/// `GET /assets/{name}`
pub(super) async fn asset(Id(name): Id, headers: HeaderMap) -> Response {
    let Some((_, kind, text)) = ASSETS.iter().find(|(asset, ..)| *asset == name) else {
        return WebError::new(StatusCode::NOT_FOUND, "not_found", "there is no such asset").into_response();
    };
    let tag = format!("\"{}\"", &hex(&Sha256::digest(text))[..16]);
    // Kept by browsers, asked about each time: a new version of the program is seen at once.
    let cache = [(header::CACHE_CONTROL, "no-cache".to_owned()), (header::ETAG, tag.clone())];
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    if is_known {
        return (StatusCode::NOT_MODIFIED, cache).into_response();
    }
    (cache, [(header::CONTENT_TYPE, *kind)], *text).into_response()
}
