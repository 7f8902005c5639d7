//! What the fragmenter writes, read back by an independent little parser: structure, times, flags, payload.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godvision_core::signal::media::{Codec, Fragment, FrameKind, Packet, VideoFormat};
use godvision_core::{MonoTime, Name, Stamp, WallTime};
use godvision_rtsp::Fragmenter;
use godvision_rtsp::fragment::{DURATION_TICKS_MAX, rebase_head};
use godvision_rtsp::nal::{ParameterSets, h264};
use proptest::prelude::*;

/// Parameter sets of x264, 1920x1080, no B frames.
const SPS_1080: &str = "67640028acb403c0113f2e02d4040405000003000100000300320f1832a0";
/// The same kind of set for 640x480 Baseline, written by hand: 40 x 30 macroblocks, nothing else.
const SPS_480: [u8; 9] = [0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xf6, 0x40];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[i * 2..][..2], 16).unwrap()).collect()
}

fn avc() -> Arc<VideoFormat> {
    let sets = ParameterSets {
        vps: vec![],
        sps: vec![unhex(SPS_1080).into()],
        pps: vec![Bytes::from_static(&[0x68, 0xef, 0x3c, 0xb0])],
    };
    Arc::new(h264::format(&sets).unwrap())
}

fn jpeg(width: u16) -> Arc<VideoFormat> {
    Arc::new(VideoFormat {
        codec: Codec::Mjpeg,
        width,
        height: 480,
        codec_name: "mp4v.6C".to_owned(),
        config: Bytes::new(),
    })
}

fn packet(
    format: &Arc<VideoFormat>,
    sequence: u64,
    session: u32,
    pts_ticks: i64,
    at_ms: u64,
    kind: FrameKind,
) -> Packet {
    Packet {
        source: Name::new("yard").unwrap(),
        format: Arc::clone(format),
        sequence,
        session,
        pts_ticks,
        at: Stamp::new(MonoTime::from_millis(at_ms), WallTime::from_unix_millis(at_ms as i64)),
        kind,
        lost_before: 0,
        data: Bytes::from(vec![sequence as u8; 10 + sequence as usize % 7]),
    }
}

/// Twenty-five frames a second in one session, a key frame every ten.
fn steady(format: &Arc<VideoFormat>, session: u32, count: u64, start_ms: u64) -> Vec<Packet> {
    let kind = |n| if n % 10 == 0 { FrameKind::Key } else { FrameKind::Delta };
    (0..count).map(|n| packet(format, n, session, n as i64 * 3600, start_ms + n * 40, kind(n))).collect()
}

/// One fragment as a player reads it.
#[derive(Debug, PartialEq)]
struct Read {
    number: u32,
    decode_ticks: u64,
    duration: u32,
    size: u32,
    is_sync: bool,
    composition: i32,
}

fn boxes(bytes: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        assert!(size >= 8 && at + size <= bytes.len(), "box of {size} at {at} of {}", bytes.len());
        found.push((bytes[at + 4..at + 8].try_into().unwrap(), &bytes[at + 8..at + size]));
        at += size;
    }
    found
}

