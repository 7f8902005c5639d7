//! [`Fragmenter`]: packets become fMP4, one `moof` + `mdat` a frame, made once for everybody who watches or records.
//!
//! `Fragment.data` is the packet's own memory; only the head (108 bytes, or 112 with reordering) is new.
//!
//! **Why no delay.** How long a frame is shown is known only when the next one comes. Waiting for it would cost a whole
//! frame of latency, so a fragment states its *exact* decode time (`tfdt`) and, as its duration, the interval the stream
//! has kept lately. A wrong guess harms one frame and never accumulates, since nobody adds durations up. The guess is
//! the second longest of the last [`INTERVALS_KEPT`] intervals: exact for a steady stream, blind to one gap, and on the
//! long side for irregular frames, which is the harmless one: players take a step of more than two durations for a
//! break and drop everything to the next key frame (Media Source Extensions, "coded frame processing", step 6).
//!
//! **Why the head has no duration.** `mvhd.duration` is 0 and there is no `mehd`: Chromium then knows the stream as live
//! and keeps its low-delay path.
//!
//! Source: ISO/IEC 14496-12 clauses 8.8 and 8.16, 14496-15 clause 5.4 and 8.4, 14496-14 (MJPEG as `mp4v` 6C).
//!
//! **Never:** a copy of the payload, a wait, a clock; a fragment that cannot be decoded from its key frame on; edit lists.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

use std::sync::Arc;

use bytes::Bytes;
use godvision_core::signal::media::{Codec, Fragment, FrameKind, InitSegment, Packet, TICKS_PER_SECOND, VideoFormat};

use crate::nal::{ParameterSets, h264, h265};
use crate::timeline::to_ticks;

/// Duration of the first frame if the stream does not say: 1/25 s.
const FIRST_DURATION_TICKS: u32 = TICKS_PER_SECOND / 25;
/// Longest duration a fragment states; a camera slower than that is a slide show.
pub const DURATION_TICKS_MAX: u32 = 60 * TICKS_PER_SECOND;
/// Intervals between frames from which the next duration is guessed.
pub const INTERVALS_KEPT: usize = 8;
/// Deepest reordering that is followed, as in H.264 and H.265.
pub const REORDER_FRAMES_MAX: usize = 16;

/// Makes fragments of one component's packets.
///
/// ```
/// # use godvision_rtsp::fragment::Fragmenter;
/// # use godvision_core::signal::media::Packet;
/// # fn example(packets: Vec<Packet>) -> Vec<u8> {
/// let mut fragmenter = Fragmenter::new();
/// let mut file = Vec::new();
/// for packet in &packets {
///     let Some(fragment) = fragmenter.push(packet) else { continue };
///     if file.is_empty() {
///         file.extend_from_slice(&fragment.init.data);
///     }
///     file.extend_from_slice(&fragment.head);
///     file.extend_from_slice(&fragment.data);
/// }
/// file
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Fragmenter {
    init: Option<Arc<InitSegment>>,
    run: Option<Run>,
    last: Option<Last>,
    number: u32,
    skipped: u64,
}

/// One uninterrupted run of packets: a session, in one format.
#[derive(Debug)]
struct Run {
    session: u32,
    /// Added to a packet's presentation time to get the component's.
    base: i64,
    /// Presentation times that are not yet used as decode times, ascending.
    waiting: Vec<i64>,
    /// Frames that may be decoded before they are shown.
    reorder: usize,
    /// Frames so far.
    frames: usize,
    newest_pts: i64,
    /// The last intervals, the oldest at `frames % INTERVALS_KEPT`.
    intervals: [u32; INTERVALS_KEPT],
}

#[derive(Clone, Copy, Debug)]
struct Last {
    decode_ticks: u64,
    duration: u32,
    at: godvision_core::MonoTime,
}

impl Fragmenter {
    /// A fragmenter that has seen nothing; its first fragment starts at decode time 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The head of the current format, once known.
    pub fn init(&self) -> Option<&Arc<InitSegment>> {
        self.init.as_ref()
    }

