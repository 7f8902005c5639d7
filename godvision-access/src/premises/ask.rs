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
}

/// Who or what is awaited at a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Second { person: Name, kinds: Kinds, to_spend: Vec<(Spending, u32)>, until: MonoTime },
    Party { members: Vec<Member>, is_leaving: bool, until: MonoTime },
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

impl Waiting {
    pub(super) fn until(&self) -> MonoTime {
        match self {
            Self::Second { until, .. } | Self::Party { until, .. } => *until,
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
        match self.doors.get(door)?.waiting.as_ref()? {
            Waiting::Second { person, kinds, until, .. } if *until > now.mono => Some((person, *kinds)),
            _ => None,
        }
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
        // First cards and ended waits may change modes at once.
        self.pass_time(now, effects);
        result
    }

    /// Whether `grant` still stands, so that the lock of `door` may be told to open, now. A lockdown may have ended it while
    /// it was being journalled, or it took too long: then the door stays shut.
    #[must_use]
    pub fn begin(&mut self, door: &Name, grant: GrantId, now: Stamp) -> bool {
        let given = self.doors.get_mut(door).map(|door| &mut door.given);
        let mut standing = given.into_iter().flatten().filter(|given| given.id == grant && given.until > now.mono);
        standing.next().is_some_and(|given| {
            given.is_told = true;
            true
        })
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
        // Who presses a button elsewhere sees nothing of what is going on at the door, and is not there.
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
        let Some(entry) = self.doors.get_mut(asked.door) else { return Err(Reason::NoDoor) };
        let waited = entry.waiting.take().filter(|waiting| waiting.until() > now.mono);
        let Some(person) = asked.person.filter(|_| !is_manual) else {
            return Ok(self.give(asked.door, Vec::new(), is_leaving, false, now));
        };
        let mut own = Member { person: person.clone(), to_spend: asked.to_spend.iter().copied().collect() };
        let mut party = Vec::new();
        match waited.clone() {
            Some(Waiting::Party { members, is_leaving: leaving, .. }) if leaving == is_leaving => party = members,
            // Their first credential counts with this one, so its use is spent with it.
            Some(Waiting::Second { person: first, to_spend, .. }) if first == *person => own.also_spends(to_spend),
            _ => {}
        }
        party.retain(|member| member.person != *person);
        let soft = match self.check_passback(asked.door, person, is_leaving, now) {
            Ok(soft) => soft,
            Err(reason) => {
                // Somebody else's refusal is no reason for those who wait to begin anew.
                self.wait_on(asked.door, waited);
                return Err(reason);
            }
        };
        party.push(own);
        let persons: Vec<Name> = party.iter().map(|member| member.person.clone()).collect();
        if let Err(reason) = self.check_party(asked.door, &persons, is_leaving, now) {
            if reason.is_waiting() && party.len() < PARTY_MAX {
                self.wait_for_party(asked.door, party, is_leaving, now);
            } else {
                self.wait_on(asked.door, waited);
            }
            return Err(reason);
        }
        if soft {
            self.end_quietly(asked.door, AlarmKind::PassedBack);
            self.alarm(asked.door, AlarmKind::PassedBack, true, Some(person.clone()), now, effects);
            self.end_quietly(asked.door, AlarmKind::PassedBack);
        }
        if !is_remote {
            self.note_first_card(asked.door, person, now);
        }
        let with = persons.iter().filter(|other| *other != person).cloned().collect();
        let earlier = party.into_iter().flat_map(|member| member.to_spend);
        // What was presented last, the caller spends as always.
        let to_spend = earlier.filter(|spending| Some(spending) != asked.to_spend.as_ref()).collect();
        let grant = self.give(asked.door, persons, is_leaving, false, now);
        Ok(Grant { with, to_spend, ..grant })
    }

    fn refused(&mut self, asked: &Asked<'_>, reason: Reason, now: Stamp, effects: &mut Vec<Effect>) -> Reason {
        let Some(entry) = self.doors.get_mut(asked.door) else { return reason };
        let first = match &entry.waiting {
            Some(Waiting::Second { person, .. }) => Some(person.clone()),
            _ => None,
        };
        if asked.is_guess {
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
        let plan = self.plan.door(asked.door);
        match asked.person {
            // Who is elsewhere presents nothing more here, and must not take the place of somebody who waits: a button can
            // only be the second of two.
            Some(person)
                if reason == Reason::NotEnough
                    && asked.completing != Kinds::NONE
                    && asked.kind != CredentialKind::Remote =>
            {
                let until = now.mono + plan.await_for;
                let mut member = Member { person: person.clone(), to_spend: asked.to_spend.iter().copied().collect() };
                if let Some(Waiting::Second { person: first, to_spend: earlier, .. }) = entry.waiting.take()
                    && first == *person
                {
                    member.also_spends(earlier);
                }
                let Member { person, to_spend } = member;
                entry.waiting = Some(Waiting::Second { person, kinds: asked.presented, to_spend, until });
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

    /// Whether `person` passes back where that is only noted.
    fn check_passback(&self, door: &Name, person: &Name, is_leaving: bool, now: Stamp) -> Result<bool, Reason> {
        let (target, _) = Self::ways(self.plan.door(door), is_leaving);
        let Some((area, plan)) = target.and_then(|area| Some((area, self.plan.area(area)?))) else { return Ok(false) };
        if plan.passback == Passback::Off {
            return Ok(false);
        }
        let was_seen = self.presence.of(person, plan.forget_after, now.wall) == Some(Some(area));
        // On their way through another door into the same area: inside, as good as.
        let is_coming = self.doors.iter().any(|(name, other)| {
            let (target, _) = Self::ways(self.plan.door(name), false);
            let coming = other.given.iter().chain(&other.passing).filter(|given| !given.is_leaving);
            name != door && target == Some(area) && coming.flat_map(|given| &given.persons).any(|it| it == person)
        });
        match plan.passback {
            Passback::Hard if was_seen || is_coming => Err(Reason::PassedBack),
            Passback::Soft => Ok(was_seen || is_coming),
            Passback::Hard | Passback::Off => Ok(false),
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
            entry.waiting = Some(Waiting::Party { members, is_leaving, until });
        }
    }

    fn wait_on(&mut self, door: &Name, waiting: Option<Waiting>) {
        if let Some(entry) = self.doors.get_mut(door) {
            entry.waiting = waiting;
        }
    }

    fn note_first_card(&mut self, door: &Name, person: &Name, now: Stamp) {
        let plan = self.plan.door(door);
        let led_by = plan.escort.as_ref().map(|escort| &escort.by);
        let leads = led_by.is_some_and(|group| self.plan.is_member(group, person));
        let frees = plan.first_card.as_ref().is_some_and(|first| {
            let belongs = first.by.as_ref().is_none_or(|group| self.plan.is_member(group, person));
            belongs && self.plan.covers(&first.during, now.wall)
        });
        if let Some(entry) = self.doors.get_mut(door) {
            entry.is_first_card |= frees && !entry.is_locked_down;
            if leads {
                entry.escort = Some((person.clone(), now.mono));
            }
        }
    }

    pub(super) fn give(
        &mut self,
        door: &Name,
        persons: Vec<Name>,
        is_leaving: bool,
        is_told: bool,
        now: Stamp,
    ) -> Grant {
        self.grants += 1;
        let id = GrantId(self.grants);
        if let Some(entry) = self.doors.get_mut(door) {
            if entry.given.len() >= PARTY_MAX {
                entry.given.remove(0);
            }
            entry.given.push(Given { id, persons, is_leaving, until: now.mono + GRANT_MAX, is_told });
        }
        Grant { id, with: Vec::new(), to_spend: Vec::new() }
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