fn child<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> &'a [u8] {
    path.iter().fold(bytes, |inside, kind| {
        boxes(inside).into_iter().find(|(it, _)| it == *kind).unwrap_or_else(|| panic!("no {kind:?}")).1
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Reads a fragment and checks that its data stands where the head says.
fn read(it: &Fragment) -> Read {
    let wire = [&it.head[..], &it.data[..]].concat();
    let tops = boxes(&wire);
    assert_eq!(tops.iter().map(|(kind, _)| kind).collect::<Vec<_>>(), [b"moof", b"mdat"]);
    assert_eq!(tops[1].1, &it.data[..]);
    let traf = child(&wire, &[b"moof", b"traf"]);
    let (tfdt, trun) = (child(traf, &[b"tfdt"]), child(traf, &[b"trun"]));
    let flags = u32_at(trun, 0) & 0xff_ffff;
    assert_eq!(u32_at(trun, 4), 1, "one sample");
    assert_eq!(u32_at(trun, 8) as usize, wire.len() - it.data.len(), "the data follows the head");
    Read {
        number: u32_at(child(&wire, &[b"moof", b"mfhd"]), 4),
        decode_ticks: u64::from_be_bytes(tfdt[4..12].try_into().unwrap()),
        duration: u32_at(trun, 12),
        size: u32_at(trun, 16),
        is_sync: u32_at(trun, 20) & 0x1_0000 == 0,
        composition: if flags & 0x800 != 0 { u32_at(trun, 24) as i32 } else { 0 },
    }
}

fn fragments(packets: &[Packet]) -> Vec<Fragment> {
    let mut fragmenter = Fragmenter::new();
    packets.iter().filter_map(|packet| fragmenter.push(packet)).collect()
}

#[test]
fn a_steady_stream_has_exact_times_and_flags_and_shares_its_payload() {
    let packets = steady(&avc(), 0, 30, 5000);
    let made = fragments(&packets);
    assert_eq!(made.len(), 30);
    for (n, (fragment, packet)) in made.iter().zip(&packets).enumerate() {
        let expected = Read {
            number: n as u32 + 1,
            decode_ticks: n as u64 * 3600,
            duration: 3600,
            size: packet.data.len() as u32,
            is_sync: n % 10 == 0,
            composition: 0,
        };
        assert_eq!(read(fragment), expected);
        assert_eq!((fragment.decode_ticks, fragment.duration_ticks), (expected.decode_ticks, expected.duration));
        assert_eq!(fragment.data.as_ptr(), packet.data.as_ptr(), "the payload is not copied");
        assert!(Arc::ptr_eq(&fragment.init, &made[0].init));
        assert_eq!((fragment.sequence, fragment.at, fragment.kind), (packet.sequence, packet.at, packet.kind));
        assert_eq!(fragment.head.len(), 108);
    }
}

#[test]
fn the_head_describes_the_stream_and_says_that_it_is_live() {
    let format = avc();
    let init = Arc::clone(&fragments(&steady(&format, 0, 1, 0))[0].init);
    assert_eq!(init.mime, "video/mp4; codecs=\"avc1.640028\"");
    let tops: Vec<_> = boxes(&init.data).iter().map(|(kind, _)| *kind).collect();
    assert_eq!(tops, [*b"ftyp", *b"moov"]);
    let moov = child(&init.data, &[b"moov"]);
    assert_eq!(u32_at(child(moov, &[b"mvhd"]), 16), 0, "no duration");
    assert!(!boxes(child(moov, &[b"mvex"])).iter().any(|(kind, _)| kind == b"mehd"), "no duration there either");
    let stsd = child(moov, &[b"trak", b"mdia", b"minf", b"stbl", b"stsd"]);
    let entry = boxes(&stsd[8..]);
    assert_eq!(&entry[0].0, b"avc1");
    assert_eq!(child(&entry[0].1[78..], &[b"avcC"]), &format.config[..]);
    assert_eq!(u16::from_be_bytes(entry[0].1[24..26].try_into().unwrap()), 1920);
    let init = Arc::clone(&fragments(&steady(&jpeg(640), 0, 1, 0))[0].init);
    assert_eq!(init.mime, "image/jpeg");
    let stsd = child(&init.data, &[b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"]);
    assert_eq!(&boxes(&stsd[8..])[0].0, b"mp4v");
}

#[test]
fn nothing_begins_before_a_key_frame() {
    let format = avc();
    let mut packets = steady(&format, 0, 20, 0);
    packets.drain(..3);
    let mut fragmenter = Fragmenter::new();
    let made: Vec<_> = packets.iter().filter_map(|packet| fragmenter.push(packet)).collect();
    assert_eq!((made[0].sequence, made[0].decode_ticks, fragmenter.skipped()), (10, 0, 7));
    // A new session without a key frame is not begun either.
    assert!(fragmenter.push(&packet(&format, 40, 1, 0, 5000, FrameKind::Delta)).is_none());
    assert!(fragmenter.push(&packet(&format, 41, 1, 3600, 5040, FrameKind::Key)).is_some());
}

#[test]
fn time_that_passed_between_sessions_stays_in_the_timeline() {
    let format = avc();
    let mut packets = steady(&format, 0, 10, 1000);
    // Back after a minute, with the camera's counter anywhere.
    packets.extend((0..10).map(|n| {
        let kind = if n == 0 { FrameKind::Key } else { FrameKind::Delta };
        packet(&format, 10 + n, 1, 777 + n as i64 * 3600, 61_360 + n * 40, kind)
    }));
    let made = fragments(&packets);
    assert_eq!(made[10].decode_ticks - made[9].decode_ticks, 60 * 90_000);
    assert_eq!(made[11].decode_ticks - made[10].decode_ticks, 3600);
    assert!(made.iter().all(|it| it.duration_ticks == 3600));
    assert!(Arc::ptr_eq(&made[0].init, &made[19].init), "the same format keeps its head");
}

#[test]
fn a_gap_inside_a_session_moves_the_time_and_not_the_durations() {
    let format = avc();
    let mut packets = steady(&format, 0, 20, 0);
    for late in &mut packets[12..] {
        late.pts_ticks += 90_000 * 2;
    }
    let made = fragments(&packets);
    assert_eq!(made[12].decode_ticks - made[11].decode_ticks, 3600 + 180_000);
    assert!(made.iter().all(|it| it.duration_ticks == 3600), "{made:?}");
}

#[test]
fn a_slower_stream_is_learnt_from_two_intervals() {
    let format = jpeg(640);
    let packets: Vec<_> = (0..8).map(|n| packet(&format, n, 0, n as i64 * 180_000, n * 2000, FrameKind::Key)).collect();
    let made = fragments(&packets);
    assert_eq!(made[0].duration_ticks, 3600, "nothing is known yet");
    assert!(made[3..].iter().all(|it| it.duration_ticks == 180_000), "{made:?}");
    let crawling: Vec<_> =
        (0..5).map(|n| packet(&format, n, 0, n as i64 * 90_000 * 3600, n * 3_600_000, FrameKind::Key)).collect();
    assert_eq!(fragments(&crawling)[4].duration_ticks, DURATION_TICKS_MAX);
}

#[test]
fn irregular_frames_never_look_like_a_break_to_a_player() {
    // 20, 60, 20, 60 ms: a player drops to the next key frame after a step of more than two durations.
    let format = jpeg(640);
    let pts = (0..40).map(|n: i64| (n / 2) * 7200 + (n % 2) * 1800);
    let packets: Vec<_> =
        pts.enumerate().map(|(n, pts)| packet(&format, n as u64, 0, pts, n as u64 * 40, FrameKind::Key)).collect();
    let made = fragments(&packets);
    for pair in made.windows(2).skip(4) {
        assert!(pair[1].decode_ticks - pair[0].decode_ticks <= 2 * u64::from(pair[0].duration_ticks), "{pair:?}");
    }
}

#[test]
fn new_parameter_sets_begin_a_new_head_at_a_key_frame() {
    let first = avc();
    let sets = ParameterSets {
        vps: vec![],
        sps: vec![Bytes::from_static(&SPS_480)],
        pps: vec![Bytes::from_static(&[0x68, 0xce])],
    };
    let Ok(second) = h264::format(&sets).map(Arc::new) else { panic!("{:?}", h264::format(&sets)) };
    let mut packets = steady(&first, 0, 10, 0);
    packets.extend([
        packet(&second, 10, 0, 36_000, 400, FrameKind::Delta),
        packet(&second, 11, 0, 39_600, 440, FrameKind::Key),
        packet(&second, 12, 0, 43_200, 480, FrameKind::Delta),
    ]);
    let made = fragments(&packets);
    assert_eq!(made.len(), 12, "the delta in the new format has no key frame");
    assert!(!Arc::ptr_eq(&made[9].init, &made[10].init));
    assert_eq!((made[10].init.format.width, made[10].init.format.height), (640, 480));
    assert_eq!(made[10].decode_ticks, 11 * 3600, "time goes on");
}

#[test]
fn reordered_frames_are_decoded_before_they_are_shown() {
    let format = jpeg(640); // States no reordering: the depth must be found.
    let order = [0i64, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11, 15, 13, 14, 18, 16, 17];
    let packets: Vec<_> = order
        .iter()
        .enumerate()
        .map(|(n, shown)| packet(&format, n as u64, 0, shown * 3600, n as u64 * 40, FrameKind::Key))
        .collect();
    let made = fragments(&packets);
    let first_shown = i64::try_from(made[0].decode_ticks).unwrap() + i64::from(read(&made[0]).composition);
    for (n, (fragment, shown)) in made.iter().zip(order).enumerate() {
        let it = read(fragment);
        let presented = i64::try_from(it.decode_ticks).unwrap() + i64::from(it.composition);
        assert_eq!(presented - first_shown, shown * 3600, "shown at its own time");
        if n > 6 {
            assert!(it.composition >= 0, "frame {n} is decoded in time: {it:?}");
        }
    }
    assert!(made.windows(2).all(|pair| pair[1].decode_ticks > pair[0].decode_ticks));
}

#[test]
fn a_clip_can_start_at_zero() {
    let made = fragments(&steady(&avc(), 0, 15, 0));
    let head = rebase_head(&made[10].head, made[10].decode_ticks).unwrap();
    let moved = Fragment { head, ..made[10].clone() };
    assert_eq!(read(&moved), Read { decode_ticks: 0, ..read(&made[10]) });
    assert_eq!(rebase_head(&made[10].head, made[10].decode_ticks + 1), None, "not before 0");
    for cut in 0..100 {
        assert_eq!(rebase_head(&made[10].head.slice(..cut), 0), None, "{cut}");
    }
    assert_eq!(rebase_head(&Bytes::from_static(&[0xff; 200]), 0), None);
}

proptest! {
    #[test]
    fn any_packets_give_readable_fragments_in_growing_time(
        frames in prop::collection::vec((any::<i32>(), 0u64..5000, any::<bool>(), 0u32..3, any::<bool>()), 1..80)
    ) {
        let formats = [avc(), jpeg(640)];
        let (mut fragmenter, mut at_ms, mut last) = (Fragmenter::new(), 0, None::<Read>);
        for (n, (pts, wait, is_key, session, other)) in frames.into_iter().enumerate() {
            at_ms += wait;
            let kind = if is_key { FrameKind::Key } else { FrameKind::Delta };
            let it = packet(&formats[usize::from(other)], n as u64, session, pts.into(), at_ms, kind);
            let Some(fragment) = fragmenter.push(&it) else { continue };
            prop_assert!(last.is_some() || kind == FrameKind::Key);
            let now = read(&fragment);
            prop_assert!(now.duration > 0 && now.duration <= DURATION_TICKS_MAX);
            prop_assert_eq!(now.size as usize, it.data.len());
            prop_assert_eq!(now.is_sync, is_key);
            if let Some(last) = last {
                prop_assert!(now.decode_ticks > last.decode_ticks);
                prop_assert_eq!(now.number, last.number + 1);
            }
            last = Some(now);
        }
    }

    #[test]
    fn any_bytes_are_rebased_or_refused(head in prop::collection::vec(any::<u8>(), 0..200), base: u64) {
        let _ = rebase_head(&Bytes::from(head), base);
    }

    #[test]
    fn durations_follow_a_steady_rate(step in 1u32..400_000) {
        let format = jpeg(640);
        let packets: Vec<_> = (0..90u64)
            .map(|n| packet(&format, n, 0, n as i64 * i64::from(step), n * u64::from(step) / 90, FrameKind::Key))
            .collect();
        let made = fragments(&packets);
        prop_assert_eq!(made[89].duration_ticks, step.min(DURATION_TICKS_MAX));
        let total = Duration::from_secs_f64(f64::from(step) * 89.0 / 90_000.0);
        prop_assert!((Duration::from_secs_f64(made[89].decode_ticks as f64 / 90_000.0).abs_diff(total)) < Duration::from_micros(20));
    }
}
