//! What a reader shows, as data: a timed [`Script`] of red, green and sounder for each [`Indication`].
//!
//! ```text
//! Ready     red
//! Busy      dark
//! Awaiting  red 500 ms, green 500 ms, again and again
//! Open      green
//! Held      red 500 ms with a beep of 100 ms, dark 500 ms, again and again
//! Refused   three times: red and a beep for 100 ms, dark 400 ms; then dark until 1800 ms; then Ready
//! ```
//! One table serves every device. A device whose lamps the host switches plays it step by step ([`Player`]); an OSDP
//! reader times its lamp and its sounder itself and gets the same table as two commands ([`Led`], [`Buzzer`]).
//!
//! Source: the dissertation's `LikReader` and `LikLock` (dark while a code is decided, three beeps with a blink of the red
//! lamp each, then red: ready) for what is shown; it gives no times, so these are ours. OSDP: SIA OSDP v2.2, `osdp_LED`
//! and `osdp_BUZ` (times in units of 100 ms).
//!
//! **Never:** a clock, a decision, a text on a display.

use std::time::Duration;

use godvision_core::MonoTime;
use godvision_core::signal::door::Indication;

/// One unit of time in OSDP commands.
pub const OSDP_UNIT: Duration = Duration::from_millis(100);

/// What is lit and what sounds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shown {
    /// The red lamp.
    pub red: bool,
    /// The green lamp.
    pub green: bool,
    /// The sounder.
    pub beep: bool,
}

impl Shown {
    /// All off.
    pub const DARK: Self = Self { red: false, green: false, beep: false };
    /// The red lamp alone.
    pub const RED: Self = Self { red: true, green: false, beep: false };
    /// The green lamp alone.
    pub const GREEN: Self = Self { red: false, green: true, beep: false };
    /// The red lamp and the sounder.
    pub const RED_BEEP: Self = Self { red: true, green: false, beep: true };
}

/// Something shown for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub shown: Shown,
    /// For how long, in milliseconds.
    pub lasts_ms: u32,
}

const fn step(shown: Shown, lasts_ms: u32) -> Step {
    Step { shown, lasts_ms }
}

/// What a lamp and a sounder do over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// Shown one after another.
    steps: &'static [Step],
    /// How often; `None`: without end.
    times: Option<u32>,
    /// Shown after the last step, until `ends_ms`.
    pause: Shown,
    /// When it is over, in milliseconds; without meaning if there is no end.
    ends_ms: u64,
    /// Shown when it is over.
    after: Shown,
}

/// Each [`Indication`]'s script.
const READY: Script = Script::steady(Shown::RED);
const BUSY: Script = Script::steady(Shown::DARK);
const AWAITING: Script = Script::endless(&[step(Shown::RED, 500), step(Shown::GREEN, 500)]);
const OPEN: Script = Script::steady(Shown::GREEN);
const HELD: Script = Script::endless(&[step(Shown::RED_BEEP, 100), step(Shown::RED, 400), step(Shown::DARK, 500)]);
const REFUSED: Script = Script {
    steps: &[step(Shown::RED_BEEP, 100), step(Shown::DARK, 400)],
    times: Some(3),
    pause: Shown::DARK,
    ends_ms: 1800,
    after: Shown::RED,
};

impl Script {
    const fn steady(shown: Shown) -> Self {
        Self { steps: &[], times: Some(0), pause: shown, ends_ms: 0, after: shown }
    }

    const fn endless(steps: &'static [Step]) -> Self {
        Self { steps, times: None, pause: Shown::DARK, ends_ms: 0, after: Shown::DARK }
    }

    /// The script of `indication`.
    pub const fn of(indication: Indication) -> Self {
        match indication {
            Indication::Ready => READY,
            Indication::Busy => BUSY,
            Indication::Awaiting => AWAITING,
            Indication::Open => OPEN,
            Indication::Held => HELD,
            Indication::Refused => REFUSED,
        }
    }

