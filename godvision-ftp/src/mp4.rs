//! What a clip's file needs of MP4 (ISO/IEC 14496-12): time that starts at zero, a duration, an index, and where a file
//! that a crash cut is still whole.
//!
//! A clip is `ftyp moov(+mehd) free` and then the fragments as they came, their `tfdt` moved back so that the clip starts
//! at 0. When it is closed, `mehd` gets the duration and `free` becomes a `sidx` with one entry a group of pictures, so
//! that players know the length and seek without reading everything. The boxes come from our own fragmenter, but after a
//! crash the file may hold anything: this module is a parser of hostile bytes.
//!
//! **Never:** sample tables, edit lists, more than one track.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use godvision_core::signal::media::TICKS_PER_SECOND;

/// Bytes kept free behind the head for the index: 337 groups; with more, neighbours share an entry.
pub(crate) const INDEX_ROOM: usize = 4096;
/// Largest `moof` that a salvage believes; ours are about 100 bytes.
pub(crate) const MOOF_BYTES_MAX: u64 = 1 << 20;
const MEHD_BYTES: usize = 20;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(at..at.checked_add(value.len())?)?.copy_from_slice(value);
    Some(())
}

/// The body of the first box of `kind` among the boxes that `within` holds.
fn find(bytes: &[u8], within: Range<usize>, kind: &[u8; 4]) -> Option<Range<usize>> {
    let mut at = within.start;
    while at.checked_add(8)? <= within.end {
        let size = u32_at(bytes, at)? as usize;
        let end = at.checked_add(size)?;
        if size < 8 || end > within.end {
            return None;
        }
        if bytes.get(at + 4..at + 8)? == kind {
            return Some(at + 8..end);
        }
        at = end;
    }
    None
}

fn find_path(bytes: &[u8], path: &[&[u8; 4]]) -> Option<Range<usize>> {
    path.iter().try_fold(0..bytes.len(), |within, kind| find(bytes, within, kind))
}

/// Moves the decode time in a fragment's head back by `base_ticks`. Heads that hold none are left alone.
pub(crate) fn rebase(head: &mut [u8], base_ticks: u64) -> Option<()> {
    let tfdt = find_path(head, &[b"moof", b"traf", b"tfdt"])?;
    match head.get(tfdt.start)? {
        1 => {
            let ticks = u64_at(head, tfdt.start + 4)?.saturating_sub(base_ticks);
            put(head, tfdt.start + 4, &ticks.to_be_bytes())
        }
        0 => {
            let ticks = u64::from(u32_at(head, tfdt.start + 4)?).saturating_sub(base_ticks);
            put(head, tfdt.start + 4, &u32::try_from(ticks).ok()?.to_be_bytes())
        }
        _ => None,
    }
}

/// The head of a clip's file, and where its duration and index will go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClipHead {
    /// `ftyp`, `moov` with an empty `mehd`, and `free`; as the stream's own head if that was not understood.
    pub(crate) bytes: Vec<u8>,
    slots: Option<Slots>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slots {
    duration_at: usize,
    timescale: u32,
    index_at: usize,
    track: u32,
}

/// One group of pictures of a finished clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupSpan {
    pub(crate) bytes: u64,
    pub(crate) ticks: u64,
}

impl ClipHead {
    /// From a stream's `ftyp` and `moov`.
    pub(crate) fn new(init: &[u8]) -> Self {
        Self::with_room(init).unwrap_or_else(|| Self { bytes: init.to_vec(), slots: None })
    }

