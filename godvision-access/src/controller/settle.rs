//! One credential, from what was presented to what is decided: rules, premises, journal, spent pass, in this order.

use std::sync::Arc;

use godvision_core::Name;
use godvision_core::journal::{Entry, Journal, Level};
use godvision_core::signal::door::{Credential, Decision, Key, Reason, Verdict};
use godvision_core::time::{Clock, Stamp};
use tokio::sync::oneshot;

use super::STORE_TIMEOUT;
use super::shared::SharedPremises;
use crate::policy::{AccessControl, Ruling};
use crate::premises::{Asked, Effect, Event, Grant, GrantId};
use crate::rule::{CredentialKind, Kinds};
use crate::spent::{Spend, Spending, SpentStore};

/// What came of one credential.
pub(super) struct Settled {
    pub(super) decision: Decision,
    pub(super) grant: Option<GrantId>,
    pub(super) effects: Vec<Effect>,
    pub(super) reply: Option<oneshot::Sender<Decision>>,
}

/// What one decision needs, so that it can be made beside the rest.
pub(super) struct Settling {
    pub(super) access: Arc<AccessControl>,
    pub(super) premises: SharedPremises,
    pub(super) spent: Arc<dyn SpentStore>,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) door: Name,
    /// Why an operator opens it.
    pub(super) note: Option<String>,
}

impl Settling {
    /// Decides, journals, spends: in this order, and each before the next.
    pub(super) async fn settle(self, credential: Credential) -> (Decision, Option<GrantId>, Vec<Effect>) {
        let ruling = self.rule(&credential).await;
        let ruling = self.without_uses_left(ruling).await;
        let (ruling, grant, effects) = self.ask_premises(&credential, ruling);
        let earlier = grant.as_ref().map(|grant| grant.to_spend.clone()).unwrap_or_default();
        let decision = self.keep(ruling, earlier).await;
        if decision.verdict == Verdict::Refuse
            && let Some(grant) = &grant
        {
            let event = Event::Withdrawn { door: self.door.clone(), grant: grant.id };
            self.premises.step(Some(&self.door), event, self.clock.now());
        }
        (decision, grant.map(|grant| grant.id), effects)
    }

    /// The journal and the counts of the passes, those shown earlier among them: without them nothing opens.
    async fn keep(&self, ruling: Ruling, earlier: Vec<(Spending, u32)>) -> Decision {
        if self.journal(&ruling).await.is_err() {
            return ruling.refused(Reason::Fault).decision;
        }
        for (what, uses_max) in earlier.into_iter().chain(ruling.to_spend()) {
            let reason = match tokio::time::timeout(STORE_TIMEOUT, self.spent.spend(what, uses_max)).await {
                Ok(Ok(Spend::Kept { .. })) => continue,
                Ok(Ok(Spend::AlreadySpent)) => Reason::Spent,
                Ok(Err(error)) => {
                    tracing::error!(door = %self.door, %error, "cannot keep the use of a pass");
                    Reason::Fault
                }
                Err(_) => Reason::Fault,
            };
            // The journal says admitted; it must also say that nothing came of it. It stays shut either way.
            let refusal = ruling.refused(reason);
            let _ = self.journal(&refusal).await;
            return refusal.decision;
        }
        ruling.decision
    }

    /// What the rules say. A reader that is locked out is not even looked at.
    async fn rule(&self, credential: &Credential) -> Ruling {
        let now = self.clock.now();
        let kind = CredentialKind::of(&credential.key);
        if let Some(Err(reason)) = kind.map(|kind| self.premises.may_try(&credential.source, kind, now)) {
            return self.refusal(credential, reason, now);
        }
        let (access, door) = (Arc::clone(&self.access), self.door.clone());
        // What the same person showed here just before counts with it.
        let (person, already) = match self.premises.first_factor(&self.door, now) {
            Some((person, kinds)) => (Some(person), kinds),
            None => (None, Kinds::NONE),
        };
        if !matches!(credential.key, Key::Pin(_)) {
            return access.decide_with(credential, already, person.as_ref(), &door, now);
        }
        // A PIN's hash costs milliseconds: not on a thread that others wait for.
        let asked = credential.clone();
        let ruled =
            tokio::task::spawn_blocking(move || access.decide_with(&asked, already, person.as_ref(), &door, now)).await;
        ruled.unwrap_or_else(|_| self.refusal(credential, Reason::Fault, now))
    }

