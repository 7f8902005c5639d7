//! Every backend against ffmpeg's output, and every picture against its own packet.
#![cfg(all(feature = "restream", feature = "h264", feature = "h265", feature = "mjpeg"))]

mod coded;

use std::collections::HashMap;

use godvision_core::signal::media::{Codec, FrameKind, Packet, Picture};
use godvision_rtsp::decode::{self, Backend, Chroma, DecodeOptions, Frames};
use sha2::{Digest as _, Sha256};

fn decode_all(packets: &[Packet], options: DecodeOptions) -> Vec<Picture> {
    let mut decoder = decode::open(&packets[0].format, options).unwrap();
    let mut pictures = Vec::new();
    for packet in packets {
        decoder.decode(packet, &mut pictures).unwrap();
    }
    decoder.finish(&mut pictures);
    assert_eq!(decoder.counters().pictures, pictures.len() as u64);
    pictures
}

fn planes(picture: &Picture) -> Vec<u8> {
    let planes = std::iter::once(&picture.luma).chain(picture.chroma.iter().flatten());
    planes.flat_map(|plane| (0..plane.height).flat_map(|y| plane.row(y).to_vec())).collect()
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn backends() -> Vec<Backend> {
    #[cfg(feature = "ffmpeg")]
    return vec![Backend::Rust, Backend::Ffmpeg];
    #[cfg(not(feature = "ffmpeg"))]
    vec![Backend::Rust]
}

#[test]
fn all_planes_are_byte_identical_in_display_order() {
    let files = [
        ("bframes.h264", Codec::H264, "9ad4d66c57bc004cd5072c01c5ee5a85c3af10725e966aa8f5c8a538d17a6011"),
        ("interlaced.h264", Codec::H264, "09477760206eaffeb8277bd7375eedece817a9ad20710b9c57ba3187b8443871"),
        ("ten_bit.h264", Codec::H264, "783b83a2f170b7e8878ed26c15a201f18657b7acc04ef856dea1b65cbbf12a67"),
        ("bframes.h265", Codec::H265, "8ec6b4b490e64f008a7cf1d9e699a294bf9410b93ddfe52c3e057c2d48a4c0c9"),
        ("plain.h265", Codec::H265, "5cc6300607e4ae873af26913c336cd60e6ad1b2aa10c010e47e984d6fbf0777f"),
    ];
    for backend in backends() {
        for (file, codec, expected) in files {
            let packets = coded::packets(codec, &coded::data(file));
            assert_eq!(packets.len(), 40, "{file}");
            let pictures = decode_all(&packets, DecodeOptions { chroma: Chroma::Keep, backend, ..Default::default() });
            assert_eq!(pictures.len(), 40, "{file} {backend:?}");
            let all: Vec<u8> = pictures.iter().flat_map(planes).collect();
            assert_eq!(hash(&all), expected, "{file} {backend:?}");
        }
    }
}

#[test]
fn a_picture_carries_the_sequence_and_time_of_its_own_packet() {
    for backend in backends() {
        for (file, codec) in [("bframes.h264", Codec::H264), ("bframes.h265", Codec::H265), ("plain.h265", Codec::H265)]
        {
            let packets = coded::packets(codec, &coded::data(file));
            let keys: Vec<u64> =
                packets.iter().filter(|packet| packet.kind == FrameKind::Key).map(|packet| packet.sequence).collect();
            let options = DecodeOptions { backend, ..Default::default() };
            let pictures = decode_all(&packets, options);
            for picture in &pictures {
                assert_eq!(picture.at, packets[picture.sequence as usize].at);
                assert_eq!((picture.session, &picture.source), (1, &coded::name()));
            }
            let by_sequence: HashMap<u64, Vec<u8>> =
                pictures.iter().map(|picture| (picture.sequence, planes(picture))).collect();
            assert_eq!(by_sequence.len(), 40, "{file}: each packet has one picture");
            if file.starts_with("bframes") {
                let order: Vec<u64> = pictures.iter().map(|picture| picture.sequence).collect();
                assert!(!order.is_sorted(), "{file}: display order is not decoding order");
            }
            // Key frames decode without the others, so they tell which picture belongs to which packet.
            let alone = decode_all(&packets, DecodeOptions { frames: Frames::KeyOnly, ..options });
            assert_eq!(alone.iter().map(|picture| picture.sequence).collect::<Vec<_>>(), keys, "{file}");
            assert!(keys.len() >= 3);
            for picture in &alone {
                assert_eq!(planes(picture), by_sequence[&picture.sequence], "{file} {}", picture.sequence);
            }
        }
    }
}

#[test]
fn a_stream_without_reordering_has_no_delay() {
    let packets = coded::packets(Codec::H264, &coded::h264(160, 96, 12, 6));
    for backend in backends() {
        let mut decoder = decode::open(&packets[0].format, DecodeOptions { backend, ..Default::default() }).unwrap();
        for packet in &packets {
            let mut pictures = Vec::new();
            decoder.decode(packet, &mut pictures).unwrap();
            let sequences: Vec<_> = pictures.iter().map(|picture| picture.sequence).collect();
            assert_eq!(sequences, [packet.sequence], "{backend:?}");
            assert!(pictures[0].chroma.is_none());
            assert_eq!((pictures[0].luma.width, pictures[0].luma.height), (160, 96));
        }
    }
}

#[test]
fn mjpeg_gives_luma_alone_or_with_colour() {
    let luma = |x: u16, y: u16| 40 + (x * 9 + y * 23) as u8;
    let packets = coded::jpeg_packets(&[coded::jpeg(4, 3, luma, [100, 180])], 64, 48);
    for backend in backends() {
        for chroma in [Chroma::Drop, Chroma::Keep] {
            let pictures = decode_all(&packets, DecodeOptions { chroma, backend, ..Default::default() });
            let [picture] = &pictures[..] else { panic!("one picture") };
            for y in 0..48 {
                for x in 0..64 {
                    let expected = luma(x as u16 / 8, y as u16 / 8);
                    assert_eq!(picture.luma.row(y)[x], expected, "{backend:?} {chroma:?} at {x},{y}");
                }
            }
            assert_eq!(picture.chroma.is_some(), chroma == Chroma::Keep);
            for (plane, value) in picture.chroma.iter().flatten().zip([100, 180]) {
                assert_eq!((plane.width, plane.height), (32, 24));
                assert!((0..24).all(|y| plane.row(y).iter().all(|sample| *sample == value)));
            }
        }
    }
}

#[test]
fn a_gray_jpeg_has_neutral_colour() {
    let image = coded::gray_jpeg(2, 2, |x, y| 60 + (x + 4 * y) as u8 * 10);
    let packets = coded::jpeg_packets(&[image], 16, 16);
    let pictures = decode_all(&packets, DecodeOptions { chroma: Chroma::Keep, ..Default::default() });
    assert_eq!(pictures[0].luma.row(8)[8], 60 + 50);
    assert!(pictures[0].chroma.iter().flatten().all(|plane| plane.data.iter().all(|sample| *sample == 128)));
}