    /// Frames that were left out because no key frame came before them.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The packet as a fragment; `None` for a frame that cannot be decoded, because a key frame is still awaited after
    /// the start, a new session or a new format. One allocation of about 110 bytes.
    pub fn push(&mut self, packet: &Packet) -> Option<Fragment> {
        let is_new_format = self.init.as_ref().is_none_or(|init| !same_format(&init.format, &packet.format));
        let continues = !is_new_format && self.run.as_ref().is_some_and(|run| run.session == packet.session);
        if !continues {
            if packet.kind != FrameKind::Key {
                self.skipped += 1;
                self.run = None;
                return None;
            }
            self.start_run(packet, is_new_format);
        }
        let (init, run) = (self.init.as_ref()?, self.run.as_mut()?);
        let size = u32::try_from(packet.data.len()).ok().filter(|size| *size < u32::MAX - 8)?;
        let presented = run.base.saturating_add(packet.pts_ticks);
        let decoded = run.decode_time(presented, self.last.map(|last| last.decode_ticks));
        if let Some(last) = self.last.filter(|_| run.frames > 1) {
            run.learn_duration(decoded.saturating_sub(last.decode_ticks));
        }
        let duration = run.duration();
        self.number = self.number.wrapping_add(1);
        self.last = Some(Last { decode_ticks: decoded, duration, at: packet.at.mono });
        let offset = presented.saturating_sub(i64::try_from(decoded).unwrap_or(i64::MAX));
        let head = head(&Head {
            number: self.number,
            decode_ticks: decoded,
            duration_ticks: duration,
            size,
            composition_ticks: i32::try_from(offset).unwrap_or(0),
            kind: packet.kind,
        });
        Some(Fragment {
            source: packet.source.clone(),
            init: Arc::clone(init),
            sequence: packet.sequence,
            session: packet.session,
            decode_ticks: decoded,
            duration_ticks: duration,
            at: packet.at,
            kind: packet.kind,
            lost_before: packet.lost_before,
            head,
            data: packet.data.clone(),
        })
    }

    fn start_run(&mut self, packet: &Packet, is_new_format: bool) {
        if is_new_format {
            self.init = Some(Arc::new(init_segment(&packet.format)));
        }
        // Time that passed unseen stays in the timeline, measured by the capture stamps; the drift between the camera's
        // counter and the host's clock is not carried over from session to session.
        let start = self.last.map_or(0, |last| {
            let passed = u64::try_from(to_ticks(packet.at.mono.since(last.at))).unwrap_or(0);
            last.decode_ticks.saturating_add(passed.max(last.duration.into()))
        });
        let (reorder, duration) = stated(&packet.format);
        let duration = self.last.filter(|_| !is_new_format).map_or(duration, |last| last.duration);
        let lead = i64::from(duration) * reorder as i64;
        let base = i64::try_from(start).unwrap_or(i64::MAX).saturating_add(lead).saturating_sub(packet.pts_ticks);
        self.run = Some(Run {
            session: packet.session,
            base,
            waiting: Vec::with_capacity(REORDER_FRAMES_MAX + 1),
            reorder,
            frames: 0,
            newest_pts: i64::MIN,
            intervals: [duration; INTERVALS_KEPT],
        });
    }
}

impl Run {
    /// When the frame shown at `presented` is decoded: with `r` frames of reordering, the n-th frame in decoding order is
    /// decoded when the (n - r)-th in presentation order is shown, which is known without waiting.
    fn decode_time(&mut self, presented: i64, before: Option<u64>) -> u64 {
        // Deeper than stated: the plan would show this frame before it is decoded.
        let is_late = before.is_some_and(|before| presented <= i64::try_from(before).unwrap_or(i64::MAX));
        if self.frames > 0 && presented < self.newest_pts && is_late && self.reorder < REORDER_FRAMES_MAX {
            self.reorder += 1;
        }
        self.newest_pts = self.newest_pts.max(presented);
        let place = self.waiting.partition_point(|waiting| *waiting <= presented);
        self.waiting.insert(place, presented);
        let planned = if self.waiting.len() > self.reorder {
            self.waiting.remove(0)
        } else {
            let ahead = self.reorder + 1 - self.waiting.len();
            let first = presented.min(self.waiting.first().copied().unwrap_or(presented));
            first.saturating_sub(i64::from(self.duration()) * i64::try_from(ahead).unwrap_or(0))
        };
        self.frames += 1;
        let earliest = before.map_or(0, |before| before.saturating_add(1));
        u64::try_from(planned).unwrap_or(0).max(earliest)
    }

