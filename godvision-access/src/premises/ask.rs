//! What becomes of a yes of the rules: [`Premises::ask`].

use godvision_core::signal::door::{AlarmKind, Reason};
use godvision_core::time::Stamp;
use godvision_core::{MonoTime, Name};

use super::kept::{Failing, Kept};
use super::layout::{AreaPlan, DoorPlan, Passback};
use super::{DoorNow, Effect, GRANT_MAX, Premises};
use crate::rule::{CredentialKind, Kinds};
use crate::spent::Spending;

/// Most persons that wait at one door for one another.
pub const PARTY_MAX: usize = 16;

/// What was presented at a door, and what the rules said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The door.
    pub door: &'a Name,
    /// Where it was presented.
    pub source: &'a Name,
    /// Whose credential it is.
    pub person: Option<&'a Name>,
    /// What was presented.
    pub kind: CredentialKind,
    /// What counted in all, with what waited ([`Premises::first_factor`]).
    pub presented: Kinds,
    /// What the rules said.
    pub rules: Result<(), Reason>,
    /// If the rules refused: any of these, presented too, would have been a yes.
    pub completing: Kinds,
    /// Whether somebody may be guessing.
    pub is_guess: bool,
    /// Whether the person is made to do this.
    pub is_duress: bool,
    /// The use that an admission must spend: kept until then, if something more is awaited first.
    pub to_spend: Option<(Spending, u32)>,
}

/// Counts grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(u64);

/// The door may be opened, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which grant.
    pub id: GrantId,
    /// Who else goes in by it: the first of two persons, a visitor with their escort.
    pub with: Vec<Name>,
    /// The uses of what was presented earlier and waited: to be spent durably before anything opens, beside the last one.
    pub to_spend: Vec<(Spending, u32)>,
}

/// A grant until the lock moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) id: GrantId,
    pub(super) persons: Vec<Name>,
    pub(super) is_leaving: bool,
    pub(super) until: MonoTime,
    /// The lock has been told to open ([`Premises::begin`]). Until then another's opening is not theirs.
    pub(super) is_told: bool,
    /// Once it is told, the door is free for the rest of the interval: this was its first card.
    frees: bool,
    /// Once it is told, their visitors may follow: whom they follow.
    leads: Option<Name>,
}

impl Given {
    /// For nobody who is counted.
    fn to_anybody(is_leaving: bool) -> Self {
        Self {
            id: GrantId(0),
            persons: Vec::new(),
            is_leaving,
            until: MonoTime::ZERO,
            is_told: false,
            frees: false,
            leads: None,
        }
    }
}

/// Whose first credential was good and not enough: another of theirs is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Second {
    person: Name,
    kinds: Kinds,
    to_spend: Vec<(Spending, u32)>,
    pub(super) until: MonoTime,
}

/// Who is good and may not go alone: another person is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Party {
    members: Vec<Member>,
    is_leaving: bool,
    pub(super) until: MonoTime,
}

/// One of those who wait for one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    person: Name,
    to_spend: Vec<(Spending, u32)>,
}

impl Member {
    /// What was shown twice is spent once.
    fn also_spends(&mut self, earlier: Vec<(Spending, u32)>) {
        for spending in earlier {
            let is_known = self.to_spend.iter().any(|(known, _)| known.what == spending.0.what);
            if !is_known && self.to_spend.len() < PARTY_MAX {
                self.to_spend.push(spending);
            }
        }
    }
}

impl Premises {
    /// Whether a credential of `kind` may be tried at `source` at all. Ask before looking at it: a PIN is not even hashed
    /// while its reader is locked out.
    ///
    /// # Errors
    /// [`Reason::LockedOut`].
    pub fn may_try(&self, source: &Name, kind: CredentialKind, now: Stamp) -> Result<(), Reason> {
        let is_guessable = kind == CredentialKind::Pin;
        let wait = self.lockouts.wait(&Failing::Source(source.clone()), now.mono);
        if is_guessable && wait.is_some() { Err(Reason::LockedOut) } else { Ok(()) }
    }

