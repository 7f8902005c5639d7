//! H.264: unit types, the sequence parameter set, the `avcC` record and the `avc1` name.
//!
//! Source: ITU-T H.264 clauses 7.3.1, 7.3.2.1.1 and E.1.1; ISO/IEC 14496-15 clause 5.3.3.1.
//!
//! **Never:** more of the usability information than a player needs; a broken one is ignored, because cameras write
//! broken ones and every decoder forgives it.

use bytes::Bytes;
use godvision_core::signal::media::{Codec, VideoFormat};

use super::bits::{Bits, unescaped};
use super::{BitstreamError, PARAMETER_SET_BYTES_MAX, PARAMETER_SETS_MAX, ParameterSets, SIDE_PIXELS_MAX};
use super::{checked_size, counted_sets, one_byte, skip_bytes};

/// What a NAL unit carries, as far as this crate cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnitType {
    /// A slice of a picture that needs others (types 1 to 4).
    Slice,
    /// A slice of a picture that starts anew (type 5).
    Idr,
    /// Supplemental information (6).
    Sei,
    /// Sequence parameter set (7).
    Sps,
    /// Picture parameter set (8).
    Pps,
    /// Access unit delimiter (9).
    Delimiter,
    /// Anything else.
    Other(u8),
}

impl UnitType {
    /// Of a unit with its header byte first; `None` if it is empty or its forbidden bit is set.
    pub fn of(unit: &[u8]) -> Option<Self> {
        let header = *unit.first()?;
        (header & 0x80 == 0).then_some(match header & 0x1f {
            1..=4 => Self::Slice,
            5 => Self::Idr,
            6 => Self::Sei,
            7 => Self::Sps,
            8 => Self::Pps,
            9 => Self::Delimiter,
            other => Self::Other(other),
        })
    }
}

/// What a sequence parameter set says about the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sps {
    /// `profile_idc`: 66 Baseline, 77 Main, 100 High, ...
    pub profile: u8,
    /// The byte of constraint flags after the profile.
    pub constraints: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// Chroma format: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits of a luma sample, 8 to 14.
    pub luma_bits: u8,
    /// Bits of a chroma sample, 8 to 14.
    pub chroma_bits: u8,
    /// Shown luma width in pixels, after cropping.
    pub width: u16,
    /// Shown luma height in pixels, after cropping.
    pub height: u16,
    /// Whether pictures may be fields or hold interlaced blocks.
    pub interlaced: bool,
    /// Width to height of a sample, if given and not zero.
    pub sample_aspect: Option<(u16, u16)>,
    /// Frames that may precede another in decoding and follow it in output; `None` if the set does not say.
    pub reorder_frames: Option<u8>,
    /// Ticks and ticks a second of one frame, if given: 1/25 s may be (1, 25) or (3600, 90000).
    pub frame_interval: Option<(u32, u32)>,
}

/// Profiles whose parameter set carries chroma format and bit depths.
fn is_high(profile: u8) -> bool {
    matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135)
}

