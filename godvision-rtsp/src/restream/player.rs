//! A file as a camera: an Annex-B stream played in a loop, in real time.
//!
//! [`FilePlayer::packet`] is a pure function of a frame's number and the moment of the start, so timestamps run on over
//! the end of the file as if the camera had filmed it again. [`FilePlayer::play`] adds the clock.
//!
//! **Never:** files whose pictures are stored out of order (B frames): a file has no timestamps to tell their order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godvision_core::name::Name;
use godvision_core::signal::media::{Codec, FrameKind, Packet, TICKS_PER_SECOND, VideoFormat};
use godvision_core::time::{Clock, Stamp, SystemClock};
use tokio::time::{Instant, sleep_until};

use super::mount::MountHandle;
use crate::nal::{self, BitstreamError, ParameterSets, annex_b_units};

/// Most frames a second that a file may be played at.
pub const FRAMES_PER_SECOND_MAX: f64 = 240.0;

/// Why a file cannot be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlayerError {
    /// Only H.264 and H.265 have an Annex B.
    #[error("{0} has no Annex-B form")]
    Codec(Codec),
    /// Not above 0, or above [`FRAMES_PER_SECOND_MAX`].
    #[error("the frame rate must lie above 0 and not above {FRAMES_PER_SECOND_MAX}")]
    FrameRate,
    /// No key frame with its parameter sets.
    #[error("the file holds no key frame behind parameter sets: is it Annex-B {0}?")]
    NoKeyFrame(Codec),
    /// The parameter sets cannot be read.
    #[error("the file's parameter sets cannot be read")]
    ParameterSets(#[from] BitstreamError),
}

#[derive(Debug)]
struct StoredFrame {
    format: Arc<VideoFormat>,
    kind: FrameKind,
    data: Bytes,
}

/// A file, taken apart and ready to be played. Holds the whole file in memory.
#[derive(Debug)]
pub struct FilePlayer {
    name: Name,
    clock: Arc<dyn Clock>,
    frame_nanos: f64,
    frames: Vec<StoredFrame>,
}

impl FilePlayer {
    /// Takes the Annex-B stream `file` apart; `name` becomes the packets' source. What stands before the first key frame is left out.
    ///
    /// # Errors
    /// See [`PlayerError`].
    pub fn from_annex_b(name: Name, codec: Codec, file: &[u8], frames_per_second: f64) -> Result<Self, PlayerError> {
        if !(frames_per_second > 0.0 && frames_per_second <= FRAMES_PER_SECOND_MAX) {
            return Err(PlayerError::FrameRate);
        }
        if !matches!(codec, Codec::H264 | Codec::H265) {
            return Err(PlayerError::Codec(codec));
        }
        let mut sets: Vec<&[u8]> = Vec::new();
        let mut sets_changed = false;
        let mut format: Option<Arc<VideoFormat>> = None;
        let mut frames: Vec<StoredFrame> = Vec::new();
        for units in access_units(codec, file) {
            let mut data = Vec::new();
            let mut kind = FrameKind::Delta;
            for unit in units {
                match class(codec, unit) {
                    Class::ParameterSet => {
                        // A second set of the same type and content says nothing new; a different one replaces.
                        if !sets.contains(&unit) {
                            sets.retain(|old| !same_set(codec, old, unit));
                            sets.push(unit);
                            sets_changed = true;
                        }
                        continue;
                    }
                    Class::Delimiter => continue,
                    Class::KeySlice => kind = FrameKind::Key,
                    Class::Slice | Class::Other => {}
                }
                nal::push_unit(&mut data, unit);
            }
            if kind == FrameKind::Key && (sets_changed || format.is_none()) {
                format = Some(Arc::new(read_format(codec, &sets)?));
                sets_changed = false;
            }
            if let (Some(format), false) = (&format, data.is_empty()) {
                frames.push(StoredFrame { format: Arc::clone(format), kind, data: Bytes::from(data) });
            }
        }
        if frames.is_empty() {
            return Err(PlayerError::NoKeyFrame(codec));
        }
        Ok(Self { name, clock: SystemClock::shared(), frame_nanos: 1e9 / frames_per_second, frames })
    }