    /// Who has presented something at `door` that was good and not enough, and what: it counts together with what the
    /// same person presents next.
    pub fn first_factor(&self, door: &Name, now: Stamp) -> Option<(&Name, Kinds)> {
        let second = self.doors.get(door)?.second.as_ref().filter(|second| second.until > now.mono)?;
        Some((&second.person, second.kinds))
    }

    /// What becomes of a credential about which the rules have been asked. A grant holds the door for [`GRANT_MAX`]: once it
    /// is journalled and paid for, [`Premises::begin`] it and tell the lock; else end it with [`super::Event::Withdrawn`].
    ///
    /// # Errors
    /// The reason of the refusal, or what is awaited ([`Reason::is_waiting`]).
    pub fn ask(&mut self, asked: &Asked<'_>, now: Stamp, effects: &mut Vec<Effect>) -> Result<Grant, Reason> {
        let result = self.asked(asked, now, effects);
        if asked.is_duress && (result.is_ok() || result.as_ref().is_err_and(|reason| reason.is_waiting())) {
            // The alarm names the person and stays until an operator has looked: it is raised each time anew.
            self.end_quietly(asked.door, AlarmKind::Duress);
            self.alarm(asked.door, AlarmKind::Duress, true, asked.person.cloned(), now, effects);
        }
        self.pass_time(now, effects);
        result
    }

    /// Whether `grant` still stands, so that the lock of `door` may be told to open, now. A lockdown may have ended it while
    /// it was being journalled, or it took too long: then the door stays shut. What follows from it beyond the one
    /// opening (the door is free from its first card on, visitors may follow their escort) begins here, and not before.
    #[must_use]
    pub fn begin(&mut self, door: &Name, grant: GrantId, now: Stamp, effects: &mut Vec<Effect>) -> bool {
        let Some(entry) = self.doors.get_mut(door) else { return false };
        let mut standing = entry.given.iter_mut().filter(|given| given.id == grant && given.until > now.mono);
        let Some(given) = standing.next() else { return false };
        given.is_told = true;
        entry.is_first_card |= given.frees && !entry.is_locked_down;
        if let Some(leader) = given.leads.take() {
            entry.escort = Some((leader, now.mono));
        }
        self.pass_time(now, effects);
        true
    }