    /// Its steps, shown one after another; none if it is steady.
    pub fn steps(&self) -> &'static [Step] {
        self.steps
    }

    /// How often the steps are shown; `None` without end.
    pub fn times(&self) -> Option<u32> {
        self.times
    }

    /// When nothing changes any more; zero for a steady script, `None` without end.
    pub fn ends(&self) -> Option<Duration> {
        self.times.map(|_| Duration::from_millis(self.ends_ms))
    }

    fn period_ms(&self) -> u64 {
        self.steps.iter().map(|step| u64::from(step.lasts_ms)).sum()
    }

    /// What is shown `elapsed` after it began.
    pub fn at(&self, elapsed: Duration) -> Shown {
        self.look(elapsed).0
    }

    /// How long after the beginning it changes next, later than `elapsed`; `None` if it never does.
    pub fn next_change(&self, elapsed: Duration) -> Option<Duration> {
        // The same may be shown on both sides of an edge: at most one round of the steps and the end are looked at.
        let shown = self.at(elapsed);
        let mut at = elapsed;
        for _ in 0..self.steps.len() + 2 {
            at = self.look(at).1?;
            if self.at(at) != shown {
                return Some(at);
            }
        }
        None
    }

    /// What is shown at `elapsed`, and the next edge behind it.
    fn look(&self, elapsed: Duration) -> (Shown, Option<Duration>) {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let period_ms = self.period_ms();
        let rounds_end_ms = self.times.map(|times| period_ms.saturating_mul(u64::from(times)));
        if period_ms > 0 && rounds_end_ms.is_none_or(|end| elapsed_ms < end) {
            let begin_ms = elapsed_ms - elapsed_ms % period_ms;
            let mut edge_ms = begin_ms;
            for step in self.steps {
                edge_ms = edge_ms.saturating_add(u64::from(step.lasts_ms));
                if elapsed_ms < edge_ms {
                    return (step.shown, Some(Duration::from_millis(edge_ms)));
                }
            }
        }
        if elapsed_ms < self.ends_ms {
            return (self.pause, Some(Duration::from_millis(self.ends_ms)));
        }
        (self.after, None)
    }
}

/// Which lamps a device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    /// A red lamp that can be switched.
    pub has_red: bool,
    /// A green lamp that can be switched.
    pub has_green: bool,
    /// A sounder that can be switched.
    pub has_sounder: bool,
}

impl Profile {
    /// Red, green and a sounder: the dissertation's device, and most OSDP readers.
    pub const FULL: Self = Self { has_red: true, has_green: true, has_sounder: true };
    /// One line that turns a red lamp green, and one for the sounder: a common Wiegand reader. Busy looks like ready there.
    pub const GREEN_LINE: Self = Self { has_red: false, has_green: true, has_sounder: true };

    /// As much of `shown` as the device can show.
    pub fn fit(self, shown: Shown) -> Shown {
        Shown {
            red: shown.red && self.has_red,
            green: shown.green && self.has_green,
            beep: shown.beep && self.has_sounder,
        }
    }
}

/// A script that is being played on a device whose lamps the host switches.
#[derive(Clone, Copy, Debug)]
pub struct Player {
    profile: Profile,
    script: Script,
    since: MonoTime,
}

impl Player {
    /// Starts the script of `indication` at `now`.
    pub fn new(profile: Profile, indication: Indication, now: MonoTime) -> Self {
        Self { profile, script: Script::of(indication), since: now }
    }

    /// What the device has to show at `now`.
    pub fn shown(&self, now: MonoTime) -> Shown {
        self.profile.fit(self.script.at(now.since(self.since)))
    }

    /// When that changes next, later than `now`.
    pub fn next_change(&self, now: MonoTime) -> Option<MonoTime> {
        let shown = self.shown(now);
        let mut elapsed = now.since(self.since);
        for _ in 0..self.script.steps.len() + 2 {
            elapsed = self.script.next_change(elapsed)?;
            if self.profile.fit(self.script.at(elapsed)) != shown {
                return Some(self.since + elapsed);
            }
        }
        None
    }
}

/// A colour of an OSDP lamp, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Colour {
    /// Off.
    Black = 0,
    /// Red.
    Red = 1,
    /// Green.
    Green = 2,
    /// Red and green together.
    Amber = 3,
}

impl Colour {
    fn of(shown: Shown) -> Self {
        match (shown.red, shown.green) {
            (false, false) => Self::Black,
            (true, false) => Self::Red,
            (false, true) => Self::Green,
            (true, true) => Self::Amber,
        }
    }
}

/// Two colours in turn; times in units of 100 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blink {
    /// How long `on` is shown.
    pub on_units: u8,
    /// How long `off` is shown; 0: never.
    pub off_units: u8,
    /// The first colour.
    pub on: Colour,
    /// The second colour.
    pub off: Colour,
}

/// What `osdp_LED` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// Shown first, for so many units of 100 ms; `None` ends whatever was shown for a while.
    pub temporary: Option<(Blink, u16)>,
    /// Shown then, without end.
    pub permanent: Blink,
}