    fn with_room(init: &[u8]) -> Option<Self> {
        let moov = find_path(init, &[b"moov"])?;
        let mvhd = find(init, moov.clone(), b"mvhd")?;
        let timescale = match init.get(mvhd.start)? {
            0 => u32_at(init, mvhd.start + 12)?,
            _ => u32_at(init, mvhd.start + 20)?,
        };
        let mvex = find(init, moov.clone(), b"mvex")?;
        let trex = find(init, mvex.clone(), b"trex")?;
        if find(init, mvex.clone(), b"mehd").is_some() || moov.end != init.len() {
            return None;
        }
        let mut bytes = init.get(..mvex.start)?.to_vec();
        for body in [&moov, &mvex] {
            let size = u32::try_from(body.len() + 8 + MEHD_BYTES).ok()?;
            put(&mut bytes, body.start - 8, &size.to_be_bytes())?;
        }
        bytes.extend_from_slice(&(MEHD_BYTES as u32).to_be_bytes());
        bytes.extend_from_slice(b"mehd\x01\0\0\0");
        let duration_at = bytes.len();
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(init.get(mvex.start..)?);
        let index_at = bytes.len();
        bytes.extend_from_slice(&free(INDEX_ROOM));
        let track = u32_at(init, trex.start + 4)?;
        Some(Self { bytes, slots: Some(Slots { duration_at, timescale, index_at, track }) })
    }

    /// From the head of a file that [`ClipHead::new`] began.
    pub(crate) fn of_file(bytes: Vec<u8>) -> Self {
        let slots = || {
            let moov = find_path(&bytes, &[b"moov"])?;
            let mvhd = find(&bytes, moov.clone(), b"mvhd")?;
            let mvex = find(&bytes, moov.clone(), b"mvex")?;
            let index = find(&bytes, moov.end..bytes.len(), b"free")?;
            let mehd = find(&bytes, mvex.clone(), b"mehd")?;
            let trex = find(&bytes, mvex, b"trex")?;
            let is_ours = mehd.len() == MEHD_BYTES - 8 && index.len() == INDEX_ROOM - 8;
            let timescale_at = if bytes.get(mvhd.start) == Some(&0) { 12 } else { 20 };
            is_ours.then_some(Slots {
                duration_at: mehd.start + 4,
                timescale: u32_at(&bytes, mvhd.start + timescale_at)?,
                index_at: index.start - 8,
                track: u32_at(&bytes, trex.start + 4)?,
            })
        };
        let slots = slots();
        Self { bytes, slots }
    }

    /// What to write where, once the clip's groups are known: the duration and the index.
    pub(crate) fn finish(&self, groups: &[GroupSpan]) -> Vec<(u64, Vec<u8>)> {
        let Some(slots) = self.slots else { return Vec::new() };
        let ticks: u64 = groups.iter().map(|group| group.ticks).sum();
        let duration = u128::from(ticks) * u128::from(slots.timescale) / u128::from(TICKS_PER_SECOND);
        let duration = u64::try_from(duration).unwrap_or(u64::MAX).to_be_bytes().to_vec();
        let mut patches = vec![(slots.duration_at as u64, duration)];
        patches.extend(sidx(slots.track, groups).map(|index| (slots.index_at as u64, index)));
        patches
    }
}

fn free(size: usize) -> Vec<u8> {
    let mut out = (size as u32).to_be_bytes().to_vec();
    out.extend_from_slice(b"free");
    out.resize(size, 0);
    out
}

/// `sidx` and `free`, together [`INDEX_ROOM`] bytes; `None` if an entry would not fit its field.
fn sidx(track: u32, groups: &[GroupSpan]) -> Option<Vec<u8>> {
    const FIXED: usize = 40;
    const ENTRY: usize = 12;
    let entries_max = (INDEX_ROOM - FIXED - 8) / ENTRY;
    let per_entry = groups.len().div_ceil(entries_max).max(1);
    let entries = groups.chunks(per_entry);
    let size = FIXED + ENTRY * entries.len();
    let rest = INDEX_ROOM.checked_sub(size)?;
    let mut out = Vec::with_capacity(INDEX_ROOM);
    out.extend_from_slice(&u32::try_from(size).ok()?.to_be_bytes());
    out.extend_from_slice(b"sidx\x01\0\0\0");
    out.extend_from_slice(&track.to_be_bytes());
    out.extend_from_slice(&TICKS_PER_SECOND.to_be_bytes());
    out.extend_from_slice(&0u64.to_be_bytes());
    out.extend_from_slice(&(rest as u64).to_be_bytes());
    out.extend_from_slice(&u32::try_from(entries.len()).ok()?.to_be_bytes());
    for entry in entries {
        let bytes = u32::try_from(entry.iter().map(|group| group.bytes).sum::<u64>()).ok()?;
        let ticks = u32::try_from(entry.iter().map(|group| group.ticks).sum::<u64>()).ok()?;
        if bytes >> 31 != 0 {
            return None;
        }
        out.extend_from_slice(&bytes.to_be_bytes());
        out.extend_from_slice(&ticks.to_be_bytes());
        // Starts with a stream access point of type 1.
        out.extend_from_slice(&0x9000_0000u32.to_be_bytes());
    }
    out.extend_from_slice(&free(rest));
    Some(out)
}