    fn asked(&mut self, asked: &Asked<'_>, now: Stamp, effects: &mut Vec<Effect>) -> Result<Grant, Reason> {
        self.may_try(asked.source, asked.kind, now)?;
        let waits_longer = |person: &Name| self.lockouts.wait(&Failing::Person(person.clone()), now.mono).is_some();
        if asked.kind == CredentialKind::Pin && asked.person.is_some_and(waits_longer) {
            return Err(Reason::LockedOut);
        }
        let Some(entry) = self.doors.get_mut(asked.door) else { return Err(Reason::NoDoor) };
        if let Err(reason) = asked.rules {
            return Err(self.refused(asked, reason, now, effects));
        }
        let is_manual = asked.kind == CredentialKind::Manual;
        // Who presses a button elsewhere sees nothing of what is going on at the door.
        let is_remote = asked.kind == CredentialKind::Remote;
        let plan = self.plan.door(asked.door);
        let may_override = plan.lockdown_override.as_ref().zip(asked.person);
        let overrides = may_override.is_some_and(|(group, person)| self.plan.is_member(group, person));
        if entry.is_locked_down && (is_manual || is_remote || !overrides) {
            return Err(Reason::LockedDown);
        }
        let is_leaving = plan.exit_sources.contains(asked.source);
        if !self.is_interlock_free(asked.door) {
            return Err(Reason::Interlocked);
        }
        let Some(person) = asked.person.filter(|_| !is_manual) else {
            return Ok(self.give(asked.door, Given::to_anybody(is_leaving), now));
        };
        if !self.still_counts(asked, now) {
            return Err(Reason::NotEnough);
        }
        if is_remote && asked.presented.without(CredentialKind::Remote).is_empty() {
            // Whoever comes in is not them, and where it matters who comes in that is not enough.
            let minds = self.minds_who_comes(asked.door);
            return if minds {
                Err(Reason::NotEnough)
            } else {
                Ok(self.give(asked.door, Given::to_anybody(is_leaving), now))
            };
        }
        let Some(entry) = self.doors.get(asked.door) else { return Err(Reason::NoDoor) };
        let mut own = Member { person: person.clone(), to_spend: asked.to_spend.iter().copied().collect() };
        // Their first credential counts with this one, so its use is spent with it.
        if let Some(second) = entry.second.as_ref().filter(|it| it.person == *person && it.until > now.mono) {
            own.also_spends(second.to_spend.clone());
        }
        let party = entry.party.as_ref().filter(|it| it.is_leaving == is_leaving && it.until > now.mono);
        let mut party = party.map(|it| it.members.clone()).unwrap_or_default();
        party.retain(|member| member.person != *person);
        let is_noted = self.check_passback(asked.door, person, is_leaving, now)?;
        party.push(own);
        let persons: Vec<Name> = party.iter().map(|member| member.person.clone()).collect();
        if let Err(reason) = self.check_party(asked.door, &persons, is_leaving, now) {
            if reason.is_waiting() && party.len() < PARTY_MAX {
                self.wait_for_party(asked.door, party, is_leaving, now);
            }
            return Err(reason);
        }
        if is_noted {
            self.end_quietly(asked.door, AlarmKind::PassedBack);
            self.alarm(asked.door, AlarmKind::PassedBack, true, Some(person.clone()), now, effects);
            self.end_quietly(asked.door, AlarmKind::PassedBack);
        }
        self.end_waits(asked.door, person, is_leaving);
        let with = persons.iter().filter(|other| *other != person).cloned().collect();
        let earlier = party.into_iter().flat_map(|member| member.to_spend);
        // What was presented last, the caller spends as always.
        let to_spend = earlier.filter(|spending| Some(spending) != asked.to_spend.as_ref()).collect();
        let plan = self.plan.door(asked.door);
        let frees = plan.first_card.as_ref().is_some_and(|first| {
            let belongs = |person| first.by.as_ref().is_none_or(|group| self.plan.is_member(group, person));
            persons.iter().any(belongs) && self.plan.covers(&first.during, now.wall)
        });
        let led_by = plan.escort.as_ref().map(|escort| &escort.by);
        let leads = led_by.and_then(|group| persons.iter().find(|person| self.plan.is_member(group, person))).cloned();
        let given = Given { persons, frees, leads, ..Given::to_anybody(is_leaving) };
        Ok(Grant { with, to_spend, ..self.give(asked.door, given, now) })
    }

    /// Whether it matters at this door who comes and goes, beyond the rules.
    fn minds_who_comes(&self, door: &Name) -> bool {
        let plan = self.plan.door(door);
        let areas = plan.from.iter().chain(&plan.into).filter_map(|area| self.plan.area(area));
        let mut minded =
            areas.filter(|it| it.passback != Passback::Off || it.occupancy_max.is_some() || it.is_two_person);
        plan.is_two_person || plan.escort.is_some() || minded.next().is_some()
    }

    /// Whether what was presented before still waits here, to be counted with this and, if it is a pass, spent with it. The
    /// rules were asked a little earlier: its time may have ended since.
    fn still_counts(&self, asked: &Asked<'_>, now: Stamp) -> bool {
        let earlier = asked.presented.without(asked.kind);
        let waits = || self.first_factor(asked.door, now).filter(|(person, _)| Some(*person) == asked.person);
        earlier.is_empty() || waits().is_some_and(|(_, kinds)| kinds.and(earlier) == kinds)
    }

