//! When to look: [`Alarm`]. Readers of codes, plates and faces look so often, and if they are asked to, much less often while
//! nothing moves.
//!
//! **Never:** a picture that is not looked at for ever: somebody who stands still moves nothing.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::MonoTime;
use godvision_core::bus::{Context, Delivery, Fault, Input, Output, ParamKind, ParamSpec, Params, Policy, PortSpec};
use godvision_core::signal::media::Picture;
use godvision_core::signal::seen::{Motion, MotionPhase, Region, Sighting};

/// Motion reports that wait while a picture is being read.
const MOTIONS_WAITING: usize = 8;

/// How long after the last report of motion its regions are looked at.
const MOTION_FRESH: Duration = Duration::from_secs(2);

/// The inputs of a unit that is woken by motion: `pictures`, and `motion`, which may stay unlinked.
pub(super) fn inputs() -> Vec<PortSpec> {
    vec![
        PortSpec::input::<Picture>("pictures", Policy::Latest),
        PortSpec::input::<Motion>("motion", Policy::DropOldest { capacity: MOTIONS_WAITING }),
    ]
}

/// The ports of such a unit, open.
pub(super) struct Ports {
    pictures: Input<Picture>,
    motions: Input<Motion>,
    pub(super) sightings: Output<Sighting>,
}

impl Ports {
    pub(super) fn of(cx: &Context) -> Result<Self, Fault> {
        Ok(Self { pictures: cx.input("pictures")?, motions: cx.input("motion")?, sightings: cx.output("sightings")? })
    }

    /// The next picture that is to be looked at; `None` when no more will come.
    pub(super) async fn next_due(&mut self, alarm: &mut Alarm) -> Option<Delivery<Picture>> {
        loop {
            let picture = self.pictures.recv().await?;
            while let Some(motion) = self.motions.try_recv() {
                alarm.take(&motion);
            }
            if alarm.is_due(picture.at.mono) {
                return Some(picture);
            }
        }
    }
}

/// The parameters that [`Alarm::new`] reads: look every `usual` seconds, never more often than every `least`.
pub(super) fn params(least: f64, usual: f64) -> [ParamSpec; 2] {
    [
        ParamSpec::with_default(
            "every",
            ParamKind::Seconds { min: least, max: 10.0 },
            usual,
            "how often a picture is looked at",
        ),
        ParamSpec::with_default(
            "motion_wakes",
            ParamKind::Flag,
            false,
            "look only every second or two while the `motion` input is quiet; link it",
        ),
    ]
}

/// Says which pictures are to be looked at, and where something moved in them.
#[derive(Debug)]
pub(super) struct Alarm {
    every: Duration,
    every_when_quiet: Duration,
    moved: Vec<Region>,
    moved_at: Option<MonoTime>,
    looked: Option<MonoTime>,
}

impl Alarm {
    /// By the parameters of [`params`]. If motion wakes, a quiet picture is looked at every `idle_every` all the same.
    pub(super) fn new(params: &Params, idle_every: Duration) -> Self {
        let every = params.seconds("every").unwrap_or(Duration::from_millis(200));
        let every_when_quiet = if params.flag("motion_wakes") { every.max(idle_every) } else { every };
        Self { every, every_when_quiet, moved: Vec::new(), moved_at: None, looked: None }
    }

    /// Takes in what moved.
    fn take(&mut self, motion: &Motion) {
        self.moved.clear();
        self.moved.extend_from_slice(&motion.regions);
        self.moved_at = (motion.phase != MotionPhase::Ended).then_some(motion.at.mono);
    }

    /// Whether the picture of `now` is to be looked at; if so, it counts as looked at.
    pub(super) fn is_due(&mut self, now: MonoTime) -> bool {
        let moves = self.moved_at.is_some_and(|last| now - last <= MOTION_FRESH);
        if !moves {
            self.moved.clear();
        }
        let every = if moves { self.every } else { self.every_when_quiet };
        let due = self.looked.is_none_or(|last| now - last >= every);
        if due {
            self.looked = Some(now);
        }
        due
    }

    /// What moves, most promising first; empty if nothing does.
    pub(super) fn moved(&self) -> &[Region] {
        &self.moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::{Name, Stamp, WallTime};

    fn at(millis: u64) -> Stamp {
        Stamp::new(MonoTime::from_millis(millis), WallTime::from_unix_millis(0))
    }

    fn motion(millis: u64, phase: MotionPhase) -> Motion {
        let source = Name::new("yard").unwrap();
        let regions = vec![Region::WHOLE];
        Motion { source, event: 1, phase, at: at(millis), sequence: 0, regions, zones: vec![], share: 0.1, mask: None }
    }

    fn due(alarm: &mut Alarm, millis: std::ops::Range<u64>) -> Vec<u64> {
        millis.step_by(100).filter(|&millis| alarm.is_due(MonoTime::from_millis(millis))).collect()
    }

    fn params(wakes: bool) -> Params {
        Params::new().with("every", 0.2).with("motion_wakes", wakes)
    }

    #[test]
    fn motion_wakes_and_quiet_pictures_are_seen_all_the_same() {
        let mut alarm = Alarm::new(&params(true), Duration::from_secs(1));
        assert_eq!(due(&mut alarm, 0..2500), [0, 1000, 2000]);
        alarm.take(&motion(2500, MotionPhase::Started));
        assert_eq!(due(&mut alarm, 2500..3100), [2500, 2700, 2900]);
        assert_eq!(alarm.moved(), [Region::WHOLE]);
        alarm.take(&motion(3100, MotionPhase::Ended));
        assert_eq!(due(&mut alarm, 3100..5000), [3900, 4900]);
        assert_eq!(alarm.moved(), []);
        // A detector that went silent is not believed for long.
        alarm.take(&motion(5000, MotionPhase::Ongoing));
        assert_eq!(due(&mut alarm, 7500..9000), [7500, 8500]);
    }

    #[test]
    fn unasked_every_picture_has_its_turn() {
        let mut alarm = Alarm::new(&params(false), Duration::from_secs(1));
        assert_eq!(due(&mut alarm, 0..1000), [0, 200, 400, 600, 800]);
    }
}
