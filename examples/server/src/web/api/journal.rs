//! The journal: pages of it, its services, and an export.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::stream;
use godvision_core::journal::{Journal, Kept, Level, Query};
use godvision_core::signal::door::AlarmKind;
use serde::{Deserialize, Serialize};

use super::super::guard::Who;
use super::super::{AppState, WebError};
use super::{Asked, given, moment, name};
use crate::store::{KeyKind, Role};

/// Most lines of an export; filter by period for the rest.
pub(crate) const EXPORT_LINES_MAX: usize = 100_000;

/// What the journal may be asked for; the page, the export and the API understand the same.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct JournalParameters {
    pub(crate) service: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) level: Option<String>,
    pub(crate) before: Option<u64>,
    pub(crate) limit: Option<usize>,
}

impl JournalParameters {
    pub(crate) fn query(&self) -> Result<Query, WebError> {
        let level = given(self.level.as_deref())
            .map(|code| {
                Level::from_code(code).ok_or_else(|| {
                    let message = format!("level={code:?} is none of info, warning, error, security");
                    WebError::bad_request("bad_level", message)
                })
            })
            .transpose()?;
        Ok(Query {
            service: name("service", self.service.as_deref())?,
            from: moment("from", self.from.as_deref())?,
            to: moment("to", self.to.as_deref())?,
            level,
            before_id: self.before,
            limit: self.limit.unwrap_or_default(),
        })
    }
}

#[derive(Serialize)]
pub(crate) struct EntryList {
    entries: Vec<EntryView>,
    next: Option<u64>,
}

#[derive(Serialize)]
struct EntryView {
    id: u64,
    at: String,
    service: String,
    level: &'static str,
    code: String,
    text: String,
    fields: serde_json::Map<String, serde_json::Value>,
}

impl From<Kept> for EntryView {
    fn from(entry: Kept) -> Self {
        Self {
            id: entry.id,
            at: entry.at.to_string(),
            service: entry.service,
            level: entry.level.code(),
            code: entry.code,
            text: entry.text,
            fields: entry.fields.into_iter().map(|(name, value)| (name, value.into())).collect(),
        }
    }
}

/// Whether `who` may read a line: a silent alarm is for operators, since a viewer's screen may stand at the door; and so is
/// who could raise one.
pub(crate) fn is_for(entry: &Kept, who: &Who) -> bool {
    let is_silent = |(name, value): &(String, String)| match name.as_str() {
        "alarm" => value == AlarmKind::Duress.code(),
        "kind" => value == KeyKind::DuressPin.code(),
        _ => false,
    };
    who.may(Role::Operator) || !entry.fields.iter().any(is_silent)
}

/// `GET /api/v1/journal`
pub(crate) async fn list(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Asked(parameters): Asked<JournalParameters>,
) -> Result<Json<EntryList>, WebError> {
    let query = parameters.query()?;
    let limit = query.limit();
    let entries = state.store().journal().query(query).await?;
    let next = (entries.len() == limit).then(|| entries.last().map(|entry| entry.id)).flatten();
    let entries = entries.into_iter().filter(|entry| is_for(entry, &who)).map(EntryView::from).collect();
    Ok(Json(EntryList { entries, next }))
}

#[derive(Serialize)]
pub(crate) struct ServiceList {
    services: Vec<String>,
}

/// `GET /api/v1/journal/services`
pub(crate) async fn services(State(state): State<AppState>) -> Result<Json<ServiceList>, WebError> {
    Ok(Json(ServiceList { services: state.store().journal().services().await? }))
}

#[derive(Serialize)]
pub(crate) struct HeadView {
    id: u64,
    hash: String,
    head: String,
}

/// `GET /api/v1/journal/head`
pub(crate) async fn head(State(state): State<AppState>) -> Result<Json<HeadView>, WebError> {
    let head = state.store().journal().head().await?;
    Ok(Json(HeadView { id: head.id, hash: crate::store::hex(&head.hash), head: head.to_string() }))
}

/// A cell of a CSV file (RFC 4180). A leading `=`, `+`, `-` or `@` gets an apostrophe: spreadsheets run such cells.
pub(super) fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn row(entry: &Kept) -> String {
    let fields: Vec<String> = entry.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let at = entry.at.to_string();
    let cells = [&*at, &entry.service, entry.level.code(), &entry.code, &entry.text, &fields.join("; ")].map(cell);
    format!("{},{}\r\n", entry.id, cells.join(","))
}

/// `GET /journal.csv`: everything that matches, newest first, at most [`EXPORT_LINES_MAX`] lines, read page by page.
pub(crate) async fn csv(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Asked(parameters): Asked<JournalParameters>,
) -> Result<Response, WebError> {
    let query = Query { limit: Query::LIMIT_MAX, ..parameters.query()? };
    let head = "\u{feff}id,at,service,level,code,text,fields\r\n".to_owned();
    let state = (state, who);
    let pages = stream::unfold((state, Some(query), Some(head), 0), |(state, query, head, lines)| async move {
        if let Some(head) = head {
            return Some((Ok(head), (state, query, None, lines)));
        }
        let query = query.filter(|_| lines < EXPORT_LINES_MAX)?;
        match state.0.store().journal().query(query.clone()).await {
            Ok(page) => {
                let last = page.last()?.id;
                let more = (page.len() == query.limit()).then_some(Query { before_id: Some(last), ..query });
                let text: String = page.iter().filter(|entry| is_for(entry, &state.1)).map(row).collect();
                Some((Ok(text), (state, more, None, lines + page.len())))
            }
            Err(error) => {
                tracing::error!(%error, "an export of the journal was cut off");
                Some((Err(std::io::Error::other(error)), (state, None, None, lines)))
            }
        }
    });
    let about = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"journal.csv\""),
    ];
    Ok((about, Body::from_stream(pages)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_run_nothing() {
        assert_eq!(cell("plain"), "\"plain\"");
        assert_eq!(cell("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(cell("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(cell("-1"), "\"'-1\"");
    }
}
