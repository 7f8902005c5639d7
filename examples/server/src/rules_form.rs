//! [`RuleDraft`]: the rule document as records of its schema, read and edited in place: the owner's comments, order and
//! layout stay. What a form changes is a text again, so there is one document, one comparison, one history.
//!
//! Everything here follows [`schema`]: a table that is new there has its form with no line written.
//!
//! **Never:** whether a value is right (the document's reader says that, with the place, and [`place_of`] finds its field).

use std::collections::BTreeMap;

use godvision_access::rule::schema::{Field, FieldKind, Record, Required, Shape, schema};
use serde_json::Value as Json;
use toml_edit::{Array, ArrayOfTables, Document, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// What is wrong with a form, and at which field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormProblem {
    /// The key, or `name` of a record that is called by its key.
    pub key: Option<&'static str>,
    /// What is wrong.
    pub detail: String,
}

/// A record as a form shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// Its key in its table, if that is its name.
    pub name: Option<String>,
    /// What stands at its keys.
    pub values: BTreeMap<&'static str, Json>,
}

/// Where in the document something stands, as forms know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The record's table.
    pub table: &'static str,
    /// Which of its records.
    pub at: usize,
    /// The key, if it is about one.
    pub key: Option<&'static str>,
}

/// What a record consists of.
enum Body<'a> {
    Keys(&'a dyn TableLike),
    /// The list of its one key that need not be written.
    Bare(&'a Item),
}

/// One record where it stands.
struct Found<'a> {
    name: Option<&'a str>,
    starts: usize,
    body: Body<'a>,
}

/// The key that may be left out: `name = [..]` is short for it alone.
fn bare(record: &Record) -> Option<&'static Field> {
    let is_short = matches!(record.shape, Shape::NamedLists | Shape::NamedTables);
    record.fields.iter().find(|field| is_short && field.required == Required::Yes)
}

/// The records of one table, in the order of the document.
fn found<'a>(root: &'a Table, record: &Record) -> Vec<Found<'a>> {
    let start = |span: Option<std::ops::Range<usize>>| span.map_or(0, |span| span.start);
    let Some(item) = (if record.shape == Shape::Top { None } else { root.get(record.table) }) else {
        let is_there = record.shape == Shape::Top;
        return is_there.then_some(Found { name: None, starts: 0, body: Body::Keys(root) }).into_iter().collect();
    };
    match record.shape {
        Shape::Top => Vec::new(),
        Shape::List => {
            let tables = item.as_array_of_tables().into_iter().flat_map(ArrayOfTables::iter);
            tables.map(|table| Found { name: None, starts: start(table.span()), body: Body::Keys(table) }).collect()
        }
        Shape::Table => {
            let table = item.as_table_like().into_iter();
            table.map(|table| Found { name: None, starts: start(item.span()), body: Body::Keys(table) }).collect()
        }
        Shape::NamedLists | Shape::NamedTables => {
            let Some(section) = item.as_table_like() else { return Vec::new() };
            let one = |(name, item): (&'a str, &'a Item)| {
                let span = section.key(name).and_then(|key| key.span()).or_else(|| item.span());
                let body = item.as_table_like().map_or(Body::Bare(item), Body::Keys);
                Found { name: Some(name), starts: start(span), body }
            };
            section.iter().map(one).collect()
        }
    }
}

/// A value as JSON; `None` for what no form shows.
fn shown(item: &Item) -> Option<Json> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Datetime(moment) => Some(moment.value().to_string()),
        _ => None,
    };
    Some(match item.as_value()? {
        Value::Integer(number) => (*number.value()).into(),
        Value::Boolean(flag) => (*flag.value()).into(),
        Value::Array(items) => items.iter().map(text).collect::<Option<Vec<_>>>()?.into(),
        other => text(other)?.into(),
    })
}

fn problem<T>(key: Option<&'static str>, detail: impl Into<String>) -> Result<T, FormProblem> {
    Err(FormProblem { key, detail: detail.into() })
}