    fn refusal(&self, credential: &Credential, reason: Reason, now: Stamp) -> Ruling {
        let decision = Decision {
            source: credential.source.clone(),
            door: Some(self.door.clone()),
            user: None,
            with: Vec::new(),
            credential: credential.key.kind(),
            verdict: Verdict::Refuse,
            reason,
            rule: None,
            note: None,
            presented: credential.at,
            decided: now,
        };
        Ruling::from(decision)
    }

    /// What becomes of it, given where everybody is and what stands open.
    fn ask_premises(&self, credential: &Credential, mut ruling: Ruling) -> (Ruling, Option<Grant>, Vec<Effect>) {
        ruling.decision.note.clone_from(&self.note);
        let Some(kind) = CredentialKind::of(&credential.key) else {
            return (ruling.refused(Reason::UnknownCredential), None, Vec::new());
        };
        let decision = &ruling.decision;
        let rules = if decision.verdict == Verdict::Admit { Ok(()) } else { Err(decision.reason) };
        let asked = Asked {
            door: &self.door,
            source: &credential.source,
            person: decision.user.as_ref(),
            kind,
            presented: ruling.presented,
            rules,
            completing: ruling.completing,
            is_guess: ruling.guess,
            is_duress: ruling.duress,
            to_spend: ruling.spending(),
        };
        let (result, effects) = self.premises.ask(&asked, self.clock.now());
        match result {
            Ok(grant) => {
                ruling.decision.with.clone_from(&grant.with);
                (ruling, Some(grant), effects)
            }
            Err(reason) if rules == Err(reason) => (ruling, None, effects),
            Err(reason) => (ruling.refused(reason), None, effects),
        }
    }

    /// A pass that is used up is refused before the journal says anything else.
    async fn without_uses_left(&self, ruling: Ruling) -> Ruling {
        let Some((pass, uses_max)) = ruling.to_spend() else { return ruling };
        match tokio::time::timeout(STORE_TIMEOUT, self.spent.uses(pass)).await {
            Ok(Ok(uses)) if uses < uses_max => ruling,
            Ok(Ok(_)) => ruling.refused(Reason::Spent),
            Ok(Err(error)) => {
                tracing::error!(door = %self.door, %error, "cannot read the uses of a pass");
                ruling.refused(Reason::Fault)
            }
            Err(_) => ruling.refused(Reason::Fault),
        }
    }

    /// Keeps the decision; `Err` if it is not certain that it was kept.
    async fn journal(&self, ruling: &Ruling) -> Result<(), ()> {
        let entry = journal_entry(&self.door, ruling);
        match tokio::time::timeout(STORE_TIMEOUT, self.journal.append(entry)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                tracing::error!(door = %self.door, %error, "a decision could not be journalled: refused");
                Err(())
            }
            Err(_) => {
                tracing::error!(door = %self.door, "the journal does not answer: refused");
                Err(())
            }
        }
    }
}

/// A decision as the journal keeps it: `access.admitted`, `access.waits` or `access.refused`, without any secret.
pub fn journal_entry(door: &Name, ruling: &Ruling) -> Entry {
    let decision = &ruling.decision;
    let admitted = decision.verdict == Verdict::Admit;
    let who = decision.user.as_ref().map_or("somebody unknown", Name::as_str);
    let word = match decision.reason {
        _ if admitted => "admitted",
        reason if reason.is_waiting() => "waits",
        _ => "refused",
    };
    let text = format!("{who} {word} at {door} by {}: {}", decision.credential, decision.reason);
    let code = match decision.reason {
        _ if admitted => "access.admitted",
        reason if reason.is_waiting() => "access.waits",
        _ => "access.refused",
    };
    let mut entry = Entry::new(decision.decided, door.clone(), Level::Security, code, text)
        .with("door", door)
        .with("source", &decision.source)
        .with("credential", decision.credential)
        .with("reason", decision.reason.code());
    if let Some(user) = &decision.user {
        entry = entry.with("person", user);
    }
    if let Some(rule) = &decision.rule {
        entry = entry.with("rule", rule);
    }
    if let Some(note) = &decision.note {
        entry = entry.with("note", note);
    }
    for other in &decision.with {
        entry = entry.with("with", other);
    }
    if let Some(pass) = &ruling.pass {
        entry = entry.with("pass", format_args!("{}/{}", pass.key, pass.id()));
    }
    entry
}
