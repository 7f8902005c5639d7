//! Guests' passes: made, shown as a code, a card or a link, and withdrawn. Every change is journalled with who made it.
//!
//! **Never:** the text or the link of a pass in the journal or a log: whoever has either has the pass.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use godvision_access::pass::qr::{Card, Look, QrImage};
use godvision_access::pass::{DOORS_MAX, Doors, PassClaims, PassId, REASON_CHARS_MAX, Uses};
use godvision_core::journal::Level;
use godvision_core::{Name, WallTime};
use serde::{Deserialize, Serialize};

use super::super::guard::Who;
use super::super::system::PassRef;
use super::super::{AppState, WebError};
use super::{Asked, Id, given, moment};
use crate::persons;
use crate::store::{KeptPass, PASS_PAGE_MAX, Withdrawal};

/// How long a pass is valid when nothing is said.
pub(crate) const VALID_SECONDS_DEFAULT: i64 = 24 * 3600;
/// Passes in a page when nothing is said.
pub(crate) const LIMIT_DEFAULT: usize = 100;

#[derive(Serialize)]
pub(crate) struct PassView {
    id: String,
    person: Option<String>,
    doors: Vec<String>,
    from: String,
    until: String,
    uses: Option<u8>,
    used: Option<u32>,
    state: &'static str,
    made: String,
    made_by: String,
    withdrawn: Option<WithdrawnView>,
    link: String,
}

#[derive(Serialize)]
pub(super) struct WithdrawnView {
    at: String,
    by: String,
    reason: String,
}

impl From<&Withdrawal> for WithdrawnView {
    fn from(it: &Withdrawal) -> Self {
        Self { at: it.at.to_string(), by: it.by.clone(), reason: it.reason.clone() }
    }
}

#[derive(Serialize)]
pub(crate) struct PassList {
    passes: Vec<PassView>,
    next: Option<u64>,
}

/// `any`, `group:NAME`, or the doors one by one.
pub(crate) fn door_words(doors: &Doors) -> Vec<String> {
    match doors {
        Doors::All => vec!["any".to_owned()],
        Doors::Group(group) => vec![format!("group:{group}")],
        Doors::One(door) => vec![door.to_string()],
        Doors::Each(doors) => doors.iter().map(Name::to_string).collect(),
    }
}

/// How often `pass` may be used; `None` for any number of times.
pub(crate) fn uses(pass: &KeptPass) -> Option<u8> {
    match pass.claims.uses {
        Uses::Any => None,
        Uses::Times(uses) => Some(uses),
    }
}

/// How often `pass` was used; `None` where nobody counts, or nobody remembers.
pub(crate) async fn used(state: &AppState, pass: &KeptPass) -> Result<Option<u32>, WebError> {
    if uses(pass).is_none() {
        return Ok(None);
    }
    let of = PassRef { key: pass.key, id: pass.claims.id, until: pass.claims.not_after };
    let used = state.system().pass_uses(of).await?;
    Ok((used < u32::MAX).then_some(used))
}

/// `valid`, `not_yet`, `used`, `expired`, `withdrawn`, or `nobody` if the person it names may enter nowhere: as the doors
/// would answer now.
pub(crate) fn state_code(state: &AppState, pass: &KeptPass, used: Option<u32>) -> &'static str {
    let now = state.clock().wall();
    let is_nobody = |person: &Name| state.store().access().shared().current().directory.holder_named(person).is_err();
    if pass.withdrawn.is_some() {
        "withdrawn"
    } else if pass.claims.person.as_ref().is_some_and(is_nobody) && now < pass.claims.not_after {
        "nobody"
    } else if now >= pass.claims.not_after {
        "expired"
    } else if uses(pass).is_some_and(|uses| used.is_some_and(|used| used >= u32::from(uses))) {
        "used"
    } else if now < pass.claims.not_before {
        "not_yet"
    } else {
        "valid"
    }
}

/// Whether a pass of that [`state_code`] opens something, now or later: else its code is shown to nobody.
pub(crate) fn opens(code: &str) -> bool {
    matches!(code, "valid" | "not_yet")
}

/// The path of the page that shows `pass` to whoever has the link.
pub(crate) async fn link(state: &AppState, pass: &KeptPass) -> Result<String, WebError> {
    Ok(format!("/pass/{}", state.store().access().pass_link(pass).await?.expose()))
}

impl PassView {
    async fn of(state: &AppState, pass: &KeptPass) -> Result<Self, WebError> {
        let used = used(state, pass).await?;
        let claims = &pass.claims;
        Ok(Self {
            id: claims.id.to_string(),
            person: claims.person.as_ref().map(Name::to_string),
            doors: door_words(&claims.doors),
            from: claims.not_before.to_string(),
            until: claims.not_after.to_string(),
            uses: uses(pass),
            used,
            state: state_code(state, pass, used),
            made: pass.made.to_string(),
            made_by: pass.made_by.clone(),
            withdrawn: pass.withdrawn.as_ref().map(WithdrawnView::from),
            link: link(state, pass).await?,
        })
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct PassParameters {
    pub(crate) before: Option<u64>,
    pub(crate) limit: Option<usize>,
}

impl PassParameters {
    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, PASS_PAGE_MAX)
    }
}

