//! [`Timeline`]: one session's RTP timestamps, sender reports and receive times become one moment a frame.
//!
//! A camera stamps frames with a counter of its own (RTP, 90 kHz, any start, drifting) and now and then says what time it
//! believes it is (RTCP sender reports). A frame should carry the moment it was *captured* on the host's timelines:
//!
//! * With reports whose clock agrees with the host's ([`TRUSTED_DELAY_MAX`]), capture = what the report says.
//! * Otherwise capture = receive time less the jitter: the smallest delay seen lately is taken as the true one (a leaky
//!   minimum, which follows the drift between the two oscillators).
//! * The mapping moves at most 1/[`SLEW`] of the time that passes, so distances between frames stay true.
//! * A frame is never stamped later than it was received, and never before its predecessor in presentation order.
//! * A counter that jumps (a camera sets its clock, an encoder restarts) is bridged by the receive times.
//!
//! Source: RFC 3550 sections 5.1 and 6.4.1; the leaky minimum is the usual one-way-delay filter of jitter buffers.
//!
//! **Never:** the camera's own calendar in a [`Stamp`] (cameras are often hours wrong); clock reads; a step backwards.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

use std::num::NonZeroU32;
use std::time::Duration;

use godvision_core::signal::media::TICKS_PER_SECOND;
use godvision_core::{MonoTime, Stamp, WallTime};

/// A sender report is believed if it came at most this long after the moment it names. Cameras on NTP are within tens of
/// milliseconds; one that is a second off is not synchronised, and its reports would only harm.
pub const TRUSTED_DELAY_MAX: Duration = Duration::from_secs(1);
/// A report may name a moment this far in the future and still be believed: two NTP clients differ by that much.
pub const TRUSTED_ADVANCE_MAX: Duration = Duration::from_millis(50);
/// A step forward that exceeds the time waited by more than this is a jump of the counter, not of time.
pub const JUMP_FORWARD: Duration = Duration::from_secs(5);
/// A step backward beyond this is a jump; less is the reordering of B frames.
pub const JUMP_BACKWARD: Duration = Duration::from_secs(1);
/// The mapping to the host's timeline moves by at most one part in this many.
pub const SLEW: i64 = 16;
/// Each frame moves the smallest delay this small a part of the way to its own: 20 s at 25 frames a second.
const LEAK: i64 = 512;

/// What the sender reports of a session are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SenderClock {
    /// None came.
    #[default]
    Silent,
    /// They agree with the host's clock and are used.
    Trusted,
    /// They disagree and are ignored.
    Ignored {
        /// How far the camera's clock is behind the host's, in milliseconds; negative if it is ahead.
        behind_ms: i64,
    },
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Presentation time since the session's first frame, in [`TICKS_PER_SECOND`]; jumps are bridged.
    pub pts_ticks: i64,
    /// When it was captured.
    pub at: Stamp,
    /// Whether the camera's counter jumped just before it.
    pub jumped: bool,
}

/// The timeline of one session.
#[derive(Clone, Debug)]
pub struct Timeline {
    rate_hz: NonZeroU32,
    /// Nothing is placed at or before this moment: the end of the session before.
    floor: MonoTime,
    base: Option<i64>,
    last: Option<Last>,
    smallest_delay_ns: i64,
    reported_offset_ns: Option<i64>,
    offset_ns: i64,
    sender_clock: SenderClock,
    jumps: u64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    pts: i64,
    received: MonoTime,
    /// The frame furthest in presentation order, and its stamp.
    newest_pts: i64,
    newest_at: MonoTime,
}

impl Timeline {
    /// For a session whose RTP clock runs at `rate_hz` (90,000 for all video RFCs define), after `floor`.
    pub fn new(rate_hz: NonZeroU32, floor: MonoTime) -> Self {
        Self {
            rate_hz,
            floor,
            base: None,
            last: None,
            smallest_delay_ns: 0,
            reported_offset_ns: None,
            offset_ns: 0,
            sender_clock: SenderClock::Silent,
            jumps: 0,
        }
    }

