//! The list of number plates: pages of it, changes, and exchange with spreadsheets.

use axum::extract::State;
use axum::extract::rejection::{JsonRejection, StringRejection};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use godvision_core::WallTime;
use godvision_core::journal::Level;
use godvision_vision::plate::PlateText;
use serde::{Deserialize, Serialize};

use super::super::guard::Who;
use super::super::system::SystemError;
use super::super::{AppState, WebError};
use super::{Asked, Id, given, moment};
use crate::store::{KnownPlate, PLATE_PAGE_MAX, PLATES_MAX, PlateProblem, Standing, StoreError};

/// Plates in a page when nothing is said.
pub(crate) const LIMIT_DEFAULT: usize = 100;
/// Longest text that is searched for.
pub(crate) const SEARCH_CHARS_MAX: usize = 100;
/// Largest file that is imported: some 20,000 lines as people write them.
pub(crate) const IMPORT_BYTES_MAX: usize = 2 << 20;

/// What the list may be asked for; the page, the export and the API understand the same.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct PlateParameters {
    pub(crate) search: Option<String>,
    pub(crate) after: Option<String>,
    pub(crate) limit: Option<usize>,
}

impl PlateParameters {
    /// What to search for, after which plate, how many.
    pub(crate) fn query(&self) -> Result<(&str, &str, usize), WebError> {
        let search = given(self.search.as_deref()).unwrap_or_default();
        if search.chars().count() > SEARCH_CHARS_MAX {
            let message = format!("a search has at most {SEARCH_CHARS_MAX} characters");
            return Err(WebError::bad_request("bad_search", message));
        }
        let after = given(self.after.as_deref()).unwrap_or_default();
        Ok((search, after, self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, PLATE_PAGE_MAX)))
    }
}

#[derive(Serialize)]
pub(crate) struct PlateList {
    plates: Vec<PlateView>,
    next: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct PlateView {
    plate: String,
    owner: String,
    note: String,
    standing: &'static str,
    from: Option<String>,
    to: Option<String>,
}

impl From<KnownPlate> for PlateView {
    fn from(it: KnownPlate) -> Self {
        Self {
            plate: it.plate.to_string(),
            owner: it.owner,
            note: it.note,
            standing: it.standing.code(),
            from: it.from.map(|at| at.to_string()),
            to: it.to.map(|at| at.to_string()),
        }
    }
}

/// What is written about a plate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlateContent {
    owner: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    standing: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
}

/// What is wrong with a plate, by a code that ends in the field's name: the page shows it there.
fn bad_plate(problem: PlateProblem) -> WebError {
    let code = match problem {
        PlateProblem::Owner => "bad_owner",
        PlateProblem::Note => "bad_note",
        PlateProblem::Period => "bad_to",
    };
    WebError::bad_request(code, problem.to_string())
}

fn store_error(error: StoreError) -> WebError {
    match error {
        StoreError::BadPlate(problem) => bad_plate(problem),
        error @ StoreError::ListFull => WebError::bad_request("list_full", error.to_string()),
        error => error.into(),
    }
}

/// Reads a plate as people write it.
pub(crate) fn plate(text: &str) -> Result<PlateText, WebError> {
    text.parse().map_err(|_| {
        let message = "a plate has 2 to 10 Latin letters and digits, or the Cyrillic letters АВЕКМНОРСТУХ: write it as it \
                       stands on the car";
        WebError::bad_request("bad_plate", message)
    })
}

fn known(plate: PlateText, content: PlateContent) -> Result<KnownPlate, WebError> {
    let standing = match given(content.standing.as_deref()) {
        None => Standing::Allow,
        Some(code) => Standing::from_code(code).ok_or_else(|| {
            WebError::bad_request("bad_standing", format!("standing={code:?} is none of allow, watch"))
        })?,
    };
    let known = KnownPlate {
        plate,
        owner: content.owner.trim().to_owned(),
        note: content.note.trim().to_owned(),
        standing,
        from: moment("from", content.from.as_deref())?,
        to: moment("to", content.to.as_deref())?,
    };
    known.check().map_err(bad_plate)?;
    Ok(known)
}

/// `GET /api/v1/plates`
pub(crate) async fn list(
    State(state): State<AppState>,
    Asked(parameters): Asked<PlateParameters>,
) -> Result<Json<PlateList>, WebError> {
    let (search, after, limit) = parameters.query()?;
    let found = state.store().plates().page(search, after, limit).await?;
    let next = (found.len() == limit).then(|| found.last().map(|it| it.plate.to_string())).flatten();
    Ok(Json(PlateList { plates: found.into_iter().map(PlateView::from).collect(), next }))
}