/// `GET /api/v1/passes`: newest first.
pub(crate) async fn list(
    State(state): State<AppState>,
    Asked(asked): Asked<PassParameters>,
) -> Result<Json<PassList>, WebError> {
    let found = state.store().access().passes(asked.before, asked.limit()).await?;
    let next = found.last().filter(|_| found.len() == asked.limit()).map(|it| it.serial);
    let mut passes = Vec::with_capacity(found.len());
    for pass in &found {
        passes.push(PassView::of(&state, pass).await?);
    }
    Ok(Json(PassList { passes, next }))
}

/// `GET /api/v1/passes/{id}`
pub(crate) async fn get(State(state): State<AppState>, Id(id): Id) -> Result<Json<PassView>, WebError> {
    let pass = state.store().access().pass(&id).await?;
    Ok(Json(PassView::of(&state, &pass).await?))
}

/// A pass that is asked for. What is not said: whoever holds it, from now on, for a day, once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPass {
    #[serde(default)]
    person: Option<String>,
    doors: Vec<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    until: Option<String>,
    #[serde(default = "once")]
    uses: Option<u8>,
}

fn once() -> Option<u8> {
    Some(1)
}

fn bad(field: &'static str, message: impl Into<String>) -> WebError {
    WebError::bad_request(field, message)
}

fn doors(state: &AppState, asked: &[String]) -> Result<Doors, WebError> {
    let known = state.system().doors();
    let one = |text: &String| {
        let found = known.iter().find(|door| door.id.as_str() == text.trim());
        found.map(|door| door.id.clone()).ok_or_else(|| bad("bad_doors", format!("there is no door {text:?}")))
    };
    match asked {
        [] => Err(bad("bad_doors", "choose a door, or any")),
        [any] if any.trim() == "any" => Ok(Doors::All),
        [group] if group.trim().starts_with("group:") => {
            let group = group.trim().trim_start_matches("group:");
            Name::new(group).map(Doors::Group).map_err(|error| bad("bad_doors", error.to_string()))
        }
        [door] => Ok(Doors::One(one(door)?)),
        doors if doors.len() > DOORS_MAX => {
            let message = format!("a pass names at most {DOORS_MAX} doors: choose any, or a group of doors");
            Err(bad("bad_doors", message))
        }
        doors => Ok(Doors::Each(doors.iter().map(one).collect::<Result<_, _>>()?)),
    }
}

async fn claims(state: &AppState, asked: &NewPass) -> Result<PassClaims, WebError> {
    let person = match given(asked.person.as_deref()) {
        None => None,
        Some(text) => {
            let name = Name::new(text).map_err(|error| bad("bad_person", error.to_string()))?;
            // The doors would say that nobody has this credential.
            if state.store().access().person(&name).await?.is_none() {
                return Err(bad(
                    "bad_person",
                    format!("there is no person {name}: add them first, or leave this empty"),
                ));
            }
            Some(name)
        }
    };
    let period =
        |what, text: &Option<String>| moment(what, text.as_deref()).map_err(|error| bad("bad_period", error.message));
    let now = state.clock().wall();
    let from = period("from", &asked.from)?.unwrap_or(now).as_unix_seconds();
    let until = period("until", &asked.until)?.map_or(from + VALID_SECONDS_DEFAULT, WallTime::as_unix_seconds);
    let until = WallTime::from_unix_seconds(until);
    if until <= now || until.as_unix_seconds() <= from {
        return Err(bad("bad_period", "a pass must end after it begins, and in the future"));
    }
    let random = persons::random().map_err(|error| {
        WebError::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "unavailable", format!("{error:#}"))
    })?;
    Ok(PassClaims {
        id: PassId(random),
        person,
        doors: doors(state, &asked.doors)?,
        not_before: WallTime::from_unix_seconds(from),
        not_after: until,
        uses: match asked.uses {
            None => Uses::Any,
            Some(0) => return Err(bad("bad_uses", "a pass opens 1 to 255 times, or any number of times")),
            Some(uses) => Uses::Times(uses),
        },
    })
}