    fn refused(&mut self, asked: &Asked<'_>, reason: Reason, now: Stamp, effects: &mut Vec<Effect>) -> Reason {
        let still_counts = self.still_counts(asked, now);
        let Some(entry) = self.doors.get_mut(asked.door) else { return reason };
        if asked.is_guess {
            let first = entry.second.as_ref().map(|second| second.person.clone());
            let lockout = self.plan.layout.lockout;
            let mut failing = vec![Failing::Source(asked.source.clone())];
            failing.extend(first.or_else(|| asked.person.cloned()).map(Failing::Person));
            let mut is_locked_out = false;
            for failing in failing {
                is_locked_out |= self.lockouts.failed(failing, asked.door, &lockout, now, effects);
            }
            if is_locked_out {
                self.alarm(asked.door, AlarmKind::Guessing, true, asked.person.cloned(), now, effects);
            }
            return reason;
        }
        match asked.person {
            // Who is elsewhere presents nothing more here, and must not take the place of somebody who waits: a button can
            // only be the second of two.
            Some(person)
                if reason == Reason::NotEnough
                    && asked.completing != Kinds::NONE
                    && asked.kind != CredentialKind::Remote
                    && still_counts =>
            {
                let until = now.mono + self.plan.door(asked.door).await_for;
                let mut member = Member { person: person.clone(), to_spend: asked.to_spend.iter().copied().collect() };
                if let Some(earlier) = entry.second.take().filter(|it| it.person == *person && it.until > now.mono) {
                    member.also_spends(earlier.to_spend);
                }
                let Member { person, to_spend } = member;
                entry.second = Some(Second { person, kinds: asked.presented, to_spend, until });
                Reason::AwaitsSecond
            }
            _ => reason,
        }
    }

    /// Whether no other door of an interlock of `door` is open or about to be.
    pub(super) fn is_interlock_free(&self, door: &Name) -> bool {
        // A door that has not reported since the start may be open.
        let is_shut = |other: &Name| self.doors.get(other).is_some_and(DoorNow::is_shut);
        self.plan.interlocked_with(door).all(is_shut)
    }

    /// The area that somebody comes into, and the one that they leave.
    fn ways(plan: &DoorPlan, is_leaving: bool) -> (Option<&Name>, Option<&Name>) {
        let (from, into) = (plan.from.as_ref(), plan.into.as_ref());
        if is_leaving { (from, into) } else { (into, from) }
    }

    /// Whether the way that `person` goes does not follow from where they were seen last, and that is only noted. Whoever
    /// wants out is never held.
    fn check_passback(&self, door: &Name, person: &Name, is_leaving: bool, now: Stamp) -> Result<bool, Reason> {
        let (target, origin) = Self::ways(self.plan.door(door), is_leaving);
        let minded = |area: &Name| self.plan.area(area).filter(|plan| plan.passback != Passback::Off);
        let came_in = origin.and_then(|area| Some((area, minded(area)?))).filter(|_| is_leaving);
        let was_elsewhere = came_in.is_some_and(|(area, plan)| {
            self.presence.of(person, plan.forget_after, now.wall).is_some_and(|last| last != Some(area))
        });
        let Some((area, plan)) = target.and_then(|area| Some((area, minded(area)?))) else { return Ok(was_elsewhere) };
        let was_seen = self.presence.of(person, plan.forget_after, now.wall) == Some(Some(area));
        // On their way through another door into the same area: inside, as good as.
        let is_coming = self.doors.iter().any(|(name, other)| {
            let (target, _) = Self::ways(self.plan.door(name), false);
            let coming = other.given.iter().chain(&other.passing).filter(|given| !given.is_leaving);
            name != door && target == Some(area) && coming.flat_map(|given| &given.persons).any(|it| it == person)
        });
        match plan.passback {
            Passback::Hard if (was_seen || is_coming) && !is_leaving => Err(Reason::PassedBack),
            _ => Ok(was_seen || is_coming || was_elsewhere),
        }
    }

    /// Whether so many may go in together.
    fn check_party(&self, door: &Name, party: &[Name], is_leaving: bool, now: Stamp) -> Result<(), Reason> {
        let plan = self.plan.door(door);
        let (target, origin) = Self::ways(plan, is_leaving);
        if let Some(escort) = plan.escort.as_ref().filter(|_| !is_leaving) {
            let visits =
                |person: &Name| self.plan.is_member(&escort.of, person) && !self.plan.is_member(&escort.by, person);
            let is_led = party.iter().any(|person| self.plan.is_member(&escort.by, person));
            let went_ahead = self.doors.get(door).and_then(|door| door.escort.as_ref());
            let went_ahead = went_ahead.is_some_and(|(_, at)| now.mono.since(*at) < plan.await_for);
            if party.iter().any(visits) && !is_led && !went_ahead {
                return Err(Reason::AwaitsEscort);
            }
        }
        if plan.is_two_person && party.len() < 2 {
            return Err(Reason::AwaitsPerson);
        }
        let planned = |area: Option<&Name>| area.and_then(|area| Some((area.clone(), self.plan.area(area)?)));
        if let Some((area, area_plan)) = planned(target) {
            let after = self.count(&area, area_plan, party, now) + party.len();
            if area_plan.occupancy_max.is_some_and(|most| after > usize::try_from(most).unwrap_or(usize::MAX)) {
                return Err(Reason::AreaFull);
            }
            if area_plan.is_two_person && after == 1 {
                return Err(Reason::AwaitsPerson);
            }
        }
        if let Some((area, area_plan)) = planned(origin)
            && area_plan.is_two_person
            && self.count(&area, area_plan, party, now) == 1
        {
            return Err(Reason::AwaitsPerson);
        }
        Ok(())
    }

