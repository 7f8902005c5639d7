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
use crate::pass::{Pass, PassVerifier, Uses};
use crate::rule::{Answer, CompiledRules, CredentialKind, Kinds, Question};
use crate::spent::PassNumber;

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
    /// Everything that counted as presented: this credential, and those shown before by the same person.
    pub presented: Kinds,
    /// After [`Reason::NotEnough`]: the kinds any one of which, shown as well, would open the door
    /// ([`CompiledRules::completing`]). Empty otherwise.
    pub completing: Kinds,
}

impl Ruling {
    /// The pass whose use must be kept durably before the door opens, and how often it may be used: only where the
    /// decision admits and the uses of the pass are counted.
    pub fn to_spend(&self) -> Option<(PassNumber, u32)> {
        let pass = self.pass.filter(|_| self.decision.verdict == Verdict::Admit)?;
        match pass.uses {
            Uses::Any => None,
            Uses::Times(times) => Some(((pass.key, pass.id), u32::from(times))),
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
        let mut pass = None;
        let holder = match &credential.key {
            Key::Qr(text) => self.read_pass(text, door, now, &mut pass),
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
        let user = person.or_else(|| self.named_by(pass.as_ref()));
        let decision = Decision {
            source: credential.source.clone(),
            door: Some(door.clone()),
            user,
            credential: credential.key.kind(),
            verdict: answer.verdict,
            reason: answer.reason,
            rule: answer.rule.cloned(),
            presented: credential.at,
            decided: now,
        };
        Ruling { decision, pass, presented, completing }
    }

    /// Reads a pass into `pass` and says whose it is, if it is good here and now.
    fn read_pass(&self, text: &Secret, door: &Name, now: Stamp, pass: &mut Option<Pass>) -> Result<Holder, Reason> {
        if !crate::schedule::is_plausible(now.wall) {
            return Err(Reason::UnknownTime);
        }
        let read = &*pass.insert(self.passes.read(text).map_err(|_| Reason::BadPass)?);
        let holder = self.directory.holder_of(read)?;
        read.check_time(now.wall)?;
        if read.is_for(door, self.rules.groups_of_door(door)) { Ok(holder) } else { Err(Reason::WrongDoor) }
    }

    /// Whom a refused pass names: an expired pass is still somebody's, and the journal should say whose.
    fn named_by(&self, pass: Option<&Pass>) -> Option<Name> {
        pass.and_then(|pass| self.directory.holder_of(pass).ok()).and_then(|holder| holder.person)
    }
}
