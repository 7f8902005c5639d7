//! [`AccessControl`]: the directory, the rules and the pass keys of a site, as one value that decides.
//!
//! ```text
//! Credential -> whose is it? (directory, pass keys) -> may they? (rules) -> Decision, and the pass whose use counts
//! ```
//! Immutable in use: a changed site is a new value, swapped in whole.
//!
//! **Never:** counting the uses of a pass (that is [`crate::spent`], durably), the door, a default that opens.

use godvision_core::signal::door::{Credential, Decision, Key, Reason, Verdict};
use godvision_core::time::Stamp;
use godvision_core::{Name, Secret};

use crate::credential::{Directory, Holder};
use crate::pass::rolling::{ROLLING_PREFIX, RollingCode, RollingDefect};
use crate::pass::{NameRef, Pass, PassVerifier, Uses};
use crate::rule::{Answer, CompiledRules, CredentialKind, Kinds, Question};
use crate::spent::{Spendable, Spending};

/// Who, what they carry, and what they may.
#[derive(Clone, Debug)]
pub struct AccessControl {
    /// Whose credential it is.
    pub directory: Directory,
    /// Whose passes are believed.
    pub passes: PassVerifier,
    /// What they may.
    pub rules: CompiledRules,
}

/// A [`Decision`] and what it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What was decided.
    pub decision: Decision,
    /// The pass that was presented, if its signature is good.
    pub pass: Option<Pass>,
    /// The rolling code that was presented, if its MAC is good and its step near.
    pub rolling: Option<RollingCode>,
    /// Whether the person says that they are made to open. Nothing at the door may show it.
    pub duress: bool,
    /// Whether this was a try at somebody's PIN: one that is nobody's. It is what the lockout of [`crate::premises`] counts,
    /// and all it counts. A card that nobody has is a stranger's, and a queue of strangers must lock nobody out; whoever
    /// sits on the wires of a reader copies a good card rather than try all (a secure channel keeps them off). Passes and
    /// rolling codes are not guessed: their signatures and MACs are too long for it.
    pub guess: bool,
    /// Everything that counted as presented: this credential, and those shown before by the same person.
    pub presented: Kinds,
    /// After [`Reason::NotEnough`]: the kinds any one of which, shown as well, would open the door
    /// ([`CompiledRules::completing`]). Empty otherwise.
    pub completing: Kinds,
}

impl From<Decision> for Ruling {
    /// A ruling about nothing that is spent or guessed at.
    fn from(decision: Decision) -> Self {
        let (presented, completing) = (Kinds::NONE, Kinds::NONE);
        Self { decision, pass: None, rolling: None, duress: false, guess: false, presented, completing }
    }
}

impl Ruling {
    /// The use that must be kept durably before the door opens, and how often it may be made: only where the decision
    /// admits, and a pass whose uses are counted or a rolling code was presented.
    pub fn to_spend(&self) -> Option<(Spending, u32)> {
        self.spending().filter(|_| self.decision.verdict == Verdict::Admit)
    }

    /// As [`Ruling::to_spend`], whatever was decided: for what opens only together with a second credential, and is spent
    /// when that is there.
    pub fn spending(&self) -> Option<(Spending, u32)> {
        let at = self.decision.decided.wall;
        if let Some(code) = &self.rolling {
            // Without a door, a code is used up where it was shown.
            let door = self.decision.door.as_ref().unwrap_or(&self.decision.source);
            let (person, door) = (NameRef::person(&code.person), NameRef::door(door));
            let what = Spendable::Step { person, door, step: code.step };
            return Some((Spending { what, until: code.until, at }, 1));
        }
        let pass = self.pass.as_ref()?;
        match pass.claims.uses {
            Uses::Any => None,
            Uses::Times(times) => {
                let what = Spendable::Pass { key: pass.key, id: pass.claims.id };
                Some((Spending { what, until: pass.claims.not_after, at }, u32::from(times)))
            }
        }
    }

    /// The same ruling, turned into a refusal.
    #[must_use]
    pub fn refused(mut self, reason: Reason) -> Self {
        self.decision.verdict = Verdict::Refuse;
        self.decision.reason = reason;
        self.decision.rule = None;
        self.completing = Kinds::NONE;
        self
    }
}

