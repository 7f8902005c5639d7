//! A gate before the decoder: the sizes of coded pictures say when nothing at all happens, so that they need not be decoded.
//!
//! An encoder spends few bytes on a picture like the one before it. The gate learns what a quiet stream spends between its key
//! frames, and wakes when a packet is clearly larger. Key frames are always let through, so things left or taken are still
//! seen, late.
//!
//! **It costs recall, so nobody uses it unless asked to.** A packet's size tells of the whole picture: a far person in a noisy
//! or windy one is lost in it, one who stands still spends *fewer* bytes than the noise he hides, cameras with constant bit
//! rate spend the same whatever happens, and who begins to walk slowly enough is learnt as quiet. The figures are at
//! [`PacketGate`].
//!
//! **Never:** pixels, decoding, clocks, allocation.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::Stamp;

/// Whether the next packets are worth decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateVerdict {
    /// Decode.
    Wake,
    /// Nothing has happened for a while.
    Sleep,
}

/// What an owner may set of a [`PacketGate`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct GateOptions {
    /// A packet this much larger than quiet ones wakes: 1.1 to 10, by default 1.25.
    pub ratio: f32,
    /// How long it stays awake after the last large packet: 0.5 s to 10 min, by default 5 s.
    pub hold: Duration,
}

impl Default for GateOptions {
    fn default() -> Self {
        Self { ratio: 1.25, hold: Duration::from_secs(5) }
    }
}

/// The gate wakes, whatever the sizes, for so long at first.
const LEARN: Duration = Duration::from_secs(5);
/// Packets below this tell nothing: an encoder's headers and skipped blocks.
const BYTES_MIN: f32 = 200.0;
/// The quiet level falls by a tenth of the way to a smaller packet, and rises by a five-hundredth to a larger one: at 25
/// packets a second it follows the evening within a minute, and a walker of ten seconds hardly.
const FALL: f32 = 0.1;
const RISE: f32 = 0.002;
/// While it learns, rises as it falls.
const LEARNING_RISE: f32 = 0.05;

/// Says from the sizes of packets whether anything happens.
///
/// Measured on six SBI2015 sequences, each coded by x264 (veryfast, CRF 26, a key frame every 2 s) after twelve drawn quiet seconds: see
/// the crate's README for the share of moving frames during which it was awake. Cost: some ten operations a packet.
#[derive(Clone, Debug)]
pub struct PacketGate {
    options: GateOptions,
    started: Option<Stamp>,
    /// Bytes of a quiet packet.
    quiet: Option<f32>,
    large: Option<Stamp>,
}

impl PacketGate {
    /// A gate that knows nothing yet. Options outside their range are cut to it.
    pub fn new(options: GateOptions) -> Self {
        let ratio = if options.ratio.is_nan() { GateOptions::default().ratio } else { options.ratio.clamp(1.1, 10.0) };
        let hold = options.hold.clamp(Duration::from_millis(500), Duration::from_secs(600));
        Self { options: GateOptions { ratio, hold }, started: None, quiet: None, large: None }
    }

    /// Takes the next packet of the stream. A decoder that slept must begin again at a key frame.
    pub fn step(&mut self, bytes: usize, is_key: bool, at: Stamp) -> GateVerdict {
        let started = *self.started.get_or_insert(at);
        let is_learning = at.mono - started.mono < LEARN;
        if is_key {
            return GateVerdict::Wake;
        }
        let bytes = (bytes.min(1 << 30) as f32).max(BYTES_MIN);
        let quiet = self.quiet.get_or_insert(bytes);
        if bytes > *quiet * self.options.ratio {
            self.large = Some(at);
        }
        let rise = if is_learning { LEARNING_RISE } else { RISE };
        *quiet += (bytes - *quiet) * if bytes < *quiet { FALL } else { rise };
        let is_held = self.large.is_some_and(|large| at.mono - large.mono < self.options.hold);
        if is_learning || is_held { GateVerdict::Wake } else { GateVerdict::Sleep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::{MonoTime, WallTime};

    fn at(i: u64) -> Stamp {
        Stamp::new(MonoTime::from_millis(i * 40), WallTime::from_unix_millis(i as i64 * 40))
    }

    /// Packets of 1 to 1.2 kB, a key frame every two seconds, `more` bytes on top; gives whether each was awake.
    fn run(more: impl Fn(u64) -> usize, packets: u64) -> Vec<bool> {
        let mut gate = PacketGate::new(GateOptions::default());
        let size = |i: u64| 1000 + (i * 7919 % 200) as usize + more(i);
        (0..packets)
            .map(|i| gate.step(if i % 50 == 0 { 30_000 } else { size(i) }, i % 50 == 0, at(i)) == GateVerdict::Wake)
            .collect()
    }

    #[test]
    fn a_quiet_stream_sleeps_but_for_its_key_frames() {
        let awake = run(|_| 0, 500);
        assert!(awake[..125].iter().all(|awake| *awake), "it learns");
        assert!(awake.iter().enumerate().skip(125).all(|(i, awake)| *awake == (i % 50 == 0)));
    }

    #[test]
    fn larger_packets_wake_it_and_it_stays_awake_for_a_while() {
        let awake = run(|i| if (300..500).contains(&i) { 1500 } else { 0 }, 900);
        assert!(!awake[299] && awake[301..624].iter().all(|awake| *awake), "5 s longer");
        assert!(!awake[630]);
    }

    #[test]
    fn what_goes_on_for_minutes_becomes_normal() {
        let awake = run(|i| if i > 300 { 1500 } else { 0 }, 4000);
        assert!(awake[302] && !awake[3999]);
    }

    #[test]
    fn any_sizes_and_options_are_taken() {
        let options = GateOptions { ratio: f32::NAN, hold: Duration::ZERO };
        let mut gate = PacketGate::new(options);
        for (i, bytes) in [0, usize::MAX, 0, 1, usize::MAX].into_iter().cycle().take(1000).enumerate() {
            gate.step(bytes, i % 7 == 0, at(i as u64));
        }
        assert!(gate.quiet.is_some_and(|quiet| quiet.is_finite()));
    }
}