    /// Stamps packets by `clock` instead of the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Frames of one round.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Duration of one round.
    pub fn duration(&self) -> Duration {
        self.offset(self.frames.len() as u64)
    }

    fn offset(&self, sequence: u64) -> Duration {
        Duration::from_nanos((sequence as f64 * self.frame_nanos) as u64)
    }

    /// The packet number `sequence` of a play that started at `start`; numbers beyond the file start it again.
    pub fn packet(&self, sequence: u64, start: Stamp) -> Packet {
        let offset = self.offset(sequence);
        let index = (sequence % self.frames.len() as u64) as usize;
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length, which is not zero")]
        let frame = &self.frames[index];
        let micros = i64::try_from(offset.as_micros()).unwrap_or(i64::MAX);
        Packet {
            source: self.name.clone(),
            format: Arc::clone(&frame.format),
            sequence,
            session: 1,
            pts_ticks: (sequence as f64 * self.frame_nanos * f64::from(TICKS_PER_SECOND) / 1e9).round() as i64,
            at: Stamp::new(start.mono + offset, start.wall.plus_micros(micros)),
            kind: frame.kind,
            lost_before: 0,
            data: frame.data.clone(),
        }
    }

    /// Plays the file on `mount` in real time, again and again; ends only when it is dropped. Frames that the mount
    /// refuses are counted there.
    pub async fn play(&self, mount: &MountHandle) {
        let (started, start) = (Instant::now(), self.clock.now());
        for sequence in 0.. {
            sleep_until(started + self.offset(sequence)).await;
            if let Err(error) = mount.publish(&self.packet(sequence, start)) {
                tracing::debug!(sequence, %error, "file player: a frame was refused");
            }
        }
    }
}

fn read_format(codec: Codec, units: &[&[u8]]) -> Result<VideoFormat, PlayerError> {
    let sets = ParameterSets::from_units(codec, units.iter().copied()).ok_or(PlayerError::NoKeyFrame(codec))?;
    Ok(if codec == Codec::H264 { nal::h264::format(&sets)? } else { nal::h265::format(&sets)? })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    ParameterSet,
    Delimiter,
    KeySlice,
    Slice,
    Other,
}

fn unit_type(codec: Codec, unit: &[u8]) -> u8 {
    let first = unit.first().copied().unwrap_or_default();
    if codec == Codec::H264 { first & 0x1f } else { (first >> 1) & 0x3f }
}

fn class(codec: Codec, unit: &[u8]) -> Class {
    match (codec, unit_type(codec, unit)) {
        (Codec::H264, 5) | (Codec::H265, 16..=21) => Class::KeySlice,
        (Codec::H264, 1..=4) | (Codec::H265, 0..=15) => Class::Slice,
        (Codec::H264, 7 | 8) | (Codec::H265, 32..=34) => Class::ParameterSet,
        (Codec::H264, 9..=12) | (Codec::H265, 35..=38) => Class::Delimiter,
        _ => Class::Other,
    }
}

/// Whether two parameter sets have the same type, and so (with one set of each type in a file) replace each other.
fn same_set(codec: Codec, a: &[u8], b: &[u8]) -> bool {
    unit_type(codec, a) == unit_type(codec, b)
}

