//! Why a question was answered as it was, and why not otherwise, for an owner who asks.

use std::fmt;

use godvision_core::Name;
use godvision_core::signal::door::{Reason, Verdict};

use super::{Effect, Question, Rule, RuleSet, spec};

/// A condition of a rule that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Miss {
    /// The rule is about somebody else.
    Person,
    /// The rule is about other doors.
    Door,
    /// The rule asks for other credentials, or for more.
    Kind,
    /// It is outside the rule's schedule.
    Schedule,
    /// The rule does not hold yet.
    NotYet,
    /// The rule no longer holds.
    Over,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Person => "is about somebody else",
            Self::Door => "is about another door",
            Self::Kind => "asks for other credentials",
            Self::Schedule => "is outside its schedule",
            Self::NotYet => "does not hold yet",
            Self::Over => "no longer holds",
        })
    }
}

/// One rule in an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The rule.
    pub rule: Name,
    /// What it does if it applies.
    pub effect: Effect,
    /// Why it does not apply; empty if it does.
    pub missed: Vec<Miss>,
}

/// The answer, and what every rule had to say. Prints the answer, the rules that apply, and those that nearly would have
/// turned it, the nearest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Yes or no.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The rule that decided.
    pub rule: Option<Name>,
    /// Every rule, in the order of the document.
    pub lines: Vec<Line>,
}

/// Rules printed that do not apply.
const NEAREST_PRINTED: usize = 5;
/// A rule that misses by more conditions is not near.
const MISSES_PRINTED: usize = 2;

impl Explanation {
    /// The rules that would turn the answer if they applied, those with the fewest conditions missed first: permissions
    /// after a refusal for want of one, prohibitions after an admission. After a prohibition there is none: nothing
    /// turns it but its own end.
    pub fn nearest(&self) -> impl Iterator<Item = &Line> {
        let turns = match (self.verdict, self.reason) {
            (Verdict::Admit, _) => Some(Effect::Forbid),
            (Verdict::Refuse, Reason::NoRule | Reason::NotEnough) => Some(Effect::Permit),
            _ => None,
        };
        let is_near = |line: &&Line| Some(line.effect) == turns && !line.missed.is_empty();
        let mut lines: Vec<&Line> = self.lines.iter().filter(is_near).collect();
        // Somebody else's rule is the farther one of two that miss by one.
        lines.sort_by_key(|line| (line.missed.len(), line.missed.contains(&Miss::Person)));
        lines.into_iter()
    }
}

pub(super) fn explain(set: &RuleSet, question: &Question<'_>) -> Explanation {
    let answer = spec::decide(set, question);
    Explanation {
        verdict: answer.verdict,
        reason: answer.reason,
        rule: answer.rule.cloned(),
        lines: set.rules.iter().map(|rule| line(set, rule, question)).collect(),
    }
}

fn line(set: &RuleSet, rule: &Rule, question: &Question<'_>) -> Line {
    let misses = [
        (Miss::Person, spec::is_about_person(set, rule, question)),
        (Miss::Door, spec::is_about_door(set, rule, question)),
        (Miss::Kind, rule.by.is_met_by(question.presented)),
        (Miss::Schedule, spec::is_in_schedule(set, rule, question)),
        (Miss::NotYet, rule.from.is_none_or(|from| from <= question.at)),
        (Miss::Over, rule.until.is_none_or(|until| question.at < until)),
    ];
    let missed = misses.into_iter().filter(|(_, holds)| !holds).map(|(miss, _)| miss).collect();
    Line { rule: rule.name.clone(), effect: rule.effect, missed }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.verdict == Verdict::Admit { "admitted" } else { "refused" };
        write!(f, "{verdict}: {}", self.reason)?;
        if let Some(rule) = &self.rule {
            write!(f, " ({rule})")?;
        }
        for line in self.lines.iter().filter(|line| line.missed.is_empty()) {
            let effect = if line.effect == Effect::Permit { "permits" } else { "forbids" };
            write!(f, "\n  {} {effect}", line.rule)?;
        }
        let near = self.nearest().filter(|line| line.missed.len() <= MISSES_PRINTED).take(NEAREST_PRINTED);
        for line in near {
            let missed: Vec<String> = line.missed.iter().map(ToString::to_string).collect();
            write!(f, "\n  {} {}", line.rule, missed.join(" and "))?;
        }
        Ok(())
    }
}
