//! The rules as forms: the document as records of its schema, one record changed in a draft, and who could enter.
//!
//! A form changes the text that the page holds; what comes back is that text, checked and compared as
//! [`super::rules::check`] does. Putting it in force is [`super::rules::put`], for forms and for the editor alike.
//!
//! **Never:** a change of its own: nothing here touches what is in force.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use godvision_access::rule::schema::{Field, FieldKind, Record, Required, Shape};
use godvision_access::rule::{Kinds, schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{AppState, WebError};
use super::rules::{DiffLine, Fault, diff};
use super::{given, moment, name};
use crate::rules_form::{FormProblem, RuleDraft, place_of};
use crate::store::{PEOPLE_PAGE_MAX, PeopleQuery};

/// Most names of persons that a page offers; others are typed.
const NAMES_MAX: usize = 4 * PEOPLE_PAGE_MAX;
/// Most people that are listed as those who could enter.
pub(crate) const WHO_MAX: usize = 200;

#[derive(Serialize)]
struct FieldView {
    key: &'static str,
    kind: &'static str,
    about: &'static str,
    required: bool,
    /// Exactly one of these keys is written.
    one_of: Option<&'static [&'static str]>,
    choices: Option<&'static [&'static str]>,
    min: Option<i64>,
    max: Option<i64>,
    list: bool,
}

impl From<&'static Field> for FieldView {
    fn from(field: &'static Field) -> Self {
        let bounds = if let FieldKind::Integer { min, max } = field.kind { Some((min, max)) } else { None };
        Self {
            key: field.key,
            kind: field.kind.code(),
            about: field.about,
            required: field.required == Required::Yes,
            one_of: if let Required::OneOf(keys) = field.required { Some(keys) } else { None },
            choices: field.kind.choices(),
            min: bounds.map(|(min, _)| min),
            max: bounds.map(|(_, max)| max),
            list: field.kind.is_list(),
        }
    }
}

#[derive(Serialize)]
struct RecordView {
    name: Option<String>,
    values: BTreeMap<&'static str, Value>,
}

#[derive(Serialize)]
struct TableView {
    table: &'static str,
    title: &'static str,
    about: &'static str,
    shape: &'static str,
    fields: Vec<FieldView>,
    records: Vec<RecordView>,
}

#[derive(Serialize)]
pub(crate) struct FormView {
    /// Why the text cannot be shown as forms.
    fault: Option<Fault>,
    tables: Vec<TableView>,
    /// What may be chosen, by what is chosen: `persons`, `groups`, `doors`, ...
    names: BTreeMap<&'static str, Vec<String>>,
}

fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Top => "top",
        Shape::NamedLists => "named_lists",
        Shape::NamedTables => "named_tables",
        Shape::List => "list",
        Shape::Table => "table",
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    #[serde(default)]
    text: Option<String>,
}

async fn names(state: &AppState, draft: &RuleDraft) -> Result<BTreeMap<&'static str, Vec<String>>, WebError> {
    let access = state.store().access();
    let own = |table: &str| {
        let record = schema().iter().find(|it| it.table == table);
        record.into_iter().flat_map(|it| draft.records(it)).filter_map(|it| it.name).collect::<Vec<_>>()
    };
    let mut groups: BTreeSet<String> = access.groups().iter().map(ToString::to_string).collect();
    groups.extend(own("groups"));
    let doors: Vec<String> = state.system().doors().into_iter().map(|it| it.id.to_string()).collect();
    let outputs = state.system().door_setup(None).map(|it| it.sources).unwrap_or_default();
    let component = |output: &str| output.split('#').next().unwrap_or_default().to_owned();
    let sources: BTreeSet<String> = outputs.iter().map(|it| component(&it.output)).collect();
    let mut persons: Vec<String> = Vec::new();
    while persons.len() < NAMES_MAX {
        let after = persons.last().cloned().unwrap_or_default();
        let query = PeopleQuery { limit: PEOPLE_PAGE_MAX, after, ..PeopleQuery::default() };
        let page = access.people(&query).await?;
        persons.extend(page.iter().map(|it| it.name.to_string()));
        if page.len() < PEOPLE_PAGE_MAX {
            break;
        }
    }
    Ok(BTreeMap::from([
        ("persons", persons),
        ("groups", groups.into_iter().collect()),
        ("doors", doors),
        ("door_groups", own("door_groups")),
        ("schedules", own("schedules")),
        ("holidays", own("holidays")),
        ("areas", own("areas")),
        ("sources", sources.into_iter().collect()),
    ]))
}

