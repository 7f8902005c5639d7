//! Passes for administrators, and the page that shows one to whoever has its link.
//!
//! **Never:** a list of links; a word to somebody without a good link about which passes there are.

use askama::Template;
use axum::extract::Request;
use base64::Engine as _;

use super::*;
use crate::store::KeptPass;
use crate::web::api::Id;
use crate::web::api::passes::{self, PassParameters, doors_for_people, opens, state_code, used, uses};
use crate::web::peer;

/// Under which name tries of links are counted.
const TRIED_AS: &str = "the link of a pass";

struct PassRow {
    id: String,
    person: Option<String>,
    doors: String,
    from: Moment,
    until: Moment,
    uses: Option<u8>,
    used: Option<u32>,
    state: &'static str,
    is_shown: bool,
    can_be_withdrawn: bool,
    made_by: String,
    made: Moment,
    why: Option<(String, String, Moment)>,
}

#[derive(Template)]
#[template(path = "passes.html")]
struct PassesPage {
    shell: Shell,
    rows: Vec<PassRow>,
    doors: Vec<(String, String)>,
    people: Vec<String>,
    next: Option<u64>,
    is_first_page: bool,
}

/// `GET /passes`
pub(in crate::web) async fn list(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Asked(asked): Asked<PassParameters>,
) -> Response {
    match page(&state, &who, &asked).await {
        Ok(page) => shown(&page),
        Err(error) => error_page(error),
    }
}

async fn row(state: &AppState, pass: KeptPass) -> Result<PassRow, WebError> {
    let used = used(state, &pass).await?;
    let code = state_code(state, &pass, used);
    Ok(PassRow {
        id: pass.claims.id.to_string(),
        doors: doors_for_people(&pass),
        uses: uses(&pass),
        used,
        state: code,
        is_shown: opens(code),
        can_be_withdrawn: opens(code) || code == "nobody",
        from: pass.claims.not_before.into(),
        until: pass.claims.not_after.into(),
        made_by: pass.made_by,
        made: pass.made.into(),
        why: pass.withdrawn.map(|it| (it.by, it.reason, it.at.into())),
        person: pass.claims.person.map(|it| it.to_string()),
    })
}

async fn page(state: &AppState, who: &Who, asked: &PassParameters) -> Result<PassesPage, WebError> {
    let access = state.store().access();
    let found = access.passes(asked.before, asked.limit()).await?;
    let next = found.last().filter(|_| found.len() == asked.limit()).map(|it| it.serial);
    let mut rows = Vec::with_capacity(found.len());
    for pass in found {
        rows.push(row(state, pass).await?);
    }
    let people = access.people(&crate::store::PeopleQuery { limit: 500, ..Default::default() }).await?;
    Ok(PassesPage {
        shell: Shell::new("passes", who),
        rows,
        doors: state.system().doors().into_iter().map(|door| (door.id.to_string(), door.title)).collect(),
        people: people.into_iter().map(|it| it.name.to_string()).collect(),
        next,
        is_first_page: asked.before.is_none(),
    })
}

#[derive(Template)]
#[template(path = "pass.html")]
struct PassPage {
    site: String,
    person: Option<String>,
    doors: String,
    from: Moment,
    until: Moment,
    uses: Option<u8>,
    /// The address of its picture; `None` once the pass opens nothing any more.
    code: Option<String>,
    /// Instead of all that.
    message: Option<String>,
}

fn told(status: StatusCode, message: &str) -> Response {
    let nothing = || Moment::from(WallTime::from_unix_seconds(0));
    let page = PassPage {
        site: String::new(),
        person: None,
        doors: String::new(),
        from: nothing(),
        until: nothing(),
        uses: None,
        code: None,
        message: Some(message.to_owned()),
    };
    render(status, &page)
}

fn wait_first(wait: std::time::Duration) -> Response {
    let mut answer = told(StatusCode::TOO_MANY_REQUESTS, "Too many wrong links came from here. Wait a little.");
    answer.headers_mut().insert(axum::http::header::RETRY_AFTER, wait.as_secs().max(1).into());
    answer
}

/// The code of `text` as the address of a picture: not a part of the page, so no rule of its style sheet touches the modules.
fn picture(text: &godvision_core::Secret) -> Result<String, WebError> {
    let svg = passes::qr(text)?.svg();
    Ok(format!("data:image/svg+xml;base64,{}", base64::engine::general_purpose::STANDARD.encode(svg)))
}

/// What a wrong link gets. Each is counted as a wrong password is, but apart from those: behind a proxy everybody has one
/// address, and whoever tries links there keeps nobody from signing in. A good one is shown whatever others have tried.
fn wrong(state: &AppState, request: &Request, message: &str) -> Response {
    let tried = state.link_throttle().attempt(peer(request), TRIED_AS, state.clock().mono());
    match tried {
        Ok(()) => told(StatusCode::NOT_FOUND, message),
        Err(wait) => wait_first(wait),
    }
}

/// `GET /pass/{token}`: shows a pass to whoever has its link.
pub(in crate::web) async fn pass(State(state): State<AppState>, Id(link): Id, request: Request) -> Response {
    match guest_page(&state, link.into()).await {
        Ok(Some(page)) => render(if page.code.is_some() { StatusCode::OK } else { StatusCode::GONE }, &page),
        Ok(None) => wrong(&state, &request, "There is no pass at this address. Ask whoever sent it."),
        Err(error) => told(error.status, "The pass cannot be shown now. Try again in a moment."),
    }
}

async fn guest_page(state: &AppState, link: godvision_core::Secret) -> Result<Option<PassPage>, WebError> {
    let access = state.store().access();
    let Some(pass) = access.pass_of_link(&link).await? else { return Ok(None) };
    let code = match opens(state_code(state, &pass, used(state, &pass).await?)) {
        true => Some(picture(&access.pass_text(&pass).await?)?),
        false => None,
    };
    let gone = "This pass was used up, was withdrawn or has ended. It opens nothing any more.";
    Ok(Some(PassPage {
        site: access.site().to_string(),
        doors: doors_for_people(&pass),
        uses: uses(&pass),
        from: pass.claims.not_before.into(),
        until: pass.claims.not_after.into(),
        person: pass.claims.person.map(|it| it.to_string()),
        message: code.is_none().then(|| gone.to_owned()),
        code,
    }))
}

#[derive(Template)]
#[template(path = "code.html")]
struct CodePage {
    site: String,
    person: String,
    code: String,
    /// The page asks for itself again then: no script, and the secret stays here.
    seconds: u64,
}

/// `GET /code/{token}`: the rolling code of this moment, for whoever has the link.
pub(in crate::web) async fn code(State(state): State<AppState>, Id(link): Id, request: Request) -> Response {
    match code_page(&state, link.into()).await {
        Ok(Some(page)) => shown(&page),
        Ok(None) => wrong(&state, &request, "There is no code at this address any more. Ask for a new link."),
        Err(error) => told(error.status, "The code cannot be shown now. Try again in a moment."),
    }
}

async fn code_page(state: &AppState, link: godvision_core::Secret) -> Result<Option<CodePage>, WebError> {
    let access = state.store().access();
    let Some((person, text, next)) = access.code_of_link(&link).await? else { return Ok(None) };
    let left_micros = next.as_unix_micros() - state.clock().wall().as_unix_micros();
    Ok(Some(CodePage {
        site: access.site().to_string(),
        person: person.to_string(),
        code: picture(&text)?,
        seconds: u64::try_from(left_micros).unwrap_or(0) / 1_000_000 + 1,
    }))
}