impl Sps {
    /// Reads one unit with its header byte.
    ///
    /// # Errors
    /// [`BitstreamError`] if it is no SPS, cut short, or says something impossible.
    pub fn parse(unit: &[u8]) -> Result<Self, BitstreamError> {
        if UnitType::of(unit) != Some(UnitType::Sps) {
            return Err(BitstreamError::new("a unit that is no sequence parameter set", 0));
        }
        let payload = unescaped(unit)?;
        let mut bits = Bits::new(&payload);
        bits.skip(8)?;
        let profile = bits.bits(8)? as u8;
        let constraints = bits.bits(8)? as u8;
        let level = bits.bits(8)? as u8;
        bits.unsigned_to(31, "an impossible parameter set number")?;
        let (mut chroma_format, mut separate_planes, mut luma_bits, mut chroma_bits) = (1, false, 8, 8);
        if is_high(profile) {
            chroma_format = bits.unsigned_to(3, "an impossible chroma format")? as u8;
            separate_planes = chroma_format == 3 && bits.flag()?;
            luma_bits = 8 + bits.unsigned_to(6, "an impossible bit depth")? as u8;
            chroma_bits = 8 + bits.unsigned_to(6, "an impossible bit depth")? as u8;
            bits.skip(1)?;
            if bits.flag()? {
                skip_scaling_lists(&mut bits, if chroma_format == 3 { 12 } else { 8 })?;
            }
        }
        bits.unsigned_to(12, "an impossible frame number length")?;
        let order_type = skip_picture_order(&mut bits)?;
        bits.unsigned()?;
        bits.skip(1)?;
        // A macroblock is 16 pixels wide; the bound keeps the products below far from overflow.
        let blocks = |bits: &mut Bits<'_>| bits.unsigned_to(SIDE_PIXELS_MAX / 16, "an impossible picture size");
        let (columns, rows) = (blocks(&mut bits)? + 1, blocks(&mut bits)? + 1);
        let frames_only = bits.flag()?;
        if !frames_only {
            bits.skip(1)?;
        }
        bits.skip(1)?;
        let row_height = if frames_only { 16 } else { 32 };
        let (width, height) = (columns * 16, rows * row_height);
        let (mut cut_x, mut cut_y) = (0, 0);
        if bits.flag()? {
            let sides = [0; 4].map(|_| bits.unsigned_to(SIDE_PIXELS_MAX, "an impossible cropping"));
            let [left, right, top, bottom] = sides;
            let chroma = if separate_planes { 0 } else { chroma_format };
            let unit_x = if matches!(chroma, 1 | 2) { 2 } else { 1 };
            let unit_y = (if chroma == 1 { 2 } else { 1 }) * (if frames_only { 1 } else { 2 });
            cut_x = (left? + right?) * unit_x;
            cut_y = (top? + bottom?) * unit_y;
        }
        let (width, height) = checked_size(width.saturating_sub(cut_x), height.saturating_sub(cut_y), bits.byte())?;
        let usability = if bits.flag().unwrap_or(false) { Usability::parse(&mut bits) } else { Usability::default() };
        let reorder_frames = usability.reorder_frames.or((order_type == 2 || profile == 66).then_some(0));
        Ok(Self {
            profile,
            constraints,
            level,
            chroma_format,
            luma_bits,
            chroma_bits,
            width,
            height,
            interlaced: !frames_only,
            sample_aspect: usability.sample_aspect,
            reorder_frames,
            frame_interval: usability.frame_interval,
        })
    }

    /// RFC 6381: `avc1.` and profile, constraints and level in hexadecimal.
    pub fn codec_name(&self) -> String {
        format!("avc1.{:02X}{:02X}{:02X}", self.profile, self.constraints, self.level)
    }
}

fn skip_scaling_lists(bits: &mut Bits<'_>, lists: usize) -> Result<(), BitstreamError> {
    for list in 0..lists {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8i64, 8i64);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.signed()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Ok(())
}

fn skip_picture_order(bits: &mut Bits<'_>) -> Result<u32, BitstreamError> {
    let order_type = bits.unsigned_to(2, "an impossible picture order type")?;
    match order_type {
        0 => {
            bits.unsigned_to(12, "an impossible picture order length")?;
        }
        1 => {
            bits.skip(1)?;
            bits.signed()?;
            bits.signed()?;
            for _ in 0..bits.unsigned_to(255, "too many reference offsets")? {
                bits.signed()?;
            }
        }
        _ => {}
    }
    Ok(order_type)
}

/// The usability information that is used; each field stays empty when reading fails before it.
#[derive(Default)]
struct Usability {
    sample_aspect: Option<(u16, u16)>,
    frame_interval: Option<(u32, u32)>,
    reorder_frames: Option<u8>,
}