    /// What the sender reports are worth so far.
    pub fn sender_clock(&self) -> SenderClock {
        self.sender_clock
    }

    /// How often the camera's counter has jumped.
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    /// Takes a sender report: `rtp` (extended to 64 bits) and `camera` name the same moment, `received` is now.
    pub fn report(&mut self, rtp: i64, camera: WallTime, received: Stamp) {
        let micros = received.wall.as_unix_micros().saturating_sub(camera.as_unix_micros());
        let believed = -as_i64(TRUSTED_ADVANCE_MAX.as_micros())..=as_i64(TRUSTED_DELAY_MAX.as_micros());
        if !believed.contains(&micros) {
            self.sender_clock = SenderClock::Ignored { behind_ms: micros / 1000 };
            self.reported_offset_ns = None;
            return;
        }
        self.sender_clock = SenderClock::Trusted;
        let Some(base) = self.base else { return };
        let moment = signed(received.mono).saturating_sub(micros.max(0).saturating_mul(1000));
        self.reported_offset_ns = Some(moment.saturating_sub(to_ns(self.ticks(rtp).saturating_sub(base))));
    }

    /// Places a frame with RTP timestamp `rtp` (extended to 64 bits) that is complete at `received`.
    pub fn place(&mut self, rtp: i64, received: Stamp) -> Placed {
        let (pts, jumped) = self.presentation(rtp, received.mono);
        let delay = signed(received.mono).saturating_sub(to_ns(pts));
        self.follow(pts, delay);
        let moment = self.offset_ns.saturating_add(to_ns(pts));
        let mono = self.after_predecessor(pts, MonoTime::from_nanos(u64::try_from(moment).unwrap_or(0)));
        let newest = self.last.filter(|last| last.newest_pts >= pts).map(|last| (last.newest_pts, last.newest_at));
        let (newest_pts, newest_at) = newest.unwrap_or((pts, mono));
        self.last = Some(Last { pts, received: received.mono, newest_pts, newest_at });
        let earlier_us = signed(received.mono).saturating_sub(signed(mono)) / 1000;
        Placed { pts_ticks: pts, at: Stamp::new(mono, received.wall.plus_micros(-earlier_us)), jumped }
    }

    /// The session's presentation time of `rtp`, bridging jumps.
    fn presentation(&mut self, rtp: i64, received: MonoTime) -> (i64, bool) {
        let ticks = self.ticks(rtp);
        let Some(last) = self.last else {
            self.base = Some(ticks);
            return (0, false);
        };
        let pts = ticks.saturating_sub(self.base.unwrap_or(ticks));
        let waited = to_ticks(received.since(last.received));
        let step = pts.saturating_sub(last.pts);
        if step <= waited.saturating_add(to_ticks(JUMP_FORWARD)) && step >= -to_ticks(JUMP_BACKWARD) {
            return (pts, false);
        }
        let bridged = last.newest_pts.saturating_add(waited.max(1));
        self.base = Some(ticks.saturating_sub(bridged));
        self.reported_offset_ns = None;
        self.jumps += 1;
        (bridged, true)
    }

    /// Moves the mapping towards what this frame and the reports say.
    fn follow(&mut self, pts: i64, delay: i64) {
        let Some(last) = self.last else {
            self.smallest_delay_ns = delay;
            self.offset_ns = delay;
            return;
        };
        let above = delay.saturating_sub(self.smallest_delay_ns);
        self.smallest_delay_ns = self.smallest_delay_ns.saturating_add(if above < 0 { above } else { above / LEAK });
        let target = self.reported_offset_ns.unwrap_or(self.smallest_delay_ns);
        let reach = to_ns(pts.saturating_sub(last.pts).max(0)) / SLEW;
        let move_by = target.saturating_sub(self.offset_ns).clamp(-reach, reach);
        // Never later than received.
        self.offset_ns = self.offset_ns.saturating_add(move_by).min(delay);
    }

