//! Damage, gaps, new sessions, absurd sizes: typed errors, and pictures again from the next key frame on.
#![cfg(all(feature = "restream", feature = "h264", feature = "h265", feature = "mjpeg"))]

mod coded;

use std::sync::Arc;

use bytes::Bytes;
use godvision_core::signal::media::{Codec, FrameKind, Packet, VideoFormat};
use godvision_rtsp::decode::{self, DecodeError, DecodeOptions, Decoder, Frames, SIDE_PIXELS_MAX};
use proptest::prelude::*;

fn open(packets: &[Packet]) -> Box<dyn Decoder> {
    decode::open(&packets[0].format, DecodeOptions::default()).unwrap()
}

/// Feeds `packets` and returns the sequences of the pictures and the errors.
fn run(decoder: &mut dyn Decoder, packets: &[Packet]) -> (Vec<u64>, Vec<DecodeError>) {
    let (mut pictures, mut errors) = (Vec::new(), Vec::new());
    for packet in packets {
        errors.extend(decoder.decode(packet, &mut pictures).err());
    }
    decoder.finish(&mut pictures);
    (pictures.iter().map(|picture| picture.sequence).collect(), errors)
}

fn stream() -> Vec<Packet> {
    coded::packets(Codec::H264, &coded::h264(96, 64, 12, 4))
}

#[test]
fn nothing_is_decoded_before_a_key_frame() {
    let packets = stream();
    let mut decoder = open(&packets);
    assert_eq!(run(&mut *decoder, &packets[2..]).0, (4..12).collect::<Vec<_>>());
    assert_eq!(decoder.counters().waited, 2);
}

#[test]
fn a_gap_a_loss_or_a_new_session_waits_for_a_key_frame() {
    let packets = stream();
    let without: Vec<_> = packets.iter().filter(|packet| packet.sequence != 5).cloned().collect();
    assert_eq!(run(&mut *open(&packets), &without).0, [0, 1, 2, 3, 4, 8, 9, 10, 11]);
    let mut lossy = packets.clone();
    lossy[5].lost_before = 1;
    assert_eq!(run(&mut *open(&packets), &lossy).0, [0, 1, 2, 3, 4, 8, 9, 10, 11]);
    let mut again = packets.clone();
    again[5..].iter_mut().for_each(|packet| packet.session = 2);
    assert_eq!(run(&mut *open(&packets), &again).0, [0, 1, 2, 3, 4, 8, 9, 10, 11]);
    let mut decoder =
        decode::open(&packets[0].format, DecodeOptions { frames: Frames::KeyOnly, ..Default::default() }).unwrap();
    assert_eq!(run(&mut *decoder, &without).0, [0, 4, 8]);
    assert_eq!(decoder.counters().left_out, 8);
}

#[test]
fn what_was_held_back_before_a_gap_is_shown_before_what_follows() {
    let packets = coded::packets(Codec::H264, &coded::data("bframes.h264"));
    let whole = run(&mut *open(&packets), &packets);
    assert_eq!(whole.1, []);
    let gap: Vec<_> = packets.iter().filter(|packet| packet.sequence != 10).cloned().collect();
    let (seen, errors) = run(&mut *open(&packets), &gap);
    assert_eq!(errors, []);
    let key = packets[11..].iter().find(|packet| packet.kind == FrameKind::Key).unwrap().sequence;
    let before: Vec<u64> = seen.iter().copied().take_while(|sequence| *sequence < key).collect();
    assert_eq!(
        {
            let mut sorted = before.clone();
            sorted.sort_unstable();
            sorted
        },
        (0..10).collect::<Vec<_>>()
    );
    assert_eq!(seen.len() as u64, 10 + 40 - key);
}

#[test]
fn damaged_packets_are_errors_and_the_next_key_frame_decodes() {
    let packets = stream();
    for cut in [0, 1, 3, 5, 40] {
        let mut damaged = packets.clone();
        damaged[4].data = damaged[4].data.slice(..cut);
        let mut decoder = open(&packets);
        let (seen, errors) = run(&mut *decoder, &damaged);
        assert_eq!(seen, [0, 1, 2, 3, 8, 9, 10, 11], "cut to {cut}");
        assert_eq!(errors.len(), 1, "cut to {cut}: {errors:?}");
        assert!(errors[0].is_temporary(), "{errors:?}");
        assert_eq!((decoder.counters().errors, decoder.counters().waited), (1, 3));
    }
    let image = coded::jpeg(2, 2, |x, _| x as u8 * 40, [128, 128]);
    let images = [image.clone(), image[..200].to_vec(), vec![], vec![0xff; 64], image];
    let packets = coded::jpeg_packets(&images, 32, 32);
    let (seen, errors) = run(&mut *open(&packets), &packets);
    assert_eq!(seen, [0, 4]);
    assert_eq!(errors.len(), 3, "{errors:?}");
}

