//! Clips: list, and their video by byte ranges.

use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::{Deserialize, Serialize};

use super::super::range::{self, Asked as Part};
use super::super::system::{Clip, ClipQuery, ClipReader, ClipState};
use super::super::{AppState, WebError};
use super::{Asked, Id, given, moment, name};

/// Clips in a page when nothing is said.
const LIMIT_DEFAULT: usize = 24;
/// Most clips in a page.
const LIMIT_MAX: usize = 500;
/// Bytes read from the disk or archive at once for one viewer.
const CHUNK_BYTES: u64 = 256 * 1024;

/// What a list of clips may be asked for; the page and the API understand the same.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ClipParameters {
    pub(crate) camera: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) before: Option<String>,
    pub(crate) limit: Option<usize>,
}

impl ClipParameters {
    pub(crate) fn query(&self) -> Result<ClipQuery, WebError> {
        Ok(ClipQuery {
            camera: name("camera", self.camera.as_deref())?,
            from: moment("from", self.from.as_deref())?,
            to: moment("to", self.to.as_deref())?,
            before: given(self.before.as_deref()).map(str::to_owned),
            limit: self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX),
        })
    }
}

#[derive(Serialize)]
pub(crate) struct ClipList {
    clips: Vec<ClipView>,
    next: Option<String>,
}

#[derive(Serialize)]
struct ClipView {
    id: String,
    camera: String,
    from: String,
    duration_ms: u64,
    size_bytes: u64,
    frames: u64,
    motion_ms: Option<u64>,
    cause: String,
    state: &'static str,
    percent: Option<u8>,
    why: Option<String>,
}

impl From<Clip> for ClipView {
    fn from(clip: Clip) -> Self {
        let state = clip.state.code();
        let (percent, why) = match clip.state {
            ClipState::Uploading { percent } => (Some(percent.min(100)), None),
            ClipState::Parked { why } => (None, Some(why)),
            _ => (None, None),
        };
        Self {
            id: clip.id,
            camera: clip.camera.to_string(),
            from: clip.from.to_string(),
            duration_ms: u64::try_from(clip.duration.as_millis()).unwrap_or(u64::MAX),
            size_bytes: clip.size_bytes,
            frames: clip.frames,
            motion_ms: clip.motion_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            cause: clip.cause,
            state,
            percent,
            why,
        }
    }
}

/// `GET /api/v1/clips`
pub(crate) async fn list(
    State(state): State<AppState>,
    Asked(parameters): Asked<ClipParameters>,
) -> Result<Json<ClipList>, WebError> {
    let query = parameters.query()?;
    let limit = query.limit;
    let clips = state.system().clips(query).await?;
    let next = (clips.len() == limit).then(|| clips.last().map(|clip| clip.id.clone())).flatten();
    Ok(Json(ClipList { clips: clips.into_iter().map(ClipView::from).collect(), next }))
}

/// `GET /api/v1/clips/{id}/video`
pub(crate) async fn video(State(state): State<AppState>, Id(id): Id, headers: HeaderMap) -> Result<Response, WebError> {
    let clip = state.system().open_clip(&id).await?;
    let size = clip.size_bytes();
    let tag = format!("\"{size:x}\"");
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    // A player that holds part of an older, shorter file must not glue this one's bytes to it.
    let is_same = text(header::IF_RANGE).is_none_or(|known| known == tag);
    let asked = range::asked(text(header::RANGE).filter(|_| is_same), size);
    let common = [
        (header::CONTENT_TYPE, "video/mp4".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
    ];
    Ok(match asked {
        Part::Whole => {
            let length = [(header::CONTENT_LENGTH, size.to_string())];
            (common, length, body(clip, 0..size)).into_response()
        }
        Part::Part(part) => {
            let about = [
                (header::CONTENT_LENGTH, (part.end - part.start).to_string()),
                (header::CONTENT_RANGE, format!("bytes {}-{}/{size}", part.start, part.end - 1)),
            ];
            (StatusCode::PARTIAL_CONTENT, common, about, body(clip, part)).into_response()
        }
        Part::Beyond => {
            let message = format!("the clip has {size} bytes");
            WebError::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", message)
                .with_header(header::CONTENT_RANGE, &format!("bytes */{size}"))
                .into_response()
        }
    })
}

/// The bytes, read as the viewer takes them. A read that fails cuts the answer off, so that it is not taken for whole.
fn body(clip: Arc<dyn ClipReader>, range: Range<u64>) -> Body {
    let pieces = stream::unfold((clip, range), |(clip, rest)| async move {
        if rest.is_empty() {
            return None;
        }
        let end = rest.end.min(rest.start.saturating_add(CHUNK_BYTES));
        let piece = match clip.read(rest.start..end).await {
            Ok(piece) if piece.is_empty() => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
            Ok(piece) => Ok(piece.slice(..piece.len().min(usize::try_from(end - rest.start).unwrap_or(usize::MAX)))),
            Err(error) => {
                tracing::warn!(%error, "a clip could not be read to its end");
                Err(std::io::Error::other(error))
            }
        };
        let taken = piece.as_ref().map_or(rest.end - rest.start, |piece| piece.len() as u64);
        Some((piece, (clip, rest.start + taken..rest.end)))
    });
    Body::from_stream(pieces)
}
