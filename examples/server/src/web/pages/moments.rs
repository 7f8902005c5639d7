//! Moments: from a decision or sighting to the clip that shows it, to the picture of who was seen, and back.
//!
//! A door's cameras are those whose pictures lead to it in the site document, and those an administrator named for it.

use std::time::Duration;

use godvision_core::Name;
use godvision_core::journal::Query;
use godvision_core::signal::door::Decision;

use super::*;
use crate::store::{KeyKind, SightingQuery};
use crate::web::system::{ClipQuery, Door};

/// A clip's last frame may be a little before what it shows: reading takes its time.
const CLIP_SLACK: Duration = Duration::from_secs(1);
/// A picture of who stood there is at most so much earlier or later than the decision.
const PICTURE_MICROS: i64 = 3_000_000;
/// Decisions shown with one clip.
const MARKS_MAX: usize = 5;

/// The cameras that may have seen what was decided, the source first.
fn cameras_of(door: &Door, source: &str) -> Vec<Name> {
    let mut cameras = door.cameras.clone();
    // A stable sort: false, which is the source, comes first.
    cameras.sort_by_key(|camera| camera.as_str() != source);
    cameras
}

/// The address of the clip that shows a moment, if one was recorded by one of `cameras` and is complete.
pub(in crate::web) async fn clip_at(state: &AppState, cameras: &[Name], at: WallTime) -> Option<String> {
    for camera in cameras {
        let query =
            ClipQuery { camera: Some(camera.clone()), to: Some(at.plus_micros(1)), limit: 1, ..ClipQuery::default() };
        let Some(clip) = state.system().clips(query).await.ok().and_then(|found| found.into_iter().next()) else {
            continue;
        };
        // One that still grows cannot be played yet.
        if at < end(&clip) && clip.state != ClipState::Recording {
            return Some(moment_of(&clip, at));
        }
    }
    None
}

fn end(clip: &Clip) -> WallTime {
    clip.from.plus_micros(i64::try_from((clip.duration + CLIP_SLACK).as_micros()).unwrap_or(i64::MAX))
}

/// The address that plays a clip from a little before `at`, so that one sees it come.
fn moment_of(clip: &Clip, at: WallTime) -> String {
    let seconds = (at.as_unix_micros() - clip.from.as_unix_micros()) / 1_000_000;
    let next = clip.from.plus_micros(1_000_000);
    let (from, to) = (clip.from.to_string(), next.to_string());
    let start = (seconds - 2).max(0);
    format!("{}#at={start}", address("/clips", &[("camera", clip.camera.as_str()), ("from", &from), ("to", &to)]))
}

/// The clip around a decision.
pub(in crate::web) async fn clip_of(state: &AppState, door: &Door, decision: &Decision) -> Option<String> {
    clip_at(state, &cameras_of(door, decision.source.as_str()), decision.presented.wall).await
}

/// The clip around a decision that the journal speaks of.
pub(super) async fn clip_of_line(state: &AppState, doors: &[Door], line: &Kept) -> Option<String> {
    if !line.code.starts_with("access.") {
        return None;
    }
    let field = |wanted: &str| line.fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let door = doors.iter().find(|door| Some(door.id.as_str()) == field("door"))?;
    clip_at(state, &cameras_of(door, field("source").unwrap_or_default()), line.at).await
}

/// The picture of whom a decision is about, as the number of its sighting: their face if it was recognised, else what the
/// deciding camera read of them. Never somebody else's face, what another camera or lane read, another's plate; and none for
/// an operator's own act: who stands there is not who is named.
pub(super) async fn picture_of(state: &AppState, door: &Door, decision: &Decision) -> Option<u64> {
    let (at, user) = (decision.presented.wall, decision.user.as_ref().map(Name::as_str));
    if decision.credential == "manual" {
        return None;
    }
    let plates = match &decision.user {
        Some(user) if decision.credential == "plate" => plates_of(state, user).await?,
        _ => Vec::new(),
    };
    let mut found = Vec::new();
    for camera in cameras_of(door, decision.source.as_str()) {
        let query = SightingQuery {
            camera: Some(camera),
            from: Some(at.plus_micros(-PICTURE_MICROS)),
            to: Some(at.plus_micros(PICTURE_MICROS)),
            limit: 20,
            ..SightingQuery::default()
        };
        for it in state.store().sightings().list(&query).await.ok()? {
            let is_face = it.kind == "face" && user.is_some() && it.subject.as_deref() == user;
            let is_theirs = match &*it.kind {
                "face" => false,
                // A second car close behind is read by the same camera.
                "plate" if user.is_some() => it.subject.as_ref().is_some_and(|plate| plates.contains(plate)),
                _ => true,
            };
            let is_read = is_theirs && it.kind == decision.credential && it.camera == decision.source.as_str();
            if it.crop_bytes > 0 && (is_face || is_read) {
                let apart = (it.at.as_unix_micros() - at.as_unix_micros()).abs();
                found.push((is_read, apart, it.id));
            }
        }
    }
    found.into_iter().min().map(|(.., id)| id)
}

/// What the plates of somebody say.
async fn plates_of(state: &AppState, user: &Name) -> Option<Vec<String>> {
    let person = state.store().access().person(user).await.ok()?;
    let keys = person.into_iter().flat_map(|person| person.keys);
    Some(keys.filter(|key| key.kind == KeyKind::Plate).map(|key| key.label).collect())
}

/// A decision that a clip shows.
pub(super) struct Mark {
    pub(super) door: String,
    pub(super) verdict: &'static str,
    pub(super) who: String,
    pub(super) at: Moment,
    /// Plays the clip at that moment.
    pub(super) play: String,
    /// The journal of that door around it.
    pub(super) journal: String,
}

/// The decisions at the doors that the camera of `clip` sees, while it ran, oldest first.
pub(super) async fn marks_of(state: &AppState, doors: &[Door], clip: &Clip) -> Result<Vec<Mark>, WebError> {
    let mut marks = Vec::new();
    let seen = doors.iter().filter(|door| door.cameras.contains(&clip.camera));
    for door in seen.filter(|_| clip.state != ClipState::Recording) {
        let (from, to) = (clip.from, end(clip));
        let level = Some(godvision_core::journal::Level::Security);
        let query = Query { service: Some(door.id.clone()), from: Some(from), to: Some(to), level, ..Query::default() };
        for line in state.store().journal().query(query).await? {
            let verdict = match &*line.code {
                "access.admitted" => "admit",
                "access.refused" => "refuse",
                _ => continue,
            };
            let person = line.fields.iter().find(|(name, _)| name == "person").map(|(_, value)| value.clone());
            let (from, to) = (line.at.plus_micros(-1_000_000).to_string(), line.at.plus_micros(1_000_000).to_string());
            marks.push((
                line.at,
                Mark {
                    door: door.title.clone(),
                    verdict,
                    who: person.unwrap_or_default(),
                    at: line.at.into(),
                    play: moment_of(clip, line.at),
                    journal: address("/journal", &[("service", door.id.as_str()), ("from", &from), ("to", &to)]),
                },
            ));
        }
    }
    marks.sort_by_key(|(at, _)| *at);
    Ok(marks.into_iter().map(|(_, mark)| mark).take(MARKS_MAX).collect())
}