/// What is whole of a file that was cut somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Bytes up to the end of the last whole fragment, or of the head; 0 if even the head is cut.
    pub(crate) bytes: u64,
    /// Whole fragments.
    pub(crate) frames: u64,
    /// Where the first fragment begins.
    pub(crate) head_bytes: u64,
    /// Length of the stream, from the fragments' own times.
    pub(crate) ticks: u64,
}

/// Walks the boxes of a clip's file up to the first that is cut or makes no sense. Reads heads only, not pictures.
///
/// # Errors
/// Of the reader.
pub(crate) fn whole_part(file: &mut (impl Read + Seek)) -> io::Result<Whole> {
    let len = file.seek(SeekFrom::End(0))?;
    let (mut whole, mut at, mut pending) = (Whole::default(), 0u64, None);
    let mut seen_moov = false;
    while len.saturating_sub(at) >= 8 {
        file.seek(SeekFrom::Start(at))?;
        let mut header = [0; 8];
        file.read_exact(&mut header)?;
        let [a, b, c, d, kind @ ..] = header;
        let size = u64::from(u32::from_be_bytes([a, b, c, d]));
        if size < 8 || size > len - at {
            break;
        }
        match (&kind, pending.take()) {
            (b"ftyp" | b"free" | b"sidx", None) => {}
            (b"moov", None) => seen_moov = true,
            (b"moof", None) if seen_moov && size <= MOOF_BYTES_MAX => {
                let mut moof = header.to_vec();
                file.take(size - 8).read_to_end(&mut moof)?;
                let Some(end) = end_ticks(&moof) else { break };
                pending = Some(end);
                at += size;
                continue;
            }
            (b"mdat", Some(end)) => {
                whole.frames += 1;
                whole.ticks = whole.ticks.max(end);
            }
            _ => break,
        }
        at += size;
        if seen_moov {
            whole.bytes = at;
            if whole.frames == 0 {
                whole.head_bytes = at;
            }
        }
    }
    Ok(whole)
}