/// `PUT /api/v1/plates/{id}`
pub(crate) async fn put(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
    body: Result<Json<PlateContent>, JsonRejection>,
) -> Result<Json<PlateView>, WebError> {
    let Json(content) = body?;
    let known = known(plate(&id)?, content)?;
    let was = state.store().plates().find(&known.plate).await?;
    // Journalled first: who is watched for, or welcome, does not change without a line.
    let (what, text) = match was {
        Some(_) => {
            ("changed", format!("{} changed what the list says of the number plate {}", who.name(), known.plate))
        }
        None => ("added", format!("{} put the number plate {} on the list", who.name(), known.plate)),
    };
    let fields = [("plate", known.plate.as_str()), ("standing", known.standing.code()), ("user", who.name())];
    state.note(Level::Security, &format!("plate.{what}"), text, &fields).await?;
    state.store().plates().put(std::slice::from_ref(&known)).await.map_err(store_error)?;
    Ok(Json(known.into()))
}

/// `DELETE /api/v1/plates/{id}`: answers with what it said, so that it can be put back.
pub(crate) async fn remove(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    Id(id): Id,
) -> Result<Json<PlateView>, WebError> {
    let plate = plate(&id)?;
    let found = state.store().plates().find(&plate).await?;
    let known = found.ok_or_else(|| SystemError::NotFound { what: "number plate", id: plate.to_string() })?;
    let text = format!("{} took the number plate {plate} off the list", who.name());
    let fields = [("plate", plate.as_str()), ("standing", known.standing.code()), ("user", who.name())];
    state.note(Level::Security, "plate.removed", text, &fields).await?;
    state.store().plates().remove(&plate).await?;
    Ok(Json(known.into()))
}

#[derive(Serialize)]
pub(crate) struct Imported {
    plates: usize,
}

/// `POST /api/v1/plates/import`: all lines of a CSV file, or none.
pub(crate) async fn import(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<String, StringRejection>,
) -> Result<Json<Imported>, WebError> {
    let text = body.map_err(|rejection| WebError::new(rejection.status(), "bad_body", rejection.body_text()))?;
    let plates = read_csv(&text)?;
    let count = plates.len();
    let text = format!("{} imported {count} number plates", who.name());
    let fields = [("plates", &*count.to_string()), ("user", who.name())];
    state.note(Level::Security, "plate.imported", text, &fields).await?;
    state.store().plates().put(&plates).await.map_err(store_error)?;
    Ok(Json(Imported { plates: count }))
}

/// The columns of a file, in the order of the export. Only the first two must be there.
const COLUMNS: [&str; 6] = ["plate", "owner", "note", "standing", "from", "to"];

fn read_csv(text: &str) -> Result<Vec<KnownPlate>, WebError> {
    let wrong = |line: usize, why: &str| WebError::bad_request("bad_csv", format!("line {line}: {why}"));
    let text = text.trim_start_matches('\u{feff}');
    // Spreadsheets of half the world separate by semicolons.
    let head = text.lines().next().unwrap_or_default();
    let separator = if head.contains(';') && !head.contains(',') { ';' } else { ',' };
    let mut rows = records(text, separator).map_err(|line| wrong(line, "a quote is not closed"))?.into_iter();
    let (_, head) = rows.next().ok_or_else(|| wrong(1, "the file is empty"))?;
    let column = |name: &str| head.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
    let columns = COLUMNS.map(column);
    if columns[0].is_none() || columns[1].is_none() {
        return Err(wrong(1, "must name the columns, plate and owner at least: plate,owner,note,standing,from,to"));
    }
    let mut plates = Vec::new();
    for (line, row) in rows {
        if row.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if plates.len() >= PLATES_MAX {
            return Err(wrong(line, &StoreError::ListFull.to_string()));
        }
        let cell = |index: usize| columns[index].and_then(|at| row.get(at)).map(|cell| unguarded(cell.trim()));
        let day = |index: usize| cell(index).filter(|text| !text.is_empty()).map(midnight);
        let content = PlateContent {
            owner: cell(1).unwrap_or_default().to_owned(),
            note: cell(2).unwrap_or_default().to_owned(),
            standing: cell(3).map(str::to_lowercase),
            from: day(4),
            to: day(5),
        };
        let known = plate(cell(0).unwrap_or_default()).and_then(|plate| known(plate, content));
        plates.push(known.map_err(|error| wrong(line, &error.message))?);
    }
    Ok(plates)
}

/// A bare day is its midnight in UTC.
fn midnight(text: &str) -> String {
    match text.parse::<jiff::civil::Date>() {
        Ok(day) if text.len() == "2026-11-21".len() => format!("{day}T00:00:00Z"),
        _ => text.to_owned(),
    }
}

/// A cell without the apostrophe that an export puts before what a spreadsheet would run.
fn unguarded(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if rest.starts_with(['=', '+', '-', '@']) => rest,
        _ => text,
    }
}

