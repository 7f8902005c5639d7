//! NAL units, parameter sets, configuration records and JPEG headers of `godvision-rtsp`.

use bytes::Bytes;
use godvision_core::signal::media::{Codec, FrameKind, VideoFormat};
use godvision_rtsp::nal::{self, ParameterSets, h264, h265, jpeg};

use crate::Reached;

/// Reads `data` as everything it could be: framed units, an Annex B stream, a parameter set, a record, an image.
pub fn nal(data: &[u8]) -> Reached {
    let mut checked = framed(data);
    checked |= annex_b(data);
    for codec in [Codec::H264, Codec::H265] {
        let found = ParameterSets::from_units(codec, nal::annex_b_units(data));
        checked |= found.is_some_and(|sets| sets_make_a_format(codec, &sets));
        let record = Bytes::copy_from_slice(data);
        if let Ok(sets) = ParameterSets::from_config(codec, &record) {
            for set in sets.iter() {
                assert!((1..=nal::PARAMETER_SET_BYTES_MAX).contains(&set.len()));
                // Sets share the record's memory.
                assert!(record.as_ptr_range().contains(&set.as_ptr()));
            }
            checked |= sets_make_a_format(codec, &sets);
        }
    }
    checked |= sps(data);
    if let Ok((width, height)) = jpeg::size(data) {
        checked = true;
        check_sides(width, height);
    }
    assert_eq!(nal::frame_kind(Codec::Mjpeg, data), FrameKind::Key);
    Reached::when(checked)
}

fn framed(data: &[u8]) -> bool {
    let (mut bytes, mut whole) = (0, true);
    for unit in nal::units(data) {
        match unit {
            Ok(unit) => {
                assert!(!unit.is_empty());
                bytes += 4 + unit.len();
            }
            Err(error) => {
                assert_eq!(error.byte(), bytes, "an error names where its unit begins");
                whole = false;
            }
        }
    }
    assert_eq!(whole, bytes == data.len(), "either every byte is in a unit, or there is an error");
    let mut stream = Vec::new();
    assert_eq!(nal::to_annex_b(data, &mut stream).is_ok(), whole);
    for codec in [Codec::H264, Codec::H265] {
        let _ = nal::frame_kind(codec, data);
    }
    whole && bytes > 0
}

fn annex_b(data: &[u8]) -> bool {
    let mut total = 0;
    for unit in nal::annex_b_units(data) {
        assert!(unit.last().is_some_and(|last| *last != 0));
        assert!(!unit.windows(3).any(|w| w == [0, 0, 1]));
        total += unit.len() + 3;
    }
    assert!(total <= data.len());
    let framed = nal::from_annex_b(data);
    let mut stream = Vec::new();
    assert_eq!(nal::to_annex_b(&framed, &mut stream), Ok(()));
    assert_eq!(nal::from_annex_b(&stream), framed);
    total > 0
}

fn sps(data: &[u8]) -> bool {
    let mut checked = false;
    if let Ok(sps) = h264::Sps::parse(data) {
        checked = true;
        check_sides(sps.width, sps.height);
        assert_eq!(sps.codec_name().len(), "avc1.640028".len());
        assert!((8..=14).contains(&sps.luma_bits) && (8..=14).contains(&sps.chroma_bits) && sps.chroma_format <= 3);
        assert!(sps.reorder_frames.is_none_or(|depth| depth <= 16));
        assert!(sps.frame_interval.is_none_or(|(ticks, scale)| ticks > 0 && scale > 0));
        assert!(sps.sample_aspect.is_none_or(|(across, down)| across > 0 && down > 0));
    }
    if let Ok(sps) = h265::Sps::parse(data) {
        checked = true;
        check_sides(sps.width, sps.height);
        assert!(sps.codec_name().starts_with("hvc1."));
        assert!((1..=7).contains(&sps.temporal_layers) && sps.reorder_frames <= 16);
    }
    checked
}

/// A format made of sets holds a record that gives the same sets back.
fn sets_make_a_format(codec: Codec, sets: &ParameterSets) -> bool {
    let made = match codec {
        Codec::H264 => h264::format(sets),
        _ => h265::format(sets),
    };
    let Ok(format) = made else { return false };
    let VideoFormat { width, height, codec: made_codec, config, .. } = &format;
    check_sides(*width, *height);
    assert_eq!(*made_codec, codec);
    assert_eq!(ParameterSets::from_config(codec, config).as_ref(), Ok(sets));
    true
}

fn check_sides(width: u16, height: u16) {
    for side in [width, height] {
        assert!((1..=nal::SIDE_PIXELS_MAX).contains(&u32::from(side)), "{width}x{height}");
    }
}
