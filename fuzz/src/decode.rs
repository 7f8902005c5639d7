//! The decoders of `godvision-rtsp` behind their facade, and the file player that feeds them.

use std::sync::Arc;

use bytes::Bytes;
use godvision_core::signal::media::{Codec, FrameKind, Packet, Picture, Plane, VideoFormat};
use godvision_core::{MonoTime, Name, Stamp, WallTime};
use godvision_rtsp::decode::{Chroma, DecodeOptions, Decoder, Frames, SIDE_PIXELS_MAX, open};
use godvision_rtsp::nal::{annex_b_units, h264, h265, jpeg};
use godvision_rtsp::restream::FilePlayer;

use crate::{Input, Reached};

/// 1920x1080, High profile, by x264.
pub(crate) const H264_SPS: &[u8] =
    b"\x67\x64\x00\x28\xac\xb4\x03\xc0\x11\x3f\x2e\x02\xd4\x04\x04\x05\x00\x00\x03\x00\x01\x00\x00\x03\x00\x32\x0f\x18\x32\xa0";
/// Belongs to [`H264_SPS`].
pub(crate) const H264_PPS: &[u8] = b"\x68\xef\x3c\xb0";
/// 1920x1080, Main profile, by x265.
pub(crate) const H265_VPS: &[u8] =
    b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x78\xba\x02\x40";
/// Belongs to [`H265_VPS`].
pub(crate) const H265_SPS: &[u8] = b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x78\xa0\x03\xc0\x80\x11\x07\xcb\x96\xe9\x29\x30\xbc\x05\xa8\x08\x08\x0f\x08\x00\x00\x03\x00\x08\x00\x00\x03\x00\xc8\x40";
/// Belongs to [`H265_SPS`].
pub(crate) const H265_PPS: &[u8] = b"\x44\x01\xc0\x73\xc1\x89";

/// Larger pictures are left out: they are slow, and take no other path.
const SIDE_MAX: u16 = 256;
/// Packets decoded of one input.
const PACKETS_MAX: usize = 12;

/// The first byte chooses the codec (its remainder by 3) and options (4 key frames only, 8 keep colour, 16 lose the
/// third packet); the rest is an Annex B stream or one JPEG image.
pub fn decode(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let choice = input.byte();
    let codec = [Codec::H264, Codec::H265, Codec::Mjpeg][usize::from(choice & 3) % 3];
    let options = DecodeOptions {
        frames: if choice & 4 != 0 { Frames::KeyOnly } else { Frames::All },
        chroma: if choice & 8 != 0 { Chroma::Keep } else { Chroma::Drop },
        ..DecodeOptions::default()
    };
    let mut packets = if codec == Codec::Mjpeg { image(input.rest()) } else { stream(codec, input.rest()) };
    let Some(first) = packets.first().cloned() else { return Reached::Refused };
    let Ok(mut decoder) = open(&first.format, options) else { return Reached::Refused };
    if choice & 16 != 0 && packets.len() > 2 {
        packets.remove(2);
    }
    let (mut pictures, mut errors) = (Vec::new(), 0);
    for packet in &packets {
        if let Err(error) = decoder.decode(packet, &mut pictures) {
            errors += 1;
            assert!(!error.code().is_empty() && !error.to_string().is_empty());
        }
    }
    decoder.finish(&mut pictures);
    check(&packets, &pictures, options);
    let counters = decoder.counters();
    assert_eq!(counters.pictures, pictures.len() as u64);
    assert_eq!(counters.errors, errors);
    assert!(counters.left_out == 0 || options.frames == Frames::KeyOnly);
    check_fresh_start(&mut *decoder, &first);
    Reached::when(!pictures.is_empty())
}

fn check(packets: &[Packet], pictures: &[Picture], options: DecodeOptions) {
    let mut seen = Vec::new();
    for picture in pictures {
        let packet = packets.iter().find(|packet| packet.sequence == picture.sequence).expect("a picture of a packet");
        assert_eq!((&picture.at, picture.session), (&packet.at, packet.session));
        assert!(!seen.contains(&picture.sequence), "one picture a packet");
        seen.push(picture.sequence);
        assert!(options.frames == Frames::All || packet.kind == FrameKind::Key);
        check_plane(&picture.luma);
        let (width, height) = (picture.luma.width, picture.luma.height);
        if let Some(chroma) = &picture.chroma {
            for plane in chroma {
                check_plane(plane);
                assert_eq!((plane.width, plane.height), (width.div_ceil(2), height.div_ceil(2)));
            }
        }
        assert!(options.chroma == Chroma::Keep || picture.chroma.is_none());
    }
}

fn check_plane(plane: &Plane) {
    let side_max = usize::from(SIDE_PIXELS_MAX);
    assert!(plane.width <= side_max && plane.height <= side_max);
    assert!(Plane::new(plane.width, plane.height, plane.stride_bytes, plane.data.clone()).is_some(), "{plane:?}");
}

/// After `finish` nothing is decoded before a key frame.
fn check_fresh_start(decoder: &mut dyn Decoder, packet: &Packet) {
    let mut pictures = Vec::new();
    let delta = Packet { kind: FrameKind::Delta, sequence: u64::MAX, ..packet.clone() };
    assert_eq!(decoder.decode(&delta, &mut pictures), Ok(()));
    assert!(pictures.is_empty());
}

fn stream(codec: Codec, file: &[u8]) -> Vec<Packet> {
    let is_large = |unit: &[u8]| {
        let (width, height) = match codec {
            Codec::H264 => h264::Sps::parse(unit).map_or((1, 1), |sps| (sps.width, sps.height)),
            _ => h265::Sps::parse(unit).map_or((1, 1), |sps| (sps.width, sps.height)),
        };
        width > SIDE_MAX || height > SIDE_MAX
    };
    if annex_b_units(file).any(is_large) {
        return Vec::new();
    }
    let Ok(player) = FilePlayer::from_annex_b(name(), codec, file, 25.0) else { return Vec::new() };
    (0..player.frames().min(PACKETS_MAX) as u64).map(|number| player.packet(number, Stamp::default())).collect()
}

fn image(file: &[u8]) -> Vec<Packet> {
    let Ok((width, height)) = jpeg::size(file) else { return Vec::new() };
    if width > SIDE_MAX || height > SIDE_MAX {
        return Vec::new();
    }
    let format = VideoFormat { codec: Codec::Mjpeg, width, height, codec_name: String::new(), config: Bytes::new() };
    vec![Packet {
        source: name(),
        format: Arc::new(format),
        sequence: 0,
        session: 1,
        pts_ticks: 0,
        at: Stamp::new(MonoTime::ZERO, WallTime::from_unix_seconds(0)),
        kind: FrameKind::Key,
        lost_before: 0,
        data: Bytes::copy_from_slice(file),
    }]
}

fn name() -> Name {
    Name::new("yard/camera").expect("a name")
}