/// What `osdp_BUZ` says; times in units of 100 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buzzer {
    /// Whether it sounds at all.
    pub sounds: bool,
    /// How long it sounds.
    pub on_units: u8,
    /// How long it is silent then.
    pub off_units: u8,
    /// How often; 0: without end.
    pub count: u8,
}

fn units(lasts_ms: u32) -> u16 {
    u16::try_from(lasts_ms / 100).unwrap_or(u16::MAX)
}

/// Runs of one thing in the steps, as `(thing, units)`.
fn runs<T: PartialEq + Copy>(steps: &[Step], of: fn(Shown) -> T) -> Vec<(T, u16)> {
    let mut runs: Vec<(T, u16)> = Vec::new();
    for step in steps {
        let (thing, lasts) = (of(step.shown), units(step.lasts_ms));
        match runs.last_mut() {
            Some((last, sum)) if *last == thing => *sum = sum.saturating_add(lasts),
            _ => runs.push((thing, lasts)),
        }
    }
    runs
}

fn byte(units: u16) -> u8 {
    u8::try_from(units).unwrap_or(u8::MAX)
}

impl Led {
    /// The lamp of an OSDP reader for `indication`.
    pub fn of(indication: Indication) -> Self {
        let script = Script::of(indication);
        let steady = |shown| Blink { on_units: 1, off_units: 0, on: Colour::of(shown), off: Colour::of(shown) };
        let blink = match runs(script.steps, Colour::of).as_slice() {
            [(on, on_units), (off, off_units), ..] => {
                Blink { on_units: byte(*on_units), off_units: byte(*off_units), on: *on, off: *off }
            }
            _ => steady(script.pause),
        };
        match script.ends() {
            None => Self { temporary: None, permanent: blink },
            Some(ends) if ends.is_zero() => Self { temporary: None, permanent: steady(script.after) },
            Some(_) => {
                // As long as it blinks, not until the end: a reader cannot pause, and a fourth blink would be one too many.
                let blinks_ms = script.period_ms().saturating_mul(script.times.unwrap_or(0).into());
                let lasts = u16::try_from(blinks_ms / 100).unwrap_or(u16::MAX);
                Self { temporary: Some((blink, lasts)), permanent: steady(script.after) }
            }
        }
    }
}