    fn after_predecessor(&self, pts: i64, moment: MonoTime) -> MonoTime {
        const NEXT: Duration = Duration::from_nanos(1);
        let earliest = self.floor + NEXT;
        match self.last {
            Some(last) if pts > last.newest_pts => moment.max(last.newest_at + NEXT),
            Some(last) => {
                let before = Duration::from_nanos(u64::try_from(to_ns(last.newest_pts - pts)).unwrap_or(0));
                last.newest_at.saturating_sub(before).max(earliest)
            }
            None => moment.max(earliest),
        }
    }

    fn ticks(&self, rtp: i64) -> i64 {
        let ticks = i128::from(rtp) * i128::from(TICKS_PER_SECOND) / i128::from(self.rate_hz.get());
        // Half the range, so that differences of two stay inside.
        const HALF: i128 = (i64::MAX / 2) as i128;
        ticks.clamp(-HALF, HALF) as i64
    }
}

fn as_i64(value: u128) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn signed(moment: MonoTime) -> i64 {
    i64::try_from(moment.as_nanos()).unwrap_or(i64::MAX)
}

fn to_ns(ticks: i64) -> i64 {
    let ns = i128::from(ticks) * 1_000_000_000 / i128::from(TICKS_PER_SECOND);
    ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

pub(crate) fn to_ticks(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos() * u128::from(TICKS_PER_SECOND) / 1_000_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: NonZeroU32 = NonZeroU32::new(90_000).unwrap();

    fn stamp(ms: i64) -> Stamp {
        Stamp::new(MonoTime::from_nanos((ms * 1_000_000) as u64), WallTime::from_unix_millis(1_700_000_000_000 + ms))
    }

    fn ms(moment: MonoTime) -> f64 {
        moment.as_nanos() as f64 / 1e6
    }

    #[test]
    fn jitter_is_taken_out_and_distances_stay_true() {
        let mut timeline = Timeline::new(RATE, MonoTime::ZERO);
        let mut stamps = Vec::new();
        for n in 0..200i64 {
            let jitter = [0, 7, 3, 12, 1][n as usize % 5];
            let placed = timeline.place(5_000 + n * 3600, stamp(1000 + n * 40 + jitter));
            assert_eq!(placed.pts_ticks, n * 3600);
            stamps.push(placed.at.mono);
        }
        for pair in stamps[100..].windows(2) {
            let step = ms(pair[1]) - ms(pair[0]);
            assert!((step - 40.0).abs() < 0.2, "{step}");
        }
        assert!((ms(stamps[199]) - (1000.0 + 199.0 * 40.0)).abs() < 3.0, "the smallest delay is taken as none");
    }

    #[test]
    fn a_trusted_report_moves_the_stamp_to_the_capture() {
        let mut timeline = Timeline::new(RATE, MonoTime::ZERO);
        timeline.place(0, stamp(1200));
        // The camera captured RTP 0 at 1000 on the host's clock: 200 ms of encoding and transport.
        timeline.report(3600, stamp(1040).wall, stamp(1050));
        assert_eq!(timeline.sender_clock(), SenderClock::Trusted);
        let mut last = Placed { pts_ticks: 0, at: stamp(0), jumped: false };
        for n in 1..200i64 {
            last = timeline.place(n * 3600, stamp(1200 + n * 40));
        }
        assert!((ms(last.at.mono) - (1000.0 + 199.0 * 40.0)).abs() < 1.0, "{}", ms(last.at.mono));
        assert_eq!(last.at.wall.as_unix_millis() - 1_700_000_000_000, (ms(last.at.mono)).floor() as i64);
    }

    #[test]
    fn a_camera_with_a_wrong_clock_is_not_believed() {
        let mut timeline = Timeline::new(RATE, MonoTime::ZERO);
        timeline.place(0, stamp(1000));
        timeline.report(0, WallTime::from_unix_seconds(0), stamp(1000));
        assert!(matches!(timeline.sender_clock(), SenderClock::Ignored { behind_ms: 1_700_000_001_000 }));
        timeline.report(0, stamp(1200).wall, stamp(1000));
        assert_eq!(timeline.sender_clock(), SenderClock::Ignored { behind_ms: -200 });
        assert_eq!(timeline.place(3600, stamp(1040)).at, stamp(1040));
    }

    #[test]
    fn a_jump_of_the_counter_is_bridged_by_receive_times() {
        let mut timeline = Timeline::new(RATE, MonoTime::ZERO);
        timeline.place(0, stamp(1000));
        timeline.place(3600, stamp(1040));
        let forward = timeline.place(3600 + 90_000 * 3600, stamp(1080));
        assert!(forward.jumped);
        assert_eq!((forward.pts_ticks, forward.at), (7200, stamp(1080)));
        let back = timeline.place(50, stamp(1120));
        assert!(back.jumped);
        assert_eq!((back.pts_ticks, back.at, timeline.jumps()), (10_800, stamp(1120), 2));
        let silence = timeline.place(50 + 90_000 * 60, stamp(61_120));
        assert!(!silence.jumped, "a minute of silence on both clocks is a minute");
        assert_eq!(silence.pts_ticks, 10_800 + 90_000 * 60);
    }

    #[test]
    fn a_burst_after_joining_is_stamped_when_it_came() {
        let mut timeline = Timeline::new(RATE, MonoTime::ZERO);
        for n in 0..50 {
            let placed = timeline.place(n * 3600, stamp(1000));
            assert!(placed.at.mono <= stamp(1000).mono + Duration::from_nanos(50));
        }
        let live = timeline.place(50 * 3600, stamp(1040));
        assert!((ms(live.at.mono) - 1040.0).abs() < 0.1);
    }

    #[test]
    fn reordered_frames_are_stamped_in_presentation_order() {
        let mut timeline = Timeline::new(RATE, MonoTime::ZERO);
        let at = [0, 3, 1, 2, 6, 4, 5].map(|n| timeline.place(n * 3600, stamp(1000 + n * 40 + 120)).at.mono);
        assert!(at[2] < at[1] && at[3] < at[1] && at[2] < at[3] && at[5] < at[4]);
        assert_eq!(at[1] - at[2], Duration::from_millis(80));
    }

    #[test]
    fn other_clock_rates_are_scaled() {
        let mut timeline = Timeline::new(NonZeroU32::new(1000).unwrap(), MonoTime::ZERO);
        timeline.place(7, stamp(1000));
        assert_eq!(timeline.place(47, stamp(1040)).pts_ticks, 3600);
    }

    proptest! {
        #[test]
        fn time_never_runs_backwards_nor_ahead(
            steps in prop::collection::vec((any::<i32>(), 0u32..10_000, prop::option::of(any::<i64>())), 1..60),
            floor in 0u64..5_000_000_000,
        ) {
            let floor = MonoTime::from_nanos(floor);
            let mut timeline = Timeline::new(RATE, floor);
            let (mut rtp, mut now, mut newest) = (i64::from(i32::MAX), floor + Duration::from_secs(1), None);
            for (step, wait_ms, report) in steps {
                rtp += i64::from(step);
                now = now + Duration::from_millis(wait_ms.into());
                let received = Stamp::new(now, WallTime::from_unix_millis(1_700_000_000_000));
                if let Some(wall) = report {
                    timeline.report(rtp, WallTime::from_unix_micros(wall), received);
                    timeline.report(rtp, received.wall.plus_micros(-(wall % 900_000).abs()), received);
                }
                let placed = timeline.place(rtp, received);
                prop_assert!(placed.at.mono > floor);
                prop_assert!(placed.at.mono <= now + Duration::from_nanos(100));
                if let Some((pts, at)) = newest {
                    prop_assert_eq!(placed.pts_ticks > pts, placed.at.mono > at);
                }
                if newest.is_none_or(|(pts, _)| placed.pts_ticks > pts) {
                    newest = Some((placed.pts_ticks, placed.at.mono));
                }
            }
        }
    }
}