/// `POST /api/v1/rules/form`: the rules in force, or a draft, as records with the description of their forms.
pub(crate) async fn form(
    State(state): State<AppState>,
    body: Result<Json<Draft>, JsonRejection>,
) -> Result<Json<FormView>, WebError> {
    let Json(Draft { text }) = body?;
    let text = text.map_or_else(|| state.store().access().rules().text.to_string(), |it| it.replace("\r\n", "\n"));
    let (draft, fault) = match RuleDraft::read(&text) {
        Ok(draft) => (draft, None),
        // With the place, as the document's own reader says it.
        Err(problem) => {
            let said = state.store().access().check_rules(&text).await.err().map(Fault::from);
            return Ok(Json(FormView {
                fault: said.or(Some(Fault::told(problem.detail))),
                tables: Vec::new(),
                names: BTreeMap::new(),
            }));
        }
    };
    let table = |record: &'static Record| TableView {
        table: record.table,
        title: record.title,
        about: record.about,
        shape: shape(record.shape),
        fields: record.fields.iter().map(FieldView::from).collect(),
        records: draft.records(record).into_iter().map(|it| RecordView { name: it.name, values: it.values }).collect(),
    };
    Ok(Json(FormView { fault, tables: schema().iter().map(table).collect(), names: names(&state, &draft).await? }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    text: String,
    table: String,
    /// Which record of the table; a new one if left out.
    #[serde(default)]
    at: Option<usize>,
    /// What a new record is called, where its key is its name.
    #[serde(default)]
    name: Option<String>,
    /// Keys that change; `null` takes one away. Left out: the record is taken away.
    #[serde(default)]
    values: Option<serde_json::Map<String, Value>>,
}

/// What is wrong, and at which field of which record.
#[derive(Serialize)]
pub(crate) struct FieldFault {
    table: Option<&'static str>,
    at: Option<usize>,
    key: Option<&'static str>,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
}

#[derive(Serialize)]
pub(crate) struct Edited {
    text: String,
    /// Then the text is as it was sent.
    fault: Option<FieldFault>,
    rules: usize,
    /// Against what is in force.
    diff: Vec<DiffLine>,
}

/// `POST /api/v1/rules/edit`: one record of a draft changed, added or taken away. Changes nothing in force.
pub(crate) async fn edit(
    State(state): State<AppState>,
    body: Result<Json<Edit>, JsonRejection>,
) -> Result<Json<Edited>, WebError> {
    let Json(Edit { text, table, at, name, values }) = body?;
    let text = text.replace("\r\n", "\n");
    let access = state.store().access();
    let record = schema().iter().find(|it| it.table == table);
    let record = record.ok_or_else(|| WebError::bad_request("bad_table", "rules have no such table"))?;
    let refused = |fault: FieldFault| {
        Ok(Json(Edited { diff: diff(&access.rules().text, &text), text: text.clone(), fault: Some(fault), rules: 0 }))
    };
    let changed = RuleDraft::read(&text).and_then(|mut draft| {
        let at = match (&values, at) {
            (Some(values), at) => draft.put(record, at, name.as_deref(), values)?,
            (None, Some(at)) => draft.remove(record, at).map(|()| at)?,
            (None, None) => {
                return Err(FormProblem { key: None, detail: "say which record, or what it holds".to_owned() });
            }
        };
        Ok((draft.text(), at))
    });
    let next = match changed {
        Ok((next, _)) => next,
        Err(FormProblem { key, detail }) => {
            let (line, column) = (None, None);
            return refused(FieldFault { table: Some(record.table), at, key, line, column, message: detail });
        }
    };
    let rules = match access.check_rules(&next).await {
        Ok(set) => set.rules.len(),
        Err(problem) => {
            let Fault { line, column, message } = Fault::from(problem);
            let place = line.zip(column).and_then(|(line, column)| place_of(&next, line, column));
            return refused(FieldFault {
                table: place.map(|it| it.table),
                at: place.map(|it| it.at),
                key: place.and_then(|it| it.key),
                line,
                column,
                message,
            });
        }
    };
    Ok(Json(Edited { diff: diff(&access.rules().text, &next), text: next, fault: None, rules }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhoAsked {
    door: String,
    kind: String,
    #[serde(default)]
    at: Option<String>,
    /// A draft to answer by; what is in force otherwise.
    #[serde(default)]
    text: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct WhoView {
    person: String,
    title: String,
    rule: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct WhoList {
    at: String,
    people: Vec<WhoView>,
    /// How many there are beside those listed.
    more: usize,
    /// Of how many people.
    of: usize,
}

/// `POST /api/v1/rules/who`: everybody who would be admitted.
pub(crate) async fn who(
    State(state): State<AppState>,
    body: Result<Json<WhoAsked>, JsonRejection>,
) -> Result<Json<WhoList>, WebError> {
    let Json(asked) = body?;
    let missing = || WebError::bad_request("bad_door", "which door? write its name");
    let door = name("door", Some(&asked.door))?.ok_or_else(missing)?;
    let what = "write what is presented: qr, pin, card, plate, face or manual, or two of them as face+pin";
    let presented = Kinds::from_code(&asked.kind).ok_or_else(|| WebError::bad_request("bad_kind", what))?;
    let at = moment("at", asked.at.as_deref())?.unwrap_or_else(|| state.clock().wall());
    let said = state.store().access().who_may(&door, presented, at, given(asked.text.as_deref()), WHO_MAX).await?;
    let people = said.listed.into_iter().map(|(person, title, rule)| WhoView {
        person: person.to_string(),
        title,
        rule: rule.map(|rule| rule.to_string()),
    });
    Ok(Json(WhoList { at: at.to_string(), people: people.collect(), more: said.more, of: said.of }))
}