/// What a form sent for `field`, as it is written; `None`: nothing stands there from then on.
fn written(field: &Field, json: &Json) -> Result<Option<Value>, FormProblem> {
    let wrong = |what: &str| problem(Some(field.key), format!("{what} is expected"));
    if json.is_null() {
        return Ok(None);
    }
    Ok(match field.kind {
        kind if kind.is_list() => {
            let Some(texts) = json.as_array().and_then(|all| all.iter().map(Json::as_str).collect::<Option<Vec<_>>>())
            else {
                return wrong("a list of texts");
            };
            let texts: Vec<&str> = texts.into_iter().map(str::trim).filter(|text| !text.is_empty()).collect();
            let is_kept = !texts.is_empty() || field.required == Required::Yes;
            is_kept.then(|| Array::from_iter(texts).into())
        }
        FieldKind::Flag => match json.as_bool() {
            Some(flag) => Some(flag.into()),
            None => return wrong("true or false"),
        },
        FieldKind::Integer { .. } => match json.as_i64() {
            Some(number) => Some(number.into()),
            None => return wrong("a whole number"),
        },
        kind => {
            let Some(text) = json.as_str().map(str::trim) else { return wrong("a text") };
            // Browsers leave the seconds out.
            let moment = [format!("{text}:00"), text.to_owned()].into_iter().find_map(|text| text.parse().ok());
            match moment {
                _ if text.is_empty() => None,
                Some(moment) if matches!(kind, FieldKind::Moment) => Some(toml_edit::Datetime::into(moment)),
                _ => Some(text.into()),
            }
        }
    })
}

/// Whether a list is written over several lines or has comments: then its layout is its owner's.
fn is_laid_out(array: &Array) -> bool {
    let has_line =
        |text: Option<&toml_edit::RawString>| text.and_then(|it| it.as_str()).is_some_and(|it| it.contains('\n'));
    has_line(Some(array.trailing()))
        || array.iter().any(|it| has_line(it.decor().prefix()) || has_line(it.decor().suffix()))
}

/// Makes a list say `next`, and leaves what stays where it stands.
fn merge(array: &mut Array, next: &Array) {
    let texts = |array: &Array| array.iter().map(|it| shown(&Item::Value(it.clone()))).collect::<Vec<_>>();
    let (wanted, is_laid_out) = (texts(next), is_laid_out(array));
    array.retain(|it| wanted.contains(&shown(&Item::Value(it.clone()))));
    if !wanted.starts_with(&texts(array)) {
        array.clear();
    }
    for value in next.iter().skip(array.len()) {
        let last = array.iter().last().and_then(|it| it.decor().prefix()?.as_str()).map(str::to_owned);
        match last.as_deref().and_then(|prefix| prefix.rsplit_once('\n')) {
            Some((_, indent)) if is_laid_out => {
                array.push_formatted(value.clone().decorated(format!("\n{indent}"), ""));
            }
            _ => array.push(value.clone()),
        }
    }
    if !is_laid_out {
        array.fmt();
    }
}

fn replace(item: &mut Item, next: Value) {
    match (item.as_value_mut(), next) {
        (Some(Value::Array(array)), Value::Array(next)) => merge(array, &next),
        (Some(value), mut next) => {
            *next.decor_mut() = value.decor().clone();
            *value = next;
        }
        (None, next) => *item = Item::Value(next),
    }
}

