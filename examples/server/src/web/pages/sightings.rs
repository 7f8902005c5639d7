//! The page of sightings: what was read or recognised, as pictures.

use super::*;
use crate::store::KeptSighting;
use crate::web::api::sightings::{KINDS, SightingParameters};

struct SightingCard {
    id: u64,
    at: Moment,
    camera: String,
    kind: String,
    subject: Option<String>,
    owner: Option<String>,
    standing: Option<String>,
    near: Option<String>,
    percent: u16,
    has_crop: bool,
    clip: Option<String>,
}

#[derive(Template)]
#[template(path = "sightings.html")]
struct SightingsPage {
    shell: Shell,
    cameras: Vec<Choice>,
    kinds: Vec<Choice>,
    subject: String,
    from: String,
    to: String,
    is_filtered: bool,
    is_first_page: bool,
    cards: Vec<SightingCard>,
    newest: String,
    older: Option<String>,
}

/// `GET /sightings`
pub(in crate::web) async fn sightings(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Asked(asked): Asked<SightingParameters>,
) -> Response {
    match page(&state, &who, asked).await {
        Ok(page) => shown(&page),
        Err(error) => error_page(error),
    }
}

async fn page(state: &AppState, who: &Who, asked: SightingParameters) -> Result<SightingsPage, WebError> {
    let query = asked.query()?;
    let found = state.store().sightings().list(&query).await?;
    let last = found.last().filter(|_| found.len() == query.limit).map(|it| it.id.to_string());
    let text = |value: &Option<String>| given(value.as_deref()).unwrap_or_default().to_owned();
    let (camera, kind, subject) = (text(&asked.camera), text(&asked.kind), text(&asked.subject));
    let (from, to) = (text(&asked.from), text(&asked.to));
    let address = |before: &str| {
        let filter = [("camera", &*camera), ("kind", &kind), ("subject", &subject), ("from", &from), ("to", &to)];
        address("/sightings", &[&filter[..], &[("before", before)]].concat())
    };
    let cameras = state.system().cameras();
    let mut cards = Vec::with_capacity(found.len());
    for it in found {
        cards.push(card(state, it, &cameras).await);
    }
    Ok(SightingsPage {
        shell: Shell::new("sightings", who),
        is_filtered: [&camera, &kind, &subject, &from, &to].iter().any(|text| !text.is_empty()),
        is_first_page: asked.before.is_none(),
        newest: address(""),
        older: last.map(|last| address(&last)),
        kinds: KINDS.map(|it| Choice { value: it.to_owned(), title: String::new(), is_chosen: it == kind }).into(),
        cameras: cameras
            .into_iter()
            .map(|it| Choice { is_chosen: it.id.as_str() == camera, value: it.id.to_string(), title: it.title })
            .collect(),
        cards,
        subject,
        from,
        to,
    })
}

async fn card(state: &AppState, it: KeptSighting, cameras: &[Camera]) -> SightingCard {
    let title = cameras.iter().find(|camera| camera.id.as_str() == it.camera).map(|camera| camera.title.clone());
    let by = godvision_core::Name::new(&it.camera).ok();
    SightingCard {
        clip: moments::clip_at(state, by.as_slice(), it.at).await,
        id: it.id,
        at: it.at.into(),
        camera: title.unwrap_or(it.camera),
        kind: it.kind,
        subject: it.subject,
        owner: it.owner,
        standing: it.standing,
        near: it.near,
        percent: (it.score.min(1000) + 5) / 10,
        has_crop: it.crop_bytes > 0,
    }
}
