//! The rules: the document in force, its versions, a check before saving, and why a question is answered as it is.
//!
//! **Never:** a decision of its own: the answers are those of the engine that the doors ask.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::{Extension, Json};
use godvision_access::Error as RuleError;
use godvision_access::rule::{Effect, Explanation, Kinds, Miss, Question};
use godvision_core::journal::Level;
use godvision_core::signal::door::Reason;
use serde::{Deserialize, Serialize};

use super::super::guard::Who;
use super::super::{AppState, WebError};
use super::doors::verdict_code;
use super::{Id, given, moment, name};
use crate::store::{AccessProblem, RuleVersion};

/// Largest body that carries rules: the document, escaped as JSON.
pub(crate) const RULES_BODY_BYTES_MAX: usize = 2 * crate::store::RULES_BYTES_MAX;
/// Pairs of lines that a comparison looks at; larger changes are shown as all removed and all added.
const DIFF_PAIRS_MAX: usize = 4_000_000;

#[derive(Serialize)]
pub(crate) struct VersionView {
    id: u64,
    at: String,
    by: String,
}

impl From<RuleVersion> for VersionView {
    fn from(it: RuleVersion) -> Self {
        Self { id: it.id, at: it.at.to_string(), by: it.by }
    }
}

#[derive(Serialize)]
pub(crate) struct RulesView {
    version: VersionView,
    rules: usize,
    text: String,
    /// Why the file that lies there now is not in force.
    refused: Option<String>,
}

fn in_force(state: &AppState) -> RulesView {
    let now = state.store().access().rules();
    RulesView { version: now.version.into(), rules: now.rules, text: now.text.to_string(), refused: now.refused }
}

/// `GET /api/v1/rules`
pub(crate) async fn get(State(state): State<AppState>) -> Json<RulesView> {
    Json(in_force(&state))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRules {
    text: String,
    /// The version that was edited.
    base: u64,
    /// The version whose text this is, if it is put back.
    #[serde(default)]
    restored: Option<u64>,
}

/// `PUT /api/v1/rules`
pub(crate) async fn put(
    State(state): State<AppState>,
    Extension(who): Extension<Who>,
    body: Result<Json<NewRules>, JsonRejection>,
) -> Result<Json<RulesView>, WebError> {
    let Json(NewRules { text, base, restored }) = body?;
    // Browsers end lines of a text area as letters do.
    let text = text.replace("\r\n", "\n");
    let access = state.store().access();
    let changes = compared(access.rules().text, text.clone()).await?;
    let count = |kind: &str| changes.iter().filter(|line| line.kind == kind).count().to_string();
    let words = match restored {
        Some(id) => format!("{} put version {id} of the rules in force again", who.name()),
        None => format!("{} changed the rules", who.name()),
    };
    let (added, removed, base_text) = (count("added"), count("removed"), base.to_string());
    let fields = [("base", &*base_text), ("lines_added", &added), ("lines_removed", &removed), ("user", who.name())];
    let entry = state.entry(Level::Security, "rules.changed", words, &fields)?;
    access.set_rules(&text, base, who.name(), entry).await?;
    Ok(Json(in_force(&state)))
}

/// What is wrong with a document, and where.
#[derive(Serialize)]
pub(crate) struct Fault {
    pub(super) line: Option<usize>,
    pub(super) column: Option<usize>,
    pub(super) message: String,
}

impl Fault {
    /// One that has no place.
    pub(super) fn told(message: String) -> Self {
        Self { line: None, column: None, message }
    }
}

impl From<AccessProblem> for Fault {
    fn from(problem: AccessProblem) -> Self {
        match problem {
            AccessProblem::Refused(RuleError::Document { line, column, key, fault }) => {
                Self { line: Some(line), column: Some(column), message: format!("{key}: {fault}") }
            }
            other => Self::told(other.to_string()),
        }
    }
}

/// A line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DiffLine {
    /// `same`, `removed` or `added`.
    kind: &'static str,
    text: String,
}

#[derive(Serialize)]
pub(crate) struct Checked {
    fault: Option<Fault>,
    rules: usize,
    /// Against what is in force.
    diff: Vec<DiffLine>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    text: String,
}