impl AccessControl {
    /// Decides about `credential` at `door`. Nothing is opened, spent or written. Costs the lookup of
    /// [`Directory::who`] or of [`PassVerifier::read`] and well under a microsecond for the rules.
    pub fn decide(&self, credential: &Credential, door: &Name, now: Stamp) -> Ruling {
        self.decide_with(credential, Kinds::NONE, None, door, now)
    }

    /// The same, where `already_person` has shown credentials of the kinds `already` at this door, within the time in which
    /// two count as shown together. They count only if this credential is the same person's; who keeps them, and for how
    /// long, is the door's part. A pass among them whose uses are counted is not in [`Ruling::pass`]: who remembers that
    /// it was shown, spends it.
    pub fn decide_with(
        &self,
        credential: &Credential,
        already: Kinds,
        already_person: Option<&Name>,
        door: &Name,
        now: Stamp,
    ) -> Ruling {
        let mut shown = Shown::default();
        let holder = match &credential.key {
            Key::Qr(text) => self.read_qr(text, door, now, &mut shown),
            key => self.directory.who(key),
        };
        let person = holder.as_ref().ok().and_then(|holder| holder.person.as_ref()).cloned();
        let kind = CredentialKind::of(&credential.key);
        let before = if person.is_some() && person.as_ref() == already_person { already } else { Kinds::NONE };
        let presented = kind.map_or(before, |kind| before.with(kind));
        let mut completing = Kinds::NONE;
        let answer = match (&holder, kind) {
            (Err(reason), _) => Answer::refused(*reason, None),
            (Ok(_), None) => Answer::refused(Reason::UnknownCredential, None),
            (Ok(_), Some(_)) => {
                let question = Question { person: person.as_ref(), door, presented, at: now.wall };
                let answer = self.rules.decide(&question);
                if answer.reason == Reason::NotEnough {
                    completing = self.rules.completing(&question);
                }
                answer
            }
        };
        let user = person.or_else(|| self.named_by(&credential.key, holder.as_ref().err(), &shown));
        let decision = Decision {
            source: credential.source.clone(),
            door: Some(door.clone()),
            user,
            with: Vec::new(),
            credential: credential.key.kind(),
            verdict: answer.verdict,
            reason: answer.reason,
            rule: answer.rule.cloned(),
            note: None,
            presented: credential.at,
            decided: now,
        };
        let guess = kind == Some(CredentialKind::Pin) && decision.reason == Reason::UnknownCredential;
        let duress = holder.is_ok_and(|holder| holder.duress);
        let Shown { pass, rolling } = shown;
        Ruling { decision, pass, rolling, duress, guess, presented, completing }
    }

    /// Reads what a QR code says into `shown` and says whose it is, if it is good here and now.
    fn read_qr(&self, text: &Secret, door: &Name, now: Stamp, shown: &mut Shown) -> Result<Holder, Reason> {
        if !crate::schedule::is_plausible(now.wall) {
            return Err(Reason::UnknownTime);
        }
        if text.expose().starts_with(ROLLING_PREFIX) {
            let code = self.passes.read_rolling(text, now.wall).map_err(RollingDefect::reason)?;
            return self.directory.holder_named(&shown.rolling.insert(code).person);
        }
        let read = self.passes.read(text).map_err(|_| Reason::BadPass)?;
        let read = &*shown.pass.insert(read);
        let holder = self.directory.holder_of(read)?;
        self.passes.check(read, now.wall)?;
        if read.is_for(door, self.rules.groups_of_door(door)) { Ok(holder) } else { Err(Reason::WrongDoor) }
    }

    /// Whom a refused credential names: an expired pass, a withdrawn card, a photo held up are still somebody's, and the
    /// journal should say whose.
    fn named_by(&self, key: &Key, reason: Option<&Reason>, shown: &Shown) -> Option<Name> {
        let by_pass = shown.pass.as_ref().and_then(|pass| pass.claims.person.as_ref());
        let named = by_pass.or_else(|| shown.rolling.as_ref().map(|code| &code.person));
        let named = named.or_else(|| match reason? {
            Reason::Revoked | Reason::NotLive => self.directory.named(key),
            _ => None,
        });
        named.filter(|person| self.directory.has_person(person)).cloned()
    }
}

/// What a QR code turned out to be.
#[derive(Default)]
struct Shown {
    pass: Option<Pass>,
    rolling: Option<RollingCode>,
}