type Wanted = Vec<(&'static Field, Option<Value>)>;

fn apply(table: &mut dyn TableLike, wanted: Wanted) {
    for (field, value) in wanted {
        match (value, table.get_mut(field.key)) {
            (Some(value), Some(item)) => replace(item, value),
            (Some(value), None) => drop(table.insert(field.key, Item::Value(value))),
            (None, _) => drop(table.remove(field.key)),
        }
    }
}

/// Whether what must be there is.
fn complete(record: &Record, has: impl Fn(&str) -> bool) -> Result<(), FormProblem> {
    for field in record.fields {
        match field.required {
            Required::Yes if !has(field.key) => return problem(Some(field.key), "write something here"),
            Required::OneOf(keys) if !keys.iter().any(|key| has(key)) => {
                return problem(keys.first().copied(), format!("{} is needed", keys.join(" or ")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Moves every table that stands at `from` or behind it down by one.
fn make_room(table: &mut Table, from: isize) {
    let shift = |table: &mut Table| {
        if let Some(at) = table.position().filter(|at| *at >= from) {
            table.set_position(Some(at + 1));
        }
    };
    for (_, item) in table.iter_mut() {
        match item {
            Item::Table(inner) => {
                shift(inner);
                make_room(inner, from);
            }
            Item::ArrayOfTables(all) => all.iter_mut().for_each(|inner| {
                shift(inner);
                make_room(inner, from);
            }),
            _ => {}
        }
    }
}

/// The rule document, being edited.
pub struct RuleDraft(DocumentMut);

impl RuleDraft {
    /// Reads the text.
    ///
    /// # Errors
    /// [`FormProblem`] if it is no TOML.
    pub fn read(text: &str) -> Result<Self, FormProblem> {
        let read = text.parse().map(Self);
        read.or_else(|error: toml_edit::TomlError| problem(None, error.message().to_owned()))
    }

    /// The text as it is now.
    pub fn text(&self) -> String {
        self.0.to_string()
    }

    /// The records of one table, in the order of the document.
    pub fn records(&self, record: &Record) -> Vec<Shown> {
        let one = |it: Found<'_>| {
            let value = |field: &'static Field| {
                let item = match &it.body {
                    Body::Keys(keys) => keys.get(field.key),
                    Body::Bare(item) => Some(*item).filter(|_| bare(record).is_some_and(|it| it.key == field.key)),
                };
                Some((field.key, shown(item?)?))
            };
            Shown { name: it.name.map(str::to_owned), values: record.fields.iter().filter_map(value).collect() }
        };
        found(self.0.as_table(), record).into_iter().map(one).collect()
    }

    /// Adds a record, or changes the keys in `values` of the one `at` that place; where what is `null` is taken away.
    /// Returns its place.
    ///
    /// # Errors
    /// [`FormProblem`]; then the draft is to be thrown away.
    pub fn put(
        &mut self,
        record: &Record,
        at: Option<usize>,
        name: Option<&str>,
        values: &serde_json::Map<String, Json>,
    ) -> Result<usize, FormProblem> {
        if let Some(key) = values.keys().find(|key| record.fields.iter().all(|field| field.key != **key)) {
            return problem(None, format!("{}: this means nothing here", key.escape_debug()));
        }
        let one = |field: &'static Field| Some(written(field, values.get(field.key)?).map(|value| (field, value)));
        let wanted: Wanted = record.fields.iter().filter_map(one).collect::<Result<_, _>>()?;
        match record.shape {
            Shape::Top => {
                apply(self.0.as_table_mut(), wanted);
                complete(record, |key| self.0.contains_key(key)).map(|()| 0)
            }
            Shape::Table => {
                let section = self.section(record)?;
                apply(section, wanted);
                complete(record, |key| section.contains_key(key)).map(|()| 0)
            }
            Shape::List => {
                let list = self.list(record)?;
                let at = at.unwrap_or(list.len());
                if at == list.len() {
                    let mut table = Table::new();
                    table.decor_mut().set_prefix("\n");
                    list.push(table);
                }
                let Some(table) = list.get_mut(at) else { return gone() };
                apply(table, wanted);
                complete(record, |key| table.contains_key(key)).map(|()| at)
            }
            Shape::NamedLists | Shape::NamedTables => self.put_named(record, at, name, wanted),
        }
    }

    fn put_named(
        &mut self,
        record: &Record,
        at: Option<usize>,
        name: Option<&str>,
        wanted: Wanted,
    ) -> Result<usize, FormProblem> {
        let section = self.section(record)?;
        let short = bare(record).map(|field| field.key);
        let name = match (at, name.map(str::trim)) {
            (Some(at), _) => match section.iter().nth(at) {
                Some((name, _)) => name.to_owned(),
                None => return gone(),
            },
            (None, None | Some("")) => return problem(Some("name"), "what is it called?"),
            (None, Some(name)) if section.contains_key(name) => {
                return problem(Some("name"), format!("there is {name} already"));
            }
            (None, Some(name)) => {
                section.insert(name, Item::Value(InlineTable::new().into()));
                name.to_owned()
            }
        };
        let Some(item) = section.get_mut(&name) else { return gone() };
        if let (false, Some(short)) = (item.is_table_like(), short)
            && wanted.iter().any(|(field, _)| field.key != short)
        {
            let list = std::mem::take(item);
            *item = Item::Value(InlineTable::from_iter(list.into_value().ok().map(|list| (short, list))).into());
        }
        match item.as_table_like_mut() {
            Some(keys) => {
                apply(keys, wanted);
                complete(record, |key| keys.contains_key(key))?;
            }
            None => {
                for (_, value) in wanted {
                    value.into_iter().for_each(|value| replace(item, value));
                }
            }
        }
        // As people write it: without the one key that need not be there.
        if let (Some(short), Some(keys)) = (short, item.as_inline_table_mut())
            && keys.len() == 1
            && let Some(list) = keys.remove(short)
        {
            *item = Item::Value(list);
        }
        Ok(section.iter().position(|(key, _)| key == name).unwrap_or_default())
    }

    /// Takes a record away, with the comments above it.
    ///
    /// # Errors
    /// [`FormProblem`] if there is none.
    pub fn remove(&mut self, record: &Record, at: usize) -> Result<(), FormProblem> {
        match record.shape {
            Shape::Top => return problem(None, "this stays in every document"),
            Shape::Table => drop(self.0.remove(record.table)),
            Shape::List => {
                let list = self.list(record)?;
                if at >= list.len() {
                    return gone();
                }
                list.remove(at);
            }
            Shape::NamedLists | Shape::NamedTables => {
                let section = self.section(record)?;
                let Some(name) = section.iter().nth(at).map(|(name, _)| name.to_owned()) else { return gone() };
                section.remove(&name);
            }
        }
        Ok(())
    }

    /// The table of a record, made if it is missing: before the rules, which stand last.
    fn section(&mut self, record: &Record) -> Result<&mut dyn TableLike, FormProblem> {
        if !self.0.contains_key(record.table) {
            let mut table = Table::new();
            table.decor_mut().set_prefix("\n");
            let rules = schema().iter().filter(|it| it.shape == Shape::List);
            let lists = rules.filter_map(|it| self.0.get(it.table)?.as_array_of_tables()?.iter().next()?.position());
            if let Some(first) = lists.min() {
                make_room(self.0.as_table_mut(), first);
                table.set_position(Some(first));
            }
            self.0.insert(record.table, Item::Table(table));
        }
        match self.0.get_mut(record.table).and_then(Item::as_table_like_mut) {
            Some(section) => Ok(section),
            None => problem(None, format!("write {0} as [{0}] to have it edited here", record.table)),
        }
    }

    fn list(&mut self, record: &Record) -> Result<&mut ArrayOfTables, FormProblem> {
        let empty = Item::ArrayOfTables(ArrayOfTables::new());
        match self.0.entry(record.table).or_insert(empty).as_array_of_tables_mut() {
            Some(list) => Ok(list),
            None => problem(None, format!("write each {0} as [[{0}]] to have it edited here", record.table)),
        }
    }
}

fn gone<T>() -> Result<T, FormProblem> {
    problem(None, "it is not there any more: look at the rules again")
}

/// The record and field at a line and a column, both from 1 on, of a document.
pub fn place_of(text: &str, line: usize, column: usize) -> Option<Place> {
    let document = Document::parse(text).ok()?;
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text.get(before..)?;
    let offset = before + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
    let mut nearest: Option<(usize, Place)> = None;
    for record in schema() {
        for (at, it) in found(document.as_table(), record).into_iter().enumerate() {
            let place = |key| Place { table: record.table, at, key };
            let is_in = |item: &Item| item.span().is_some_and(|span| span.contains(&offset));
            let field = record.fields.iter().find(|field| match &it.body {
                Body::Keys(keys) => {
                    let is_key = keys.key(field.key).and_then(|key| key.span()).is_some_and(|it| it.contains(&offset));
                    is_key || keys.get(field.key).is_some_and(is_in)
                }
                Body::Bare(item) => is_in(item) && bare(record).is_some_and(|it| it.key == field.key),
            });
            if let Some(field) = field {
                return Some(place(Some(field.key)));
            }
            // About the whole record: the last one that begins before.
            if record.shape != Shape::Top && it.starts <= offset && nearest.is_none_or(|(start, _)| start <= it.starts)
            {
                nearest = Some((it.starts, place(None)));
            }
        }
    }
    nearest.map(|(_, place)| place)
}

#[cfg(test)]
mod tests;