    /// How many are in `area` or on their way into it, without those of `party`.
    fn count(&self, area: &Name, plan: &AreaPlan, party: &[Name], now: Stamp) -> usize {
        let mut inside: Vec<&Name> = self.presence.inside(area, plan.forget_after, now.wall).collect();
        for (name, door) in &self.doors {
            for given in door.given.iter().chain(&door.passing) {
                let (target, _) = Self::ways(self.plan.door(name), given.is_leaving);
                if target == Some(area) {
                    inside.extend(given.persons.iter().filter(|person| !self.is_inside(person, area, plan, now)));
                }
            }
        }
        inside.sort_unstable();
        inside.dedup();
        inside.into_iter().filter(|person| !party.contains(person)).count()
    }

    fn is_inside(&self, person: &Name, area: &Name, plan: &AreaPlan, now: Stamp) -> bool {
        self.presence.of(person, plan.forget_after, now.wall) == Some(Some(area))
    }

    fn wait_for_party(&mut self, door: &Name, members: Vec<Member>, is_leaving: bool, now: Stamp) {
        let until = now.mono + self.plan.door(door).await_for;
        if let Some(entry) = self.doors.get_mut(door) {
            // What waited for their second credential waits on with them.
            entry.second.take_if(|second| members.iter().any(|member| member.person == second.person));
            entry.party = Some(Party { members, is_leaving, until });
        }
    }

    /// What waited for this grant waits no more; what waits for others does.
    fn end_waits(&mut self, door: &Name, person: &Name, is_leaving: bool) {
        if let Some(entry) = self.doors.get_mut(door) {
            entry.second.take_if(|second| second.person == *person);
            entry.party.take_if(|party| party.is_leaving == is_leaving);
        }
    }

    pub(super) fn give(&mut self, door: &Name, given: Given, now: Stamp) -> Grant {
        self.grants += 1;
        let id = GrantId(self.grants);
        if let Some(entry) = self.doors.get_mut(door) {
            if entry.given.len() >= PARTY_MAX {
                entry.given.remove(0);
            }
            entry.given.push(Given { id, until: now.mono + GRANT_MAX, ..given });
        }
        Grant { id, with: Vec::new(), to_spend: Vec::new() }
    }

    /// The lock is told already.
    pub(super) fn give_exit(&mut self, door: &Name, now: Stamp) -> GrantId {
        self.give(door, Given { is_told: true, ..Given::to_anybody(true) }, now).id
    }

    /// Those of `given` are on the other side now.
    pub(super) fn passed(&mut self, door: &Name, given: Vec<Given>, now: Stamp, effects: &mut Vec<Effect>) {
        let plan = self.plan.door(door);
        if plan.into.is_none() && plan.from.is_none() {
            return;
        }
        for Given { persons, is_leaving, .. } in given {
            let (target, _) = Self::ways(self.plan.door(door), is_leaving);
            let area = target.cloned();
            for person in persons {
                self.presence.set(person.clone(), area.clone(), now.wall);
                effects.push(Effect::Keep(Kept::At { person: person.clone(), area: area.clone(), since: now.wall }));
                effects.push(Effect::Passed { door: door.clone(), person, area: area.clone() });
            }
        }
    }

    /// So that the same alarm can be raised again about somebody else.
    fn end_quietly(&mut self, door: &Name, kind: AlarmKind) {
        if let Some(entry) = self.doors.get_mut(door) {
            entry.alarms.retain(|standing| *standing != kind);
        }
    }
}