    fn learn_duration(&mut self, step: u64) {
        let step = u32::try_from(step).unwrap_or(u32::MAX).clamp(1, DURATION_TICKS_MAX);
        if let Some(oldest) = self.intervals.get_mut(self.frames % INTERVALS_KEPT) {
            *oldest = step;
        }
    }

    /// See the module's text: the second longest of the last intervals.
    fn duration(&self) -> u32 {
        let (mut longest, mut second) = (0, 0);
        for &interval in &self.intervals {
            if interval > longest {
                (longest, second) = (interval, longest);
            } else {
                second = second.max(interval);
            }
        }
        second.max(1)
    }
}

fn same_format(a: &Arc<VideoFormat>, b: &Arc<VideoFormat>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// Reordering depth and frame duration as the parameter sets state them.
fn stated(format: &VideoFormat) -> (usize, u32) {
    let sets = ParameterSets::from_config(format.codec, &format.config).unwrap_or_default();
    let Some(set) = sets.sps.first() else { return (0, FIRST_DURATION_TICKS) };
    match format.codec {
        Codec::H264 => {
            let Ok(sps) = h264::Sps::parse(set) else { return (0, FIRST_DURATION_TICKS) };
            let ticks = sps
                .frame_interval
                .map(|(units, scale)| u64::from(units) * u64::from(TICKS_PER_SECOND) / u64::from(scale.max(1)));
            // Outside 1 to 240 frames a second the statement is nonsense, which is common.
            let plausible = u64::from(TICKS_PER_SECOND / 240)..=u64::from(TICKS_PER_SECOND);
            let duration = ticks.filter(|ticks| plausible.contains(ticks)).and_then(|ticks| u32::try_from(ticks).ok());
            (usize::from(sps.reorder_frames.unwrap_or(0)), duration.unwrap_or(FIRST_DURATION_TICKS))
        }
        Codec::H265 => {
            let reorder = h265::Sps::parse(set).map_or(0, |sps| usize::from(sps.reorder_frames));
            (reorder.min(REORDER_FRAMES_MAX), FIRST_DURATION_TICKS)
        }
        _ => (0, FIRST_DURATION_TICKS),
    }
}

/// `head` with its decode time moved `base_ticks` earlier, so that a clip can start at 0. Copies the head only.
/// `None` if it holds no decode time, or one before `base_ticks`.
pub fn rebase_head(head: &Bytes, base_ticks: u64) -> Option<Bytes> {
    let at = decode_time_offset(head)?;
    let ticks = u64::from_be_bytes(head.get(at..at + 8)?.try_into().ok()?).checked_sub(base_ticks)?;
    let mut moved = head.to_vec();
    moved.get_mut(at..at + 8)?.copy_from_slice(&ticks.to_be_bytes());
    Some(moved.into())
}

/// Where the 8 bytes of the decode time stand: `moof` / `traf` / `tfdt` version 1.
fn decode_time_offset(head: &[u8]) -> Option<usize> {
    let (moof, _) = find_box(head, 0, head.len(), b"moof")?;
    let (traf, traf_end) = find_box(head, moof, head.len(), b"traf")?;
    let (tfdt, tfdt_end) = find_box(head, traf, traf_end, b"tfdt")?;
    (head.get(tfdt) == Some(&1) && tfdt_end >= tfdt + 12).then_some(tfdt + 4)
}

/// The body of the first box called `kind` in `from..to`, as start and end.
fn find_box(bytes: &[u8], from: usize, to: usize, kind: &[u8; 4]) -> Option<(usize, usize)> {
    let mut at = from;
    while at.checked_add(8)? <= to {
        let size = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        if size < 8 || end > to {
            // The mdat header at the end states a size that reaches beyond the head.
            return None;
        }
        if bytes.get(at + 4..at + 8)? == kind {
            return Some((at + 8, end));
        }
        at = end;
    }
    None
}

/// The head of an fMP4 stream in this format: `ftyp` and `moov`, about 700 bytes.
pub fn init_segment(format: &Arc<VideoFormat>) -> InitSegment {
    let mime = match format.codec {
        Codec::Mjpeg => "image/jpeg".to_owned(),
        _ => format!("video/mp4; codecs=\"{}\"", format.codec_name),
    };
    let mut out = Boxes(Vec::with_capacity(800));
    out.plain(b"ftyp", |out| {
        out.bytes(b"iso5");
        out.u32(512);
        out.bytes(b"iso5iso6mp41");
    });
    out.plain(b"moov", |out| {
        out.full(b"mvhd", 0, 0, |out| {
            out.zeros(8);
            out.u32(TICKS_PER_SECOND);
            out.u32(0); // Live: no duration.
            out.u32(0x0001_0000); // Rate 1.0
            out.u16(0x0100); // Volume 1.0
            out.zeros(10);
            out.matrix();
            out.zeros(24);
            out.u32(2); // Next track.
        });
        out.plain(b"trak", |out| track(out, format));
        out.plain(b"mvex", |out| {
            out.full(b"trex", 0, 0, |out| {
                out.u32(1); // Track.
                out.u32(1); // Sample entry.
                out.zeros(12);
            });
        });
    });
    InitSegment { format: Arc::clone(format), mime, data: out.0.into() }
}

fn track(out: &mut Boxes, format: &VideoFormat) {
    let aspect = sample_aspect(format);
    out.full(b"tkhd", 0, 3, |out| {
        out.zeros(8);
        out.u32(1); // Track.
        out.zeros(4 + 4 + 8 + 2 + 2 + 2 + 2);
        out.matrix();
        let (across, down) = aspect.unwrap_or((1, 1));
        let shown = u64::from(format.width) * u64::from(across) * 65_536 / u64::from(down.max(1));
        out.u32(u32::try_from(shown).unwrap_or(u32::MAX));
        out.u32(u32::from(format.height) << 16);
    });
    out.plain(b"mdia", |out| {
        out.full(b"mdhd", 0, 0, |out| {
            out.zeros(8);
            out.u32(TICKS_PER_SECOND);
            out.u32(0);
            out.u16(0x55c4); // `und`
            out.u16(0);
        });
        out.full(b"hdlr", 0, 0, |out| {
            out.u32(0);
            out.bytes(b"vide");
            out.zeros(12);
            out.bytes(b"video\0");
        });
        out.plain(b"minf", |out| {
            out.full(b"vmhd", 0, 1, |out| out.zeros(8));
            out.plain(b"dinf", |out| {
                out.full(b"dref", 0, 0, |out| {
                    out.u32(1);
                    out.full(b"url ", 0, 1, |_| {});
                });
            });
            out.plain(b"stbl", |out| {
                out.full(b"stsd", 0, 0, |out| {
                    out.u32(1);
                    sample_entry(out, format, aspect);
                });
                out.full(b"stts", 0, 0, |out| out.u32(0));
                out.full(b"stsc", 0, 0, |out| out.u32(0));
                out.full(b"stsz", 0, 0, |out| out.zeros(8));
                out.full(b"stco", 0, 0, |out| out.u32(0));
            });
        });
    });
}

fn sample_entry(out: &mut Boxes, format: &VideoFormat, aspect: Option<(u16, u16)>) {
    let kind: &[u8; 4] = match format.codec {
        Codec::H264 => b"avc1",
        Codec::H265 => b"hvc1",
        _ => b"mp4v",
    };
    out.plain(kind, |out| {
        out.zeros(6);
        out.u16(1); // Data reference.
        out.zeros(16);
        out.u16(format.width);
        out.u16(format.height);
        out.u32(0x0048_0000); // 72 dpi
        out.u32(0x0048_0000);
        out.u32(0);
        out.u16(1); // Frames a sample.
        out.zeros(32);
        out.u16(24); // Depth.
        out.u16(0xffff);
        match format.codec {
            Codec::H264 => out.plain(b"avcC", |out| out.bytes(&format.config)),
            Codec::H265 => out.plain(b"hvcC", |out| out.bytes(&format.config)),
            // Elementary stream descriptor: object type 6C (JPEG), stream type 4 (visual).
            _ => out.full(b"esds", 0, 0, |out| {
                out.bytes(&[3, 21, 0, 1, 0, 4, 13, 0x6c, 0x11]);
                out.zeros(11);
                out.bytes(&[6, 1, 2]);
            }),
        }
        if let Some((across, down)) = aspect {
            out.plain(b"pasp", |out| {
                out.u32(across.into());
                out.u32(down.into());
            });
        }
    });
}

/// Width to height of a sample where it is not square.
fn sample_aspect(format: &VideoFormat) -> Option<(u16, u16)> {
    if format.codec != Codec::H264 {
        return None;
    }
    let sets = ParameterSets::from_config(format.codec, &format.config).ok()?;
    h264::Sps::parse(sets.sps.first()?).ok()?.sample_aspect.filter(|(across, down)| across != down)
}

struct Head {
    number: u32,
    decode_ticks: u64,
    duration_ticks: u32,
    size: u32,
    composition_ticks: i32,
    kind: FrameKind,
}

/// `moof` and the header of `mdat`.
fn head(it: &Head) -> Bytes {
    /// Sample depends on no other, and is a sync sample.
    const KEY: u32 = 0x0200_0000;
    /// Sample depends on others, and is none.
    const DELTA: u32 = 0x0101_0000;
    /// `default-base-is-moof`
    const BASE_IS_MOOF: u32 = 0x02_0000;
    const OFFSET_DURATION_SIZE_FLAGS: u32 = 0x701;
    const COMPOSITION: u32 = 0x800;
    const LENGTH: u32 = 108;
    let is_shifted = it.composition_ticks != 0;
    let length = LENGTH + if is_shifted { 4 } else { 0 };
    let mut out = Boxes(Vec::with_capacity(length as usize));
    out.plain(b"moof", |out| {
        out.full(b"mfhd", 0, 0, |out| out.u32(it.number));
        out.plain(b"traf", |out| {
            out.full(b"tfhd", 0, BASE_IS_MOOF, |out| out.u32(1));
            out.full(b"tfdt", 1, 0, |out| out.u64(it.decode_ticks));
            let flags = OFFSET_DURATION_SIZE_FLAGS | if is_shifted { COMPOSITION } else { 0 };
            out.full(b"trun", 1, flags, |out| {
                out.u32(1);
                out.u32(length); // The data follows the mdat header, which ends the head.
                out.u32(it.duration_ticks);
                out.u32(it.size);
                out.u32(if it.kind == FrameKind::Key { KEY } else { DELTA });
                if is_shifted {
                    out.u32(it.composition_ticks.cast_unsigned());
                }
            });
        });
    });
    out.u32(it.size + 8);
    out.bytes(b"mdat");
    out.0.into()
}

/// Writes nested boxes; sizes are filled in when a box ends.
struct Boxes(Vec<u8>);

impl Boxes {
    fn plain(&mut self, kind: &[u8; 4], body: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.u32(0);
        self.bytes(kind);
        body(self);
        // Heads are a few hundred bytes; configuration records are limited by their parsers.
        let size = (self.0.len() - start) as u32;
        if let Some(place) = self.0.get_mut(start..start + 4) {
            place.copy_from_slice(&size.to_be_bytes());
        }
    }

    fn full(&mut self, kind: &[u8; 4], version: u8, flags: u32, body: impl FnOnce(&mut Self)) {
        self.plain(kind, |out| {
            out.u32(u32::from(version) << 24 | flags);
            body(out);
        });
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn zeros(&mut self, count: usize) {
        self.0.resize(self.0.len() + count, 0);
    }

    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    fn matrix(&mut self) {
        for value in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
            self.u32(value);
        }
    }
}