/// Units grouped into pictures (H.264 section 7.4.1.2.3, H.265 section 7.4.2.4.4).
fn access_units(codec: Codec, file: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut pictures: Vec<Vec<&[u8]>> = Vec::new();
    let mut current: Vec<&[u8]> = Vec::new();
    let mut has_slice = false;
    for unit in annex_b_units(file) {
        let class = class(codec, unit);
        let is_slice = matches!(class, Class::KeySlice | Class::Slice);
        // The first bit behind the unit's header: first_mb_in_slice is 0 (one 1 bit), or first_slice_segment_in_pic_flag.
        let header = if codec == Codec::H264 { 1 } else { 2 };
        let is_first_slice = is_slice && unit.get(header).is_some_and(|byte| byte & 0x80 != 0);
        // Suffix SEI of H.265 belongs to the picture before it.
        let is_suffix = codec == Codec::H265 && unit_type(codec, unit) == 40;
        if has_slice && (is_first_slice || (!is_slice && !is_suffix)) {
            pictures.push(std::mem::take(&mut current));
            has_slice = false;
        }
        has_slice |= is_slice;
        current.push(unit);
    }
    if has_slice {
        pictures.push(current);
    }
    pictures
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::time::{MonoTime, WallTime};

    // Constrained Baseline, 16x16, picture order count type 2; then a picture parameter set.
    const SPS: [u8; 7] = [0x67, 0x42, 0xc0, 0x0a, 0xda, 0x7b, 0x40];
    const PPS: [u8; 3] = [0x68, 0xce, 0x38];

    fn annex_b(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect()
    }

    fn player(units: &[&[u8]], rate: f64) -> Result<FilePlayer, PlayerError> {
        FilePlayer::from_annex_b("a/b".parse().unwrap(), Codec::H264, &annex_b(units), rate)
    }

    #[test]
    fn slices_are_grouped_into_pictures() {
        let units: [&[u8]; 9] = [
            &[0x41, 0x80], // before the first key frame
            &SPS,
            &PPS,
            &[0x65, 0x80, 1],
            &[0x65, 0x40, 2], // its second slice
            &[0x06, 1],       // SEI of the next picture
            &[0x41, 0x80, 3],
            &[0x09, 0xf0], // delimiters are left out
            &[0x41, 0x80, 4],
        ];
        let player = player(&units, 10.0).unwrap();
        let data: Vec<_> = (0..3).map(|n| player.packet(n, Stamp::default()).data).collect();
        assert_eq!(player.frames(), 3);
        assert_eq!(&data[0][..], [0, 0, 0, 3, 0x65, 0x80, 1, 0, 0, 0, 3, 0x65, 0x40, 2]);
        assert_eq!(&data[1][..], [0, 0, 0, 2, 0x06, 1, 0, 0, 0, 3, 0x41, 0x80, 3]);
        assert_eq!(&data[2][..], [0, 0, 0, 3, 0x41, 0x80, 4]);
    }

    #[test]
    fn time_runs_on_over_the_end_of_the_file() {
        let player = player(&[&SPS, &PPS, &[0x65, 0x80], &[0x41, 0x80], &[0x41, 0x81]], 15.0).unwrap();
        assert_eq!(player.duration(), Duration::from_millis(200));
        let start = Stamp::new(MonoTime::from_millis(5), WallTime::from_unix_seconds(100));
        let packets: Vec<_> = (0..7).map(|number| player.packet(number, start)).collect();
        assert!(packets.windows(2).all(|pair| pair[1].pts_ticks - pair[0].pts_ticks == 6000));
        assert_eq!(packets[3].kind, FrameKind::Key);
        assert_eq!(packets[3].data, packets[0].data);
        assert_eq!(packets[6].at.mono.since(start.mono), Duration::from_millis(400));
        assert_eq!(packets[6].at.wall.as_unix_millis(), 100_400);
        assert_eq!(player.packet(15 * 3600 * 24 * 365, start).pts_ticks, 90_000 * 3600 * 24 * 365, "a year on");
    }

    #[test]
    fn files_that_cannot_be_played_are_refused() {
        assert_eq!(player(&[&[0x65, 0x80]], 10.0).unwrap_err(), PlayerError::NoKeyFrame(Codec::H264));
        assert_eq!(player(&[], 10.0).unwrap_err(), PlayerError::NoKeyFrame(Codec::H264));
        assert!(matches!(player(&[&SPS[..3], &PPS, &[0x65, 0x80]], 10.0), Err(PlayerError::ParameterSets(_))));
        for rate in [0.0, -1.0, f64::NAN, FRAMES_PER_SECOND_MAX + 1.0] {
            assert_eq!(player(&[&SPS, &PPS, &[0x65, 0x80]], rate).unwrap_err(), PlayerError::FrameRate);
        }
        let mjpeg = FilePlayer::from_annex_b("a".parse().unwrap(), Codec::Mjpeg, &[], 10.0);
        assert_eq!(mjpeg.unwrap_err(), PlayerError::Codec(Codec::Mjpeg));
    }
}