/// Table E-1: width to height of a sample by `aspect_ratio_idc`.
const SAMPLE_ASPECTS: [(u16, u16); 17] = [
    (0, 0),
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

impl Usability {
    fn parse(bits: &mut Bits<'_>) -> Self {
        let mut found = Self::default();
        // A broken rest leaves what was read before it.
        let _ = found.read(bits);
        found
    }

    fn read(&mut self, bits: &mut Bits<'_>) -> Result<(), BitstreamError> {
        const EXTENDED_SAMPLE_ASPECT: u32 = 255;
        if bits.flag()? {
            let (across, down) = match bits.bits(8)? {
                EXTENDED_SAMPLE_ASPECT => (bits.bits(16)? as u16, bits.bits(16)? as u16),
                index => SAMPLE_ASPECTS.get(index as usize).copied().unwrap_or((0, 0)),
            };
            self.sample_aspect = (across > 0 && down > 0).then_some((across, down));
        }
        if bits.flag()? {
            bits.skip(1)?;
        }
        if bits.flag()? {
            bits.skip(4)?;
            if bits.flag()? {
                bits.skip(24)?;
            }
        }
        if bits.flag()? {
            bits.unsigned()?;
            bits.unsigned()?;
        }
        if bits.flag()? {
            let (units, scale) = (bits.bits(32)?, bits.bits(32)?);
            bits.skip(1)?;
            // Two ticks of this clock make a frame (Table E-6 counts fields).
            self.frame_interval = units.checked_mul(2).filter(|ticks| *ticks > 0 && scale > 0).map(|t| (t, scale));
        }
        let has_nal_buffer = bits.flag()?;
        if has_nal_buffer {
            skip_buffer_model(bits)?;
        }
        let has_unit_buffer = bits.flag()?;
        if has_unit_buffer {
            skip_buffer_model(bits)?;
        }
        if has_nal_buffer || has_unit_buffer {
            bits.skip(1)?;
        }
        bits.skip(1)?;
        if bits.flag()? {
            bits.skip(1)?;
            for _ in 0..4 {
                bits.unsigned()?;
            }
            self.reorder_frames = Some(bits.unsigned_to(16, "an impossible reordering depth")? as u8);
        }
        Ok(())
    }
}

fn skip_buffer_model(bits: &mut Bits<'_>) -> Result<(), BitstreamError> {
    let count = bits.unsigned_to(31, "too many buffer schedules")? + 1;
    bits.skip(8)?;
    for _ in 0..count {
        bits.unsigned()?;
        bits.unsigned()?;
        bits.skip(1)?;
    }
    bits.skip(20)
}

/// The format of a stream with these parameter sets.
///
/// # Errors
/// [`BitstreamError`] if there is no SPS or PPS, the first SPS cannot be read, or a limit is passed.
pub fn format(sets: &ParameterSets) -> Result<VideoFormat, BitstreamError> {
    let first = sets.sps.first().ok_or(BitstreamError::new("no sequence parameter set", 0))?;
    let sps = Sps::parse(first)?;
    Ok(VideoFormat {
        codec: Codec::H264,
        width: sps.width,
        height: sps.height,
        codec_name: sps.codec_name(),
        config: config(&sps, sets)?,
    })
}

/// The `avcC` body for these parameter sets, lengths of 4 bytes.
fn config(sps: &Sps, sets: &ParameterSets) -> Result<Bytes, BitstreamError> {
    let fits = |kind: &[Bytes]| {
        (1..=PARAMETER_SETS_MAX.min(31)).contains(&kind.len())
            && kind.iter().all(|set| set.len() <= PARAMETER_SET_BYTES_MAX)
    };
    if !fits(&sets.sps) || !fits(&sets.pps) {
        return Err(BitstreamError::new("no picture parameter set, or too many sets", 0));
    }
    let mut record = vec![1, sps.profile, sps.constraints, sps.level, 0xfc | 3, 0xe0 | sets.sps.len() as u8];
    for set in &sets.sps {
        push_set(&mut record, set);
    }
    record.push(sets.pps.len() as u8);
    for set in &sets.pps {
        push_set(&mut record, set);
    }
    if !matches!(sps.profile, 66 | 77 | 88) {
        record.extend([0xfc | sps.chroma_format, 0xf8 | (sps.luma_bits - 8), 0xf8 | (sps.chroma_bits - 8), 0]);
    }
    Ok(record.into())
}

pub(super) fn push_set(record: &mut Vec<u8>, set: &[u8]) {
    // Callers have checked the length against PARAMETER_SET_BYTES_MAX.
    record.extend((set.len() as u16).to_be_bytes());
    record.extend_from_slice(set);
}

/// The parameter sets in an `avcC` body.
pub(super) fn parse_config(record: &Bytes) -> Result<ParameterSets, BitstreamError> {
    let total = record.len();
    let (at, version) = one_byte(record, total)?;
    if version != 1 {
        return Err(BitstreamError::new("a record of an unknown version", 0));
    }
    let at = skip_bytes(at, 3, total)?;
    let (at, lengths) = one_byte(at, total)?;
    if lengths & 3 != 3 {
        return Err(BitstreamError::new("lengths that are not 4 bytes", 4));
    }
    let mut sets = ParameterSets::default();
    let (at, count) = one_byte(at, total)?;
    let at = counted_sets(record, at, usize::from(count & 0x1f), &mut sets.sps)?;
    let (at, count) = one_byte(at, total)?;
    counted_sets(record, at, usize::from(count), &mut sets.pps)?;
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x264, 1920x1080 High@4.0, cropped from 1088 lines, 25 fps, no B frames (parameter sets of our own clip).
    const SPS_1080: &str = "67640028acb403c0113f2e02d4040405000003000100000300320f1832a0";
    const PPS: &str = "68ef3cb0";

    pub(crate) fn unhex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[i * 2..][..2], 16).unwrap()).collect()
    }

    #[test]
    fn the_shown_size_is_after_cropping() {
        let sps = Sps::parse(&unhex(SPS_1080)).unwrap();
        assert_eq!((sps.width, sps.height, sps.profile, sps.level), (1920, 1080, 100, 40));
        assert_eq!(sps.codec_name(), "avc1.640028");
        assert!(!sps.interlaced);
        let (ticks, rate) = sps.frame_interval.unwrap();
        assert_eq!(f64::from(rate) / f64::from(ticks), 25.0);
    }

    #[test]
    fn a_record_gives_back_its_sets() {
        let sets = ParameterSets { vps: vec![], sps: vec![unhex(SPS_1080).into()], pps: vec![unhex(PPS).into()] };
        let format = format(&sets).unwrap();
        assert_eq!(&format.config[..6], [1, 100, 0, 40, 0xff, 0xe1]);
        assert_eq!(&format.config[format.config.len() - 4..], [0xfd, 0xf8, 0xf8, 0]);
        assert_eq!(ParameterSets::from_config(Codec::H264, &format.config).unwrap(), sets);
        for cut in 0..format.config.len() - 4 {
            assert!(ParameterSets::from_config(Codec::H264, &format.config.slice(..cut)).is_err(), "{cut}");
        }
    }

    #[test]
    fn every_shortening_of_a_set_is_read_or_refused() {
        let whole = unhex(SPS_1080);
        for cut in 0..whole.len() {
            if let Ok(sps) = Sps::parse(&whole[..cut]) {
                assert_eq!((sps.width, sps.height), (1920, 1080), "cut at {cut}");
            }
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        // Baseline, then ue fields: sps id 0, frame number 0, order type 2, ref frames 0, gaps 0, width 2^16 blocks.
        let set = [0x67, 66, 0, 30, 0b1101_1100, 0b0000_0000, 0b0000_0000, 0b1000_0000, 0, 0, 0x80, 0x80];
        assert_eq!(Sps::parse(&set).unwrap_err().what(), "an impossible picture size");
        assert!(format(&ParameterSets::default()).is_err());
        let sps: Bytes = unhex(SPS_1080).into();
        let many = ParameterSets { vps: vec![], sps: vec![sps], pps: vec![Bytes::from_static(&[0x68]); 33] };
        assert!(format(&many).is_err());
    }
}