impl Buzzer {
    /// The sounder of an OSDP reader for `indication`.
    pub fn of(indication: Indication) -> Self {
        let script = Script::of(indication);
        let silent = Self { sounds: false, on_units: 0, off_units: 0, count: 0 };
        match runs(script.steps, |shown| shown.beep).as_slice() {
            [(true, on), (false, off)] => Self {
                sounds: true,
                on_units: byte(*on),
                off_units: byte(*off),
                count: script.times.map_or(0, |times| u8::try_from(times).unwrap_or(u8::MAX)),
            },
            _ => silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::REFUSED_SHOWN;

    const ALL: [Indication; 6] = [
        Indication::Ready,
        Indication::Busy,
        Indication::Awaiting,
        Indication::Open,
        Indication::Held,
        Indication::Refused,
    ];

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Every change of a script in its first `until` milliseconds.
    fn changes(indication: Indication, until: u64) -> Vec<(u64, Shown)> {
        let script = Script::of(indication);
        let mut seen = vec![(0, script.at(Duration::ZERO))];
        let mut at = Duration::ZERO;
        while let Some(next) = script.next_change(at).filter(|next| *next <= ms(until)) {
            assert!(next > at);
            // Exact to the nanosecond: nothing has changed just before.
            assert_eq!(script.at(next - Duration::from_nanos(1)), seen.last().unwrap().1);
            seen.push((u64::try_from(next.as_millis()).unwrap(), script.at(next)));
            at = next;
        }
        seen
    }

    #[test]
    fn a_refusal_is_three_beeps_with_a_blink_each_and_then_ready() {
        let (beep, dark, red) = (Shown::RED_BEEP, Shown::DARK, Shown::RED);
        assert_eq!(
            changes(Indication::Refused, 1_000_000),
            [(0, beep), (100, dark), (500, beep), (600, dark), (1000, beep), (1100, dark), (1800, red)]
        );
        assert_eq!(Script::of(Indication::Refused).ends(), Some(REFUSED_SHOWN), "as long as the door shows it");
    }

    #[test]
    fn what_goes_on_goes_on() {
        let (beep, dark, red, green) = (Shown::RED_BEEP, Shown::DARK, Shown::RED, Shown::GREEN);
        assert_eq!(
            changes(Indication::Held, 2000),
            [(0, beep), (100, red), (500, dark), (1000, beep), (1100, red), (1500, dark), (2000, beep)]
        );
        assert_eq!(changes(Indication::Awaiting, 1500), [(0, red), (500, green), (1000, red), (1500, green)]);
        let late = ms(1_000_000_000_000);
        assert_eq!(Script::of(Indication::Held).at(late), beep);
        assert_eq!(Script::of(Indication::Held).next_change(late), Some(late + ms(100)));
        assert_eq!(Script::of(Indication::Held).at(Duration::MAX), Script::of(Indication::Held).at(ms(u64::MAX)));
        assert_eq!(Script::of(Indication::Held).ends(), None);
    }

    #[test]
    fn what_is_steady_never_changes() {
        for (indication, shown) in
            [(Indication::Ready, Shown::RED), (Indication::Busy, Shown::DARK), (Indication::Open, Shown::GREEN)]
        {
            assert_eq!(changes(indication, u64::MAX), [(0, shown)]);
            assert_eq!(Script::of(indication).ends(), Some(Duration::ZERO));
        }
    }

    #[test]
    fn a_player_wakes_only_for_what_its_device_can_show() {
        let start = MonoTime::from_millis(7_000);
        let full = Player::new(Profile::FULL, Indication::Held, start);
        assert_eq!(full.next_change(start), Some(MonoTime::from_millis(7_100)));
        assert_eq!(full.shown(MonoTime::from_millis(7_100)), Shown::RED);
        // Without a red lamp only the sounder is left of it.
        let line = Player::new(Profile::GREEN_LINE, Indication::Held, start);
        assert_eq!(line.shown(start), Shown { beep: true, ..Shown::DARK });
        assert_eq!(line.next_change(start), Some(MonoTime::from_millis(7_100)));
        assert_eq!(line.next_change(MonoTime::from_millis(7_100)), Some(MonoTime::from_millis(8_000)));
        let nothing = Profile { has_red: false, has_green: false, has_sounder: false };
        for indication in ALL {
            assert_eq!(Player::new(nothing, indication, start).next_change(start), None, "{indication:?}");
        }
    }

    #[test]
    fn osdp_readers_get_the_table_as_two_commands() {
        let blink = |on_units, off_units, on, off| Blink { on_units, off_units, on, off };
        let red = blink(1, 0, Colour::Red, Colour::Red);
        assert_eq!(Led::of(Indication::Ready), Led { temporary: None, permanent: red });
        assert_eq!(
            Led::of(Indication::Refused),
            Led { temporary: Some((blink(1, 4, Colour::Red, Colour::Black), 15)), permanent: red }
        );
        assert_eq!(
            Buzzer::of(Indication::Refused),
            Buzzer { sounds: true, on_units: 1, off_units: 4, count: 3 },
            "three beeps of 100 ms, 500 ms apart"
        );
        assert_eq!(Buzzer::of(Indication::Held), Buzzer { sounds: true, on_units: 1, off_units: 9, count: 0 });
        assert!(!Buzzer::of(Indication::Open).sounds);
    }

    /// A reader that obeys its two commands shows what the script says, at every tenth of a second. The one difference:
    /// it knows no pause, so that after the third blink its lamp is red 300 ms early.
    #[test]
    fn the_two_commands_show_what_the_script_says() {
        for indication in ALL {
            let (script, led, buzzer) = (Script::of(indication), Led::of(indication), Buzzer::of(indication));
            for tick in 0..60_u64 {
                let blink = match led.temporary {
                    Some((blink, lasts)) if tick < u64::from(lasts) => blink,
                    _ => led.permanent,
                };
                let is_on = tick % u64::from(blink.on_units + blink.off_units) < u64::from(blink.on_units);
                let colour = if is_on { blink.on } else { blink.off };
                let period = u64::from(buzzer.on_units + buzzer.off_units).max(1);
                let is_left = buzzer.count == 0 || tick / period < u64::from(buzzer.count);
                let beeps = buzzer.sounds && is_left && tick % period < u64::from(buzzer.on_units);
                let wanted = script.at(ms(tick * 100));
                assert_eq!(beeps, wanted.beep, "{indication:?} at {tick}");
                let is_pause = indication == Indication::Refused && (15..18).contains(&tick);
                assert!(is_pause || colour == Colour::of(wanted), "{indication:?} at {tick}: {colour:?}");
            }
        }
    }
}