/// The records of a CSV file (RFC 4180), each with the line where it begins. The line where a quote stays open, if one does.
fn records(text: &str, separator: char) -> Result<Vec<(usize, Vec<String>)>, usize> {
    let (mut records, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begun, mut quoted) = (1, 1, None);
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        line += usize::from(sign == '\n');
        match (quoted, sign) {
            (Some(_), '"') if signs.peek() == Some(&'"') => {
                signs.next();
                cell.push('"');
            }
            (Some(_), '"') => quoted = None,
            (Some(_), sign) => cell.push(sign),
            (None, '"') if cell.is_empty() => quoted = Some(line),
            (None, '\r') if signs.peek() == Some(&'\n') => {}
            (None, '\n') => {
                row.push(std::mem::take(&mut cell));
                records.push((begun, std::mem::take(&mut row)));
                begun = line;
            }
            (None, sign) if sign == separator => row.push(std::mem::take(&mut cell)),
            (None, sign) => cell.push(sign),
        }
    }
    if let Some(line) = quoted {
        return Err(line);
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        records.push((begun, row));
    }
    Ok(records)
}

/// `GET /plates.csv`: everything that matches, as it can be imported again.
pub(crate) async fn csv(
    State(state): State<AppState>,
    Asked(parameters): Asked<PlateParameters>,
) -> Result<Response, WebError> {
    let (search, _, _) = parameters.query()?;
    let mut text = format!("\u{feff}{}\r\n", COLUMNS.join(","));
    let mut after = String::new();
    loop {
        let page = state.store().plates().page(search, &after, PLATE_PAGE_MAX).await?;
        let Some(last) = page.last() else { break };
        after = last.plate.to_string();
        for it in &page {
            let day = |at: Option<WallTime>| at.map(|at| at.to_string()).unwrap_or_default();
            let (from, to) = (day(it.from), day(it.to));
            let cells =
                [it.plate.as_str(), &it.owner, &it.note, it.standing.code(), &from, &to].map(super::journal::cell);
            text.push_str(&cells.join(","));
            text.push_str("\r\n");
        }
    }
    let about = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"plates.csv\""),
    ];
    Ok((about, text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_read_as_spreadsheets_write_them() {
        let text = "\u{feff}Owner;plate;note\r\n\"Ada; of \"\"Love\"\"\nlace\";а123вс 77;\r\n\r\nBob;b-ab 1234;'=x\r\n";
        let error = read_csv(text).unwrap_err();
        assert!(error.message.contains("line 2: the owner's name"), "a line break in a name: {}", error.message);
        let plates = read_csv(&text.replace('\n', "").replace('\r', "\n")).unwrap();
        let of = |index: usize| (plates[index].plate.as_str(), &*plates[index].owner, &*plates[index].note);
        assert_eq!(of(0), ("A123BC77", "Ada; of \"Love\"lace", ""));
        assert_eq!(of(1), ("BAB1234", "Bob", "=x"));
        let period = "plate,owner,standing,from,to\nA1,Ada,WATCH,2026-01-01,2026-02-01T12:00:00Z\n";
        let it = &read_csv(period).unwrap()[0];
        assert_eq!((it.standing, it.from.unwrap().to_string().get(..10)), (Standing::Watch, Some("2026-01-01")));
        for (wrong, told) in [
            ("", "line 1: the file is empty"),
            ("name\nA1\n", "line 1: must name the columns"),
            ("plate,owner\nA1,Ada\nЖЖ1,Bob\n", "line 3: a plate has"),
            ("plate,owner\nA1,\n", "line 2: the owner's name"),
            ("plate,owner\nA1,\"Ada\n", "line 2: a quote is not closed"),
            ("plate,owner,from,to\nA1,Ada,2026-02-01,2026-01-01\n", "line 2: the period ends"),
            ("plate,owner,standing\nA1,Ada,friend\n", "line 2: standing"),
            ("plate,owner,from\nA1,Ada,tomorrow\n", "line 2: from"),
        ] {
            let error = read_csv(wrong).unwrap_err();
            assert!(error.message.contains(told), "{wrong:?}: {}", error.message);
        }
    }

    proptest! {
        #[test]
        fn cells_come_back_as_they_were(cells in prop::collection::vec("[a-z,;\"\n= ]{1,12}", 1..6)) {
            let line: Vec<String> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
            let text = format!("{}\r\n{}", line.join(","), line.join(","));
            let rows: Vec<_> = records(&text, ',').unwrap().into_iter().map(|(_, row)| row).collect();
            prop_assert_eq!(rows, vec![cells.clone(), cells]);
        }

        #[test]
        fn no_file_breaks_the_reader(text in "[\"a,;\r\n'é1=]{0,60}") {
            let _ = read_csv(&text);
        }
    }
}