/// `POST /api/v1/passes`
pub(crate) async fn make(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<Json<NewPass>, JsonRejection>,
) -> Result<Json<PassView>, WebError> {
    let Json(asked) = body?;
    let claims = claims(&state, &asked).await?;
    let (id, doors) = (claims.id.to_string(), door_words(&claims.doors).join(", "));
    let holder = claims.person.as_ref().map_or("whoever holds it", Name::as_str);
    let uses = asked.uses.map_or("any".to_owned(), |uses| uses.to_string());
    let text = format!("{} made a pass of {holder} for {doors}", who.name());
    let (from, until) = (claims.not_before.to_string(), claims.not_after.to_string());
    let fields = [
        ("pass", &*id),
        ("person", holder),
        ("doors", &*doors),
        ("from", &*from),
        ("until", &*until),
        ("uses", &*uses),
        ("user", who.name()),
    ];
    let entry = state.entry(Level::Security, "pass.made", text, &fields)?;
    let access = state.store().access();
    access.make_pass(&access.site(), &claims, who.name(), entry).await?;
    let made = access.pass(&id).await?;
    Ok(Json(PassView::of(&state, &made).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WithdrawalReason {
    pub(super) reason: String,
}

/// A reason that says something.
pub(super) fn why(reason: &str) -> Result<&str, WebError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
        return Err(bad("bad_reason", format!("say why, in at most {REASON_CHARS_MAX} characters")));
    }
    Ok(reason)
}

/// `POST /api/v1/passes/{id}/withdraw`: at every door, at once and for good.
pub(crate) async fn withdraw(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<WithdrawalReason>, JsonRejection>,
) -> Result<Json<PassView>, WebError> {
    let Json(WithdrawalReason { reason }) = body?;
    let reason = why(&reason)?;
    let access = state.store().access();
    let pass = access.pass(&id).await?;
    let holder = pass.claims.person.as_ref().map_or("whoever holds it", Name::as_str);
    let text = format!("{} withdrew a pass of {holder}: {reason}", who.name());
    let fields = [("pass", &*id), ("person", holder), ("reason", reason), ("user", who.name())];
    let entry = state.entry(Level::Security, "pass.withdrawn", text, &fields)?;
    access.withdraw_pass(pass.claims.id, who.name(), reason, entry).await?;
    Ok(Json(PassView::of(&state, &access.pass(&id).await?).await?))
}

/// The code of a pass that still opens, or why there is none.
async fn code(state: &AppState, id: &str) -> Result<(KeptPass, QrImage), WebError> {
    let access = state.store().access();
    let pass = access.pass(id).await?;
    if !opens(state_code(state, &pass, used(state, &pass).await?)) {
        let message = "this pass opens nothing any more: make a new one";
        return Err(WebError::new(axum::http::StatusCode::GONE, "gone", message));
    }
    let image = qr(&access.pass_text(&pass).await?)?;
    Ok((pass, image))
}

/// The picture of a pass's text.
pub(crate) fn qr(text: &godvision_core::Secret) -> Result<QrImage, WebError> {
    QrImage::new(text).map_err(|error| bad("bad_pass", error.to_string()))
}

/// `GET /api/v1/passes/{id}/qr`: the code as a PNG.
pub(crate) async fn png(State(state): State<AppState>, Id(id): Id) -> Result<Response, WebError> {
    let (_, image) = code(&state, &id).await?;
    let png = image.png(&Look::default()).map_err(|error| bad("bad_pass", error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "image/png")], png).into_response())
}

/// From when until when, in UTC: a card on paper cannot know where it is read.
pub(crate) fn period_words(pass: &KeptPass) -> [String; 2] {
    [pass.claims.not_before, pass.claims.not_after].map(|at| {
        let (year, month, day, hour, minute, _) = at.utc_parts();
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
    })
}

/// The doors, for people.
pub(crate) fn doors_for_people(pass: &KeptPass) -> String {
    match &pass.claims.doors {
        Doors::All => "every door".to_owned(),
        Doors::Group(group) => format!("the doors of {group}"),
        Doors::One(_) | Doors::Each(_) => door_words(&pass.claims.doors).join(", "),
    }
}

/// `GET /api/v1/passes/{id}/card`: an SVG to print.
pub(crate) async fn card(State(state): State<AppState>, Id(id): Id) -> Result<Response, WebError> {
    let (pass, image) = code(&state, &id).await?;
    let (site, doors) = (state.store().access().site().to_string(), doors_for_people(&pass));
    let [from, until] = period_words(&pass);
    let uses = match uses(&pass) {
        None => String::new(),
        Some(1) => "opens once".to_owned(),
        Some(uses) => format!("opens {uses} times"),
    };
    let (from, until) = (format!("from {from}"), format!("until {until}"));
    let title = pass.claims.person.as_ref().map_or(&*site, Name::as_str);
    let svg = Card { title, lines: &[&site, &doors, &from, &until, &uses] }.svg(&image);
    let name = format!("inline; filename=\"pass-{}.svg\"", pass.claims.id);
    Ok(([(header::CONTENT_TYPE, "image/svg+xml".to_owned()), (header::CONTENT_DISPOSITION, name)], svg).into_response())
}
