//! From "this frame moves" to events that start, go on and end: hysteresis in time, not in frames.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::Stamp;
use godvision_core::signal::seen::MotionPhase;

/// A step of a motion event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MotionStep {
    /// Counts events of this detector from 1; the phases of one event share it.
    pub event: u64,
    /// Where the event stands.
    pub phase: MotionPhase,
    /// The frame it is about: for [`MotionPhase::Started`] the first frame that moved, else this frame.
    pub at: Stamp,
    /// That frame's sequence.
    pub sequence: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Quiet,
    /// Moves, but not for long enough yet.
    Perhaps {
        first: (Stamp, u64),
        last: Stamp,
    },
    Moving {
        last: Stamp,
    },
}

#[derive(Debug)]
pub(super) struct Hysteresis {
    start_after: Duration,
    quiet_after: Duration,
    state: State,
    event: u64,
}

impl Hysteresis {
    pub(super) fn new(start_after: Duration, quiet_after: Duration) -> Self {
        Self { start_after, quiet_after, state: State::Quiet, event: 0 }
    }

    /// Takes one frame. A moving frame of an event that has started gives [`MotionPhase::Ongoing`] each time.
    pub(super) fn step(&mut self, moves: bool, at: Stamp, sequence: u64) -> Option<MotionStep> {
        let step = |event, phase, (at, sequence)| Some(MotionStep { event, phase, at, sequence });
        match (self.state, moves) {
            (State::Quiet, false) => None,
            (State::Quiet, true) => {
                self.state = State::Perhaps { first: (at, sequence), last: at };
                self.confirm((at, sequence), at)
            }
            (State::Perhaps { first, .. }, true) => {
                self.state = State::Perhaps { first, last: at };
                self.confirm(first, at)
            }
            (State::Perhaps { last, .. }, false) => {
                // A frame or two without motion do not spoil a beginning; a pause longer than the beginning does.
                if at.mono - last.mono > self.start_after {
                    self.state = State::Quiet;
                }
                None
            }
            (State::Moving { .. }, true) => {
                self.state = State::Moving { last: at };
                step(self.event, MotionPhase::Ongoing, (at, sequence))
            }
            (State::Moving { last }, false) => {
                if at.mono - last.mono < self.quiet_after {
                    return None;
                }
                self.state = State::Quiet;
                step(self.event, MotionPhase::Ended, (at, sequence))
            }
        }
    }

    fn confirm(&mut self, first: (Stamp, u64), at: Stamp) -> Option<MotionStep> {
        if at.mono - first.0.mono < self.start_after {
            return None;
        }
        self.state = State::Moving { last: at };
        self.event += 1;
        Some(MotionStep { event: self.event, phase: MotionPhase::Started, at: first.0, sequence: first.1 })
    }

    /// Ends a running event at once: what is seen from now on has nothing to do with it.
    pub(super) fn cut(&mut self, at: Stamp, sequence: u64) -> Option<MotionStep> {
        let was = std::mem::replace(&mut self.state, State::Quiet);
        matches!(was, State::Moving { .. }).then_some(MotionStep {
            event: self.event,
            phase: MotionPhase::Ended,
            at,
            sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::{MonoTime, WallTime};

    fn at(millis: u64) -> Stamp {
        Stamp::new(MonoTime::from_millis(millis), WallTime::from_unix_millis(millis as i64))
    }

    /// Frames every 40 ms; `moves` says which move. Gives (frame, event, phase, frame it is about).
    fn run(moves: impl Fn(u64) -> bool, frames: u64) -> Vec<(u64, u64, MotionPhase, u64)> {
        let mut hysteresis = Hysteresis::new(Duration::from_millis(200), Duration::from_secs(1));
        let step = |i| hysteresis.step(moves(i), at(i * 40), i).map(|step| (i, step.event, step.phase, step.sequence));
        (0..frames).filter_map(step).collect()
    }

    #[test]
    fn an_event_starts_at_its_first_moving_frame_and_ends_after_the_quiet_time() {
        let steps = run(|i| (10..20).contains(&i), 60);
        assert_eq!(steps.first(), Some(&(15, 1, MotionPhase::Started, 10)));
        assert_eq!(steps.last(), Some(&(44, 1, MotionPhase::Ended, 44)), "25 frames of 40 ms after frame 19");
        assert_eq!(steps.len(), 6, "four ongoing between");
    }

    #[test]
    fn a_flash_starts_nothing() {
        assert_eq!(run(|i| i == 10 || i == 40, 100), []);
        assert_eq!(run(|i| (10..15).contains(&i), 100), []);
    }

    #[test]
    fn gaps_shorter_than_the_quiet_time_keep_one_event() {
        let steps = run(|i| i % 20 < 8, 200);
        assert!(steps.iter().all(|step| step.1 == 1));
        assert_eq!(steps.iter().filter(|step| step.2 == MotionPhase::Started).count(), 1);
    }

    #[test]
    fn events_are_counted() {
        let steps = run(|i| i % 100 < 10, 300);
        let ended: Vec<u64> = steps.iter().filter(|step| step.2 == MotionPhase::Ended).map(|step| step.1).collect();
        assert_eq!(ended, [1, 2, 3]);
    }
}