/// When the frame of a `moof` ends: its `tfdt` and the duration in its `trun` or `tfhd`.
fn end_ticks(moof: &[u8]) -> Option<u64> {
    let traf = find_path(moof, &[b"moof", b"traf"])?;
    let tfdt = find(moof, traf.clone(), b"tfdt")?;
    let start = match moof.get(tfdt.start)? {
        1 => u64_at(moof, tfdt.start + 4)?,
        _ => u64::from(u32_at(moof, tfdt.start + 4)?),
    };
    let sample = find(moof, traf.clone(), b"trun").and_then(|trun| {
        let flags = u32_at(moof, trun.start)? & 0x00ff_ffff;
        let optional = 4 * ((flags & 1) + (flags >> 2 & 1)) as usize;
        (flags & 0x100 != 0).then(|| u32_at(moof, trun.start + 8 + optional))?
    });
    let default = || {
        let tfhd = find(moof, traf, b"tfhd")?;
        let flags = u32_at(moof, tfhd.start)? & 0x00ff_ffff;
        let optional = (8 * (flags & 1) + 4 * (flags >> 1 & 1)) as usize;
        (flags & 8 != 0).then(|| u32_at(moof, tfhd.start + 8 + optional))?
    };
    start.checked_add(u64::from(sample.or_else(default).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::sample::{FRAME_TICKS, Stream, frames_of};

    fn clip(frames: usize) -> (ClipHead, Vec<u8>, Vec<usize>) {
        let mut stream = Stream::new("yard", 10);
        stream.lose(7);
        stream.new_session();
        let first = stream.clone().frame();
        let head = ClipHead::new(&first.init.data);
        let mut file = head.bytes.clone();
        let mut ends = Vec::new();
        for _ in 0..frames {
            let fragment = stream.frame();
            let mut moof = fragment.head.to_vec();
            rebase(&mut moof, first.decode_ticks).unwrap();
            file.extend_from_slice(&moof);
            file.extend_from_slice(&fragment.data);
            ends.push(file.len());
        }
        (head, file, ends)
    }

    #[test]
    fn a_clip_starts_at_zero_and_knows_its_length() {
        let (head, mut file, ends) = clip(20);
        assert_eq!(whole_part(&mut Cursor::new(&file)).unwrap().ticks, 20 * u64::from(FRAME_TICKS));
        assert_eq!(ClipHead::of_file(head.bytes.clone()), head, "a salvage finds the same places");
        let half = (ends[9] - head.bytes.len()) as u64;
        let group = GroupSpan { bytes: half, ticks: 10 * u64::from(FRAME_TICKS) };
        for (at, bytes) in head.finish(&[group, group]) {
            file[at as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        assert_eq!(frames_of(&file).unwrap(), (7..27).collect::<Vec<u64>>());
        let mehd = find_path(&file, &[b"moov", b"mvex", b"mehd"]).unwrap();
        assert_eq!(u64_at(&file, mehd.start + 4).unwrap(), 20 * u64::from(FRAME_TICKS));
        let sidx = find_path(&file, &[b"sidx"]).unwrap();
        let first_offset = u64_at(&file, sidx.start + 20).unwrap() as usize;
        assert_eq!(sidx.end + first_offset, head.bytes.len(), "the index points at the first fragment");
        assert_eq!(u32_at(&file, sidx.start + 28).unwrap(), 2);
    }

    #[test]
    fn more_groups_than_entries_share_them() {
        let group = GroupSpan { bytes: 1000, ticks: 90_000 };
        for count in [0, 1, 336, 337, 338, 339, 1000, 100_000] {
            let index = sidx(1, &vec![group; count]).unwrap();
            assert_eq!(index.len(), INDEX_ROOM);
            let size = u32_at(&index, 0).unwrap() as usize;
            let total: u64 = (0..u32_at(&index, 36).unwrap() as usize)
                .map(|entry| u64::from(u32_at(&index, 40 + 12 * entry).unwrap()))
                .sum();
            assert_eq!(total, 1000 * count as u64);
            assert_eq!(u32_at(&index, size).unwrap() as usize, INDEX_ROOM - size, "the rest is free");
        }
        assert_eq!(sidx(1, &[GroupSpan { bytes: 1 << 31, ticks: 1 }]), None);
    }

    #[test]
    fn a_cut_file_is_whole_up_to_its_last_whole_fragment() {
        let (head, file, ends) = clip(5);
        for cut in 0..file.len() {
            let whole = whole_part(&mut Cursor::new(&file[..cut])).unwrap();
            let frames = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(whole.frames, frames as u64, "cut at {cut}");
            if frames > 0 {
                assert_eq!(whole.bytes, ends[frames - 1] as u64);
                assert_eq!(whole.head_bytes, head.bytes.len() as u64);
            }
        }
    }

    #[test]
    fn a_head_that_is_not_understood_is_left_alone() {
        assert_eq!(ClipHead::new(b"not boxes"), ClipHead { bytes: b"not boxes".to_vec(), slots: None });
        assert!(ClipHead::new(b"not boxes").finish(&[]).is_empty());
        assert_eq!(rebase(&mut b"\0\0\0\x08moof".to_vec(), 1), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..5000) {
            let mut head = bytes.clone();
            let _ = rebase(&mut head, 5);
            let _ = ClipHead::new(&bytes).finish(&[]);
            let _ = whole_part(&mut Cursor::new(&bytes)).unwrap();
            let (_, mut file, _) = clip(3);
            for (index, byte) in bytes.iter().enumerate() {
                if let Some(place) = file.get_mut(at + index) { *place = *byte; }
            }
            let whole = whole_part(&mut Cursor::new(&file)).unwrap();
            prop_assert!(whole.bytes <= file.len() as u64);
        }
    }
}