#[test]
fn absurd_sizes_are_refused_before_memory_is_taken() {
    let packets = stream();
    let big = VideoFormat { width: SIDE_PIXELS_MAX + 1, ..(*packets[0].format).clone() };
    let refused = decode::open(&big, DecodeOptions::default()).err();
    assert_eq!(refused, Some(DecodeError::Size { width: SIDE_PIXELS_MAX + 1, height: 64 }));
    // A parameter set in the stream itself that announces 16368 x 16368 pixels.
    let sps = [
        0x67,
        0x42,
        0xc0,
        0x1e, // Baseline
        // ue: sps id 0, log2_max_frame_num 0, poc type 2, one reference; then gaps flag, width and height, flags
        0b1101_1010,
        0b0000_0000,
        0b0001_1111,
        0b1111_0000,
        0b0000_0111,
        0b1111_1111,
        0b1100_0000,
    ];
    let mut data = (sps.len() as u32).to_be_bytes().to_vec();
    data.extend(sps);
    data.extend(&packets[0].data);
    let mut first = packets[0].clone();
    first.data = Bytes::from(data);
    let error = open(&packets).decode(&first, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, DecodeError::Size { .. } | DecodeError::Unreadable { .. }), "{error:?}");
    let mut image = coded::jpeg(1, 1, |_, _| 9, [128, 128]);
    let frame = image.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    image[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let packets = coded::jpeg_packets(&[image], 16, 16);
    let error = open(&packets).decode(&packets[0], &mut Vec::new()).unwrap_err();
    assert!(matches!(error, DecodeError::Size { width: 0xffff, .. } | DecodeError::Unreadable { .. }), "{error:?}");
}

#[test]
fn a_new_size_is_decoded_and_a_new_codec_is_refused() {
    let mut packets = stream();
    let mut other = coded::packets(Codec::H264, &coded::h264(160, 96, 4, 4));
    other.iter_mut().for_each(|packet| packet.sequence += 12);
    packets.extend(other);
    let mut decoder = open(&packets);
    let (mut pictures, mut sizes) = (Vec::new(), Vec::new());
    for packet in &packets {
        decoder.decode(packet, &mut pictures).unwrap();
        sizes.extend(pictures.drain(..).map(|picture| picture.luma.width));
    }
    assert_eq!(sizes, [[96; 12].as_slice(), &[160; 4]].concat());
    let mut jpeg = coded::jpeg_packets(&[coded::jpeg(1, 1, |_, _| 0, [0, 0])], 16, 16).remove(0);
    jpeg.sequence = 16;
    let error = decoder.decode(&jpeg, &mut pictures).unwrap_err();
    assert_eq!(error, DecodeError::Codec { expected: Codec::H264, found: Codec::Mjpeg });
}

#[test]
fn parameter_sets_that_cannot_be_read_are_an_error() {
    let mut packets = stream();
    let format = Arc::new(VideoFormat { config: Bytes::from_static(&[1, 2, 3]), ..(*packets[0].format).clone() });
    packets.iter_mut().for_each(|packet| packet.format = Arc::clone(&format));
    let (seen, errors) = run(&mut *open(&packets), &packets);
    assert_eq!(seen, []);
    assert_eq!(errors.len(), 3, "once a key frame: {errors:?}");
    assert!(matches!(errors[0], DecodeError::Unreadable { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_break_the_decoder(
        which in 0usize..3,
        flips in prop::collection::vec((0usize..12, any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let original = match which {
            0 => stream(),
            1 => coded::packets(Codec::H265, &coded::data("bframes.h265")),
            _ => coded::packets(Codec::H264, &coded::data("interlaced.h264")),
        };
        let mut packets = original.clone();
        for (packet, place, value) in flips {
            let mut data = packets[packet].data.to_vec();
            let place = place.index(data.len());
            data[place] = value;
            packets[packet].data = Bytes::from(data);
        }
        let mut decoder = open(&original);
        let mut pictures = Vec::new();
        for packet in &packets {
            if let Err(error) = decoder.decode(packet, &mut pictures) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
        decoder.finish(&mut pictures);
        prop_assert!(pictures.len() <= packets.len());
        // Whatever happened, an undamaged key frame decodes again.
        let mut fresh: Vec<_> = original.iter().skip_while(|packet| packet.kind != FrameKind::Key).take(1).cloned().collect();
        fresh[0].sequence += 1000;
        pictures.clear();
        prop_assert_eq!(decoder.decode(&fresh[0], &mut pictures), Ok(()));
        decoder.finish(&mut pictures);
        prop_assert_eq!(pictures.len(), 1);
    }
}