/// `POST /api/v1/rules/check`: changes nothing.
pub(crate) async fn check(
    State(state): State<AppState>,
    body: Result<Json<Draft>, JsonRejection>,
) -> Result<Json<Checked>, WebError> {
    let Json(Draft { text }) = body?;
    let text = text.replace("\r\n", "\n");
    let access = state.store().access();
    let (fault, rules) = match access.check_rules(&text).await {
        Ok(set) => (None, set.rules.len()),
        Err(problem) => (Some(Fault::from(problem)), 0),
    };
    Ok(Json(Checked { fault, rules, diff: compared(access.rules().text, text).await? }))
}

#[derive(Serialize)]
pub(crate) struct VersionList {
    versions: Vec<VersionView>,
}

/// `GET /api/v1/rules/versions`
pub(crate) async fn versions(State(state): State<AppState>) -> Result<Json<VersionList>, WebError> {
    let versions = state.store().access().versions().await?;
    Ok(Json(VersionList { versions: versions.into_iter().map(VersionView::from).collect() }))
}

#[derive(Serialize)]
pub(crate) struct VersionText {
    id: u64,
    text: String,
    /// Against what is in force.
    diff: Vec<DiffLine>,
}

/// `GET /api/v1/rules/versions/{id}`
pub(crate) async fn version(State(state): State<AppState>, Id(id): Id) -> Result<Json<VersionText>, WebError> {
    let access = state.store().access();
    let id = id.parse().unwrap_or_default();
    let text = access.version(id).await?;
    Ok(Json(VersionText { id, diff: diff(&access.rules().text, &text), text }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asking {
    #[serde(default)]
    person: Option<String>,
    door: String,
    kind: String,
    #[serde(default)]
    at: Option<String>,
    /// A draft to answer by; what is in force otherwise.
    #[serde(default)]
    text: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct RuleLine {
    rule: String,
    effect: &'static str,
    applies: bool,
    why_not: Vec<&'static str>,
    /// In words.
    text: String,
}

#[derive(Serialize)]
pub(crate) struct Answered {
    verdict: &'static str,
    reason: &'static str,
    reason_text: String,
    rule: Option<String>,
    at: String,
    rules: Vec<RuleLine>,
    /// When it would be yes in that week, by the clocks of the rules: `Mon-Fri 08:00-18:00`.
    week: Vec<String>,
}

fn miss_code(miss: Miss) -> &'static str {
    match miss {
        Miss::Person => "person",
        Miss::Door => "door",
        Miss::Kind => "kind",
        Miss::Schedule => "schedule",
        Miss::NotYet => "not_yet",
        Miss::Over => "over",
    }
}

/// `POST /api/v1/rules/explain`
pub(crate) async fn explain(
    State(state): State<AppState>,
    body: Result<Json<Asking>, JsonRejection>,
) -> Result<Json<Answered>, WebError> {
    let Json(asking) = body?;
    let person = name("person", asking.person.as_deref())?;
    let missing = || WebError::bad_request("bad_door", "which door? write its name");
    let door = name("door", Some(&asking.door))?.ok_or_else(missing)?;
    let what = "write what is presented: qr, pin, card, plate, face or manual, or two of them as face+pin";
    let presented = Kinds::from_code(&asking.kind).ok_or_else(|| WebError::bad_request("bad_kind", what))?;
    let at = moment("at", asking.at.as_deref())?.unwrap_or_else(|| state.clock().wall());
    let question = Question { person: person.as_ref(), door: &door, presented, at };
    let draft = given(asking.text.as_deref());
    let week = state.store().access().week_of(&question, draft).await?;
    let Explanation { verdict, reason, rule, lines } = state.store().access().explain(&question, draft).await?;
    let line = |it: godvision_access::rule::Line| {
        let does = if it.effect == Effect::Permit { "permits" } else { "forbids" };
        let misses: Vec<String> = it.missed.iter().map(ToString::to_string).collect();
        RuleLine {
            text: if misses.is_empty() { format!("{does} it") } else { misses.join(", ") },
            rule: it.rule.to_string(),
            effect: if it.effect == Effect::Permit { "permit" } else { "forbid" },
            applies: it.missed.is_empty(),
            why_not: it.missed.into_iter().map(miss_code).collect(),
        }
    };
    Ok(Json(Answered {
        verdict: verdict_code(verdict),
        reason: reason.code(),
        reason_text: reason.to_string(),
        rule: rule.map(|rule| rule.to_string()),
        at: at.to_string(),
        rules: lines.into_iter().map(line).collect(),
        // Whoever is not known, or revoked, has no good week.
        week: if matches!(reason, Reason::UnknownCredential | Reason::Revoked) { Vec::new() } else { week },
    }))
}

/// [`diff`] on a thread that may be busy: of two large documents it takes tens of milliseconds.
async fn compared(before: Arc<str>, after: String) -> Result<Vec<DiffLine>, WebError> {
    let compared = tokio::task::spawn_blocking(move || diff(&before, &after)).await;
    compared.map_err(|error| WebError::inside("comparing the rules failed", &error))
}

/// What differs, line by line: the longest common subsequence of what lies between the same beginning and the same end.
pub(crate) fn diff(before: &str, after: &str) -> Vec<DiffLine> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_mid, new_mid) = (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);
    let mut lines = Vec::with_capacity(old.len() + new_mid.len());
    let mut say = |kind, texts: &[&str]| {
        lines.extend(texts.iter().map(|&text| DiffLine { kind, text: text.to_owned() }));
    };
    say("same", &old[..head]);
    if old_mid.len().saturating_mul(new_mid.len()) > DIFF_PAIRS_MAX {
        say("removed", old_mid);
        say("added", new_mid);
    } else {
        // longest[i][j]: of the lines from i and from j on.
        let width = new_mid.len() + 1;
        let mut longest = vec![0_u32; (old_mid.len() + 1) * width];
        for i in (0..old_mid.len()).rev() {
            for j in (0..new_mid.len()).rev() {
                longest[i * width + j] = if old_mid[i] == new_mid[j] {
                    longest[(i + 1) * width + j + 1] + 1
                } else {
                    longest[(i + 1) * width + j].max(longest[i * width + j + 1])
                };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < old_mid.len() || j < new_mid.len() {
            if i < old_mid.len() && j < new_mid.len() && old_mid[i] == new_mid[j] {
                say("same", &old_mid[i..=i]);
                (i, j) = (i + 1, j + 1);
            } else if i < old_mid.len()
                && (j == new_mid.len() || longest[(i + 1) * width + j] >= longest[i * width + j + 1])
            {
                say("removed", &old_mid[i..=i]);
                i += 1;
            } else {
                say("added", &new_mid[j..=j]);
                j += 1;
            }
        }
    }
    say("same", &old_rest[old_rest.len() - tail..]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(before: &str, after: &str) -> String {
        let sign = |kind| match kind {
            "removed" => '-',
            "added" => '+',
            _ => ' ',
        };
        diff(before, after).iter().map(|line| format!("{}{}", sign(line.kind), line.text)).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn what_differs_is_shown_between_what_stays() {
        assert_eq!(told("a\nb\nc\n", "a\nx\nc\n"), " a|-b|+x| c");
        assert_eq!(told("", "a\n"), "+a");
        assert_eq!(told("a\nb\nc\nd\n", "b\nc\ne\nd\n"), "-a| b| c|+e| d");
        assert_eq!(told("a\n", "a\n"), " a");
    }

    #[test]
    fn a_change_of_everything_is_not_compared_for_ever() {
        let long = |sign: &str| (0..5000).map(|n| format!("{sign}{n}\n")).collect::<String>();
        let lines = diff(&long("a"), &long("b"));
        assert_eq!((lines.len(), lines[0].kind, lines[9999].kind), (10_000, "removed", "added"));
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_from_the_difference(before in "[abc\n]{0,40}", after in "[abc\n]{0,40}") {
            let lines = diff(&before, &after);
            let of = |kind| lines.iter().filter(|it| it.kind != kind).map(|it| it.text.clone()).collect::<Vec<_>>();
            prop_assert_eq!(of("added"), before.lines().collect::<Vec<_>>());
            prop_assert_eq!(of("removed"), after.lines().collect::<Vec<_>>());
        }
    }
}
