//! The decision itself. No allocation, no lock, no clock; its time does not depend on the number of rules but on the
//! groups of the person and the door, and on how many rules are about the very same subject and door.

use godvision_core::WallTime;
use godvision_core::signal::door::Reason;

use super::compile::{ALWAYS, CompiledRules, EVERY, Entry, When};
use super::{Answer, By, CredentialKind, Kinds, Question};
use crate::schedule::{Local, is_plausible};

/// Zones whose clocks are read once a question; schedules of further zones read theirs each time.
const ZONES_KEPT: usize = 4;

/// The clocks of each zone, read when first asked for.
struct Clocks<'a> {
    rules: &'a CompiledRules,
    at: WallTime,
    kept: [Option<Option<Local>>; ZONES_KEPT],
}

impl<'a> Clocks<'a> {
    fn new(rules: &'a CompiledRules, at: WallTime) -> Self {
        Self { rules, at, kept: [None; ZONES_KEPT] }
    }

    fn cover(&mut self, schedule: u32) -> bool {
        if schedule == ALWAYS {
            return true;
        }
        let Some(times) = self.rules.schedules.get(schedule as usize) else { return false };
        let (rules, at) = (self.rules, self.at);
        let read = || rules.zones.get(times.zone as usize).and_then(|zone| zone.local(at));
        let local = match self.kept.get_mut(times.zone as usize) {
            Some(kept) => *kept.get_or_insert_with(read),
            None => read(),
        };
        local.is_some_and(|local| rules.covers(times, local))
    }

    fn are_right_for(&mut self, entry: &Entry) -> bool {
        self.rules.whens.get(entry.when as usize).is_some_and(|When { from_micros, until_micros, schedule }| {
            (*from_micros..*until_micros).contains(&self.at.as_unix_micros()) && self.cover(*schedule)
        })
    }
}

impl CompiledRules {
    /// The answer to `question`. No allocation.
    pub fn decide(&self, question: &Question<'_>) -> Answer<'_> {
        if !is_plausible(question.at) {
            return Answer::refused(Reason::UnknownTime, None);
        }
        let mut clocks = Clocks::new(self, question.at);
        let presented = question.presented.subsets();
        // Ranks so far; nothing has the highest.
        let (mut forbid, mut permit, mut but_for_kind) = (u32::MAX, u32::MAX, false);
        self.each_entry(question, |entry| {
            let best = if entry.forbids() { forbid } else { permit };
            // In a block ranks go up and prohibitions come first: nothing behind this entry counts either.
            if best <= entry.rank || (forbid != u32::MAX && !entry.forbids()) {
                return false;
            }
            let is_met = entry.by() & presented != 0;
            let more = !is_met && !entry.forbids() && permit == u32::MAX && !but_for_kind && waits_for_more(entry);
            if !(is_met || more) || !clocks.are_right_for(entry) {
                return true;
            }
            match (is_met, entry.forbids()) {
                (true, true) => forbid = entry.rank,
                (true, false) => permit = entry.rank,
                (false, _) => but_for_kind = true,
            }
            // Later prohibitions are not named either, but permissions behind them no longer count.
            !is_met
        });
        let named = |rank: u32| self.names.get(rank as usize);
        match (named(forbid), named(permit)) {
            (Some(rule), _) => Answer::refused(Reason::Forbidden, Some(rule)),
            (None, Some(rule)) => Answer::permitted(rule),
            (None, None) if but_for_kind => Answer::refused(Reason::NotEnough, None),
            (None, None) => Answer::refused(Reason::NoRule, None),
        }
    }

    /// The kinds any one of which, presented as well, would turn a refusal into admission: what a door waits for. Empty if
    /// it is no refusal, if nothing helps, or if two more would be needed. An operator's act is among them only where a
    /// rule asks for it beside a credential (`card+manual`). No allocation.
    pub fn completing(&self, question: &Question<'_>) -> Kinds {
        if !is_plausible(question.at) {
            return Kinds::NONE;
        }
        let mut clocks = Clocks::new(self, question.at);
        let (mut permits, mut forbids) = (0, 0);
        self.each_entry(question, |entry| {
            let known = if entry.forbids() { &mut forbids } else { &mut permits };
            if entry.by() & !*known != 0 && clocks.are_right_for(entry) {
                *known |= entry.by();
            }
            true
        });
        let presented = question.presented.subsets();
        if permits & presented != 0 && forbids & presented == 0 {
            return Kinds::NONE;
        }
        let at_the_door = By::from_bits(permits).unwrap_or_default().at_the_door();
        let completes = |kind: &CredentialKind| {
            let more = question.presented.with(*kind);
            at_the_door.is_met_by(more) && forbids & more.subsets() == 0
        };
        CredentialKind::ALL.into_iter().filter(|kind| !question.presented.has(*kind)).filter(completes).collect()
    }

    /// Every entry about this person and this door, whatever was presented and when: in blocks, in which prohibitions come
    /// before permissions, each in the order of their ranks. `visit` says whether to go on in the same block. An entry may
    /// come more than once.
    #[inline]
    pub(super) fn each_entry<'a>(&'a self, question: &Question<'_>, mut visit: impl FnMut(&'a Entry) -> bool) {
        let person = question.person.and_then(|name| self.persons.get(name));
        let door = self.doors.get(question.door);
        let every = |is_used: bool| if is_used { &[EVERY][..] } else { &[] };
        let doors = door.map_or_else(|| every(self.has_any_door), |record| self.doors.keys(record));
        let subjects = person.map_or_else(|| every(self.has_anyone), |record| self.persons.keys(record));
        if let Some(record) = person {
            let own = self.own.get(record.own_from as usize..record.own_to as usize).unwrap_or(&[]);
            // The short-circuit of `all` is what ends the block.
            let _ = own.iter().filter(|entry| doors.contains(&entry.door)).all(&mut visit);
        }
        for subject in subjects {
            for door in doors {
                let Some(block) = self.pairs.get(*subject, *door) else { continue };
                let (first, others) = block.entries();
                if visit(first) {
                    let _ = self.shared.get(others).unwrap_or(&[]).iter().all(&mut visit);
                }
            }
        }
    }
}

/// Whether somebody at the door could satisfy the rule with more than they presented.
fn waits_for_more(entry: &Entry) -> bool {
    By::from_bits(entry.by()).is_some_and(|by| !by.at_the_door().is_empty())
}
