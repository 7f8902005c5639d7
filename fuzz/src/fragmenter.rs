//! `godvision_rtsp::Fragmenter` fed with any packets, its fragments read back by a box reader of our own.

use std::sync::Arc;

use bytes::Bytes;
use godvision_core::signal::media::{Codec, Fragment, FrameKind, InitSegment, Packet, VideoFormat};
use godvision_core::{MonoTime, Name, Stamp, WallTime};
use godvision_rtsp::Fragmenter;
use godvision_rtsp::fragment::{DURATION_TICKS_MAX, rebase_head};
use godvision_rtsp::nal::{ParameterSets, h264, h265};

use crate::{Input, Reached};

/// `data` is a list of packets: one byte of flags (1 key, 2 new session, 4 next format, 8 time in 8 bytes instead of 2,
/// 16 backwards, 32 captured late), the step of presentation time, then a payload behind its length in two bytes.
pub fn fragmenter(data: &[u8]) -> Reached {
    let formats = formats();
    let name = Name::new("yard/camera").unwrap();
    let mut fragmenter = Fragmenter::new();
    let mut input = Input::new(data);
    let (mut format, mut session, mut sequence, mut pts, mut mono) = (0usize, 0u32, 0u64, 0i64, 0u64);
    // What the fragmenter should be in: the session and format of the run that a key frame began.
    let mut run = None;
    let (mut made, mut skipped, mut last_decode, mut first_decode) = (0u64, 0u64, None, None);
    while !input.is_empty() {
        let flags = input.byte();
        let step = match flags & 8 {
            0 => i64::from(u16::from_be_bytes(input.array())),
            _ => i64::from_be_bytes(input.array()),
        };
        session = session.wrapping_add(u32::from(flags & 2 != 0));
        format += usize::from(flags & 4 != 0);
        pts = pts.wrapping_add(if flags & 16 != 0 { step.wrapping_neg() } else { step });
        mono = mono.saturating_add(if flags & 32 != 0 { 1 << 50 } else { 40_000_000 });
        let packet = Packet {
            source: name.clone(),
            format: Arc::clone(&formats[format % formats.len()]),
            sequence,
            session,
            pts_ticks: pts,
            at: Stamp::new(MonoTime::from_nanos(mono), WallTime::from_unix_micros(sequence as i64)),
            kind: if flags & 1 != 0 { FrameKind::Key } else { FrameKind::Delta },
            lost_before: u32::from(flags >> 6),
            data: Bytes::copy_from_slice(input.piece()),
        };
        sequence += 1;
        let place = (session, format % formats.len());
        let decodable = packet.kind == FrameKind::Key || run == Some(place);
        run = decodable.then_some(place);
        let Some(fragment) = fragmenter.push(&packet) else {
            assert!(!decodable, "a frame that can be decoded was left out");
            skipped += 1;
            continue;
        };
        assert!(decodable, "a frame without its key frame was taken");
        made += 1;
        check(&fragment, &packet, made);
        assert!(last_decode < Some(fragment.decode_ticks), "decode times rise");
        last_decode = Some(fragment.decode_ticks);
        let base = *first_decode.get_or_insert(fragment.decode_ticks);
        let moved = rebase_head(&fragment.head, base).expect("later than the first");
        assert_eq!(Head::read(&moved).decode_ticks, fragment.decode_ticks - base);
        assert_eq!(rebase_head(&fragment.head, fragment.decode_ticks + 1), None);
        assert!(fragmenter.init().is_some_and(|init| Arc::ptr_eq(init, &fragment.init)));
    }
    assert_eq!(fragmenter.skipped(), skipped);
    Reached::when(made > 1)
}

fn check(fragment: &Fragment, packet: &Packet, number: u64) {
    let payload = (fragment.data.as_ptr(), fragment.data.len());
    assert_eq!(payload, (packet.data.as_ptr(), packet.data.len()), "the payload is shared, not copied");
    assert_eq!(
        (fragment.sequence, fragment.session, fragment.kind, fragment.at, fragment.lost_before),
        (packet.sequence, packet.session, packet.kind, packet.at, packet.lost_before)
    );
    assert!((1..=DURATION_TICKS_MAX).contains(&fragment.duration_ticks));
    let head = Head::read(&fragment.head);
    assert_eq!(u64::from(head.number), number);
    assert_eq!(head.decode_ticks, fragment.decode_ticks);
    assert_eq!(head.duration_ticks, fragment.duration_ticks);
    assert_eq!(head.sample_bytes as usize, packet.data.len());
    assert_eq!(head.mdat_bytes as usize, packet.data.len() + 8);
    assert_eq!(head.data_offset as usize, fragment.head.len(), "the payload follows the head at once");
    assert_eq!(head.is_sync, packet.kind == FrameKind::Key);
    check_init(&fragment.init, &packet.format);
}

fn check_init(init: &InitSegment, format: &Arc<VideoFormat>) {
    assert_eq!(&init.format, format);
    let boxes = Boxes(&init.data).map(|(kind, body)| (kind, body.len())).collect::<Vec<_>>();
    let [(ftyp, ftyp_bytes), (moov, moov_bytes)] = boxes[..] else { panic!("{boxes:?}") };
    assert_eq!((&ftyp, &moov), (b"ftyp", b"moov"));
    assert_eq!(ftyp_bytes + moov_bytes + 16, init.data.len());
    let whole: Vec<u8> = init.data.to_vec();
    assert!(
        whole
            .windows(format.config.len().max(1))
            .any(|window| window == &format.config[..] || format.config.is_empty())
    );
}

/// What a fragment's head says.
struct Head {
    number: u32,
    decode_ticks: u64,
    duration_ticks: u32,
    sample_bytes: u32,
    data_offset: u32,
    mdat_bytes: u32,
    is_sync: bool,
}

impl Head {
    fn read(head: &[u8]) -> Self {
        let moof = inside(head, b"moof");
        let mdat = &head[moof.len() + 8..];
        assert_eq!((mdat.len(), &mdat[4..8]), (8, &b"mdat"[..]));
        let traf = inside(moof, b"traf");
        let (tfhd, tfdt, trun) = (inside(traf, b"tfhd"), inside(traf, b"tfdt"), inside(traf, b"trun"));
        assert_eq!(tfdt[0], 1, "decode times have 64 bits");
        // tfhd: flags and track, then the optional fields in the order of their bits.
        let (flags, mut rest) = (u32_at(tfhd, 0) & 0xff_ffff, &tfhd[8..]);
        let mut optional = |bit: u32, bytes: usize| {
            (flags & bit != 0).then(|| {
                let (field, after) = rest.split_at(bytes);
                rest = after;
                field
            })
        };
        optional(1, 8);
        optional(2, 4);
        let default_duration = optional(8, 4).map(|field| u32_at(field, 0));
        let default_size = optional(0x10, 4).map(|field| u32_at(field, 0));
        let default_flags = optional(0x20, 4).map(|field| u32_at(field, 0));
        let (flags, mut rest) = (u32_at(trun, 0) & 0xff_ffff, &trun[8..]);
        assert_eq!(u32_at(trun, 4), 1, "one frame a fragment");
        let mut optional = |bit: u32| {
            (flags & bit != 0).then(|| {
                let (field, after) = rest.split_at(4);
                rest = after;
                u32_at(field, 0)
            })
        };
        let data_offset = optional(1).expect("a data offset");
        let first_flags = optional(4);
        let duration_ticks = optional(0x100).or(default_duration).expect("a duration");
        let sample_bytes = optional(0x200).or(default_size).expect("a size");
        let sample_flags = optional(0x400).or(first_flags).or(default_flags).expect("flags");
        optional(0x800);
        assert!(rest.is_empty());
        Self {
            number: u32_at(inside(moof, b"mfhd"), 4),
            decode_ticks: u64::from_be_bytes(tfdt[4..12].try_into().unwrap()),
            duration_ticks,
            sample_bytes,
            data_offset,
            mdat_bytes: u32_at(mdat, 0),
            is_sync: sample_flags & 0x1_0000 == 0,
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The body of the one box of this kind.
fn inside<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> &'a [u8] {
    Boxes(bytes).find(|(found, _)| found == kind).unwrap_or_else(|| panic!("no {kind:?}")).1
}

/// Boxes one behind the other, up to the first that reaches beyond the end (the `mdat` of a head).
struct Boxes<'a>(&'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let size = u32::from_be_bytes(*self.0.first_chunk()?) as usize;
        let (this, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some((this[4..8].try_into().unwrap(), &this[8..]))
    }
}

/// One of each codec, with real parameter sets (1080p by x264 and x265; 16 frames of reordering stated by none).
fn formats() -> [Arc<VideoFormat>; 4] {
    let avc = ParameterSets {
        vps: vec![],
        sps: vec![Bytes::from_static(crate::decode::H264_SPS)],
        pps: vec![Bytes::from_static(crate::decode::H264_PPS)],
    };
    let hevc = ParameterSets {
        vps: vec![Bytes::from_static(crate::decode::H265_VPS)],
        sps: vec![Bytes::from_static(crate::decode::H265_SPS)],
        pps: vec![Bytes::from_static(crate::decode::H265_PPS)],
    };
    let avc = h264::format(&avc).expect("a good set");
    let unread = VideoFormat { config: Bytes::from_static(b"\x01nothing"), ..avc.clone() };
    let mjpeg = VideoFormat {
        codec: Codec::Mjpeg,
        width: 640,
        height: 360,
        codec_name: "mp4v.6C".to_owned(),
        config: Bytes::new(),
    };
    [avc, h265::format(&hevc).expect("a good set"), mjpeg, unread].map(Arc::new)
}
