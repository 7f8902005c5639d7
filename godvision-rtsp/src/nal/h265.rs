//! H.265: unit types, the sequence parameter set, the `hvcC` record and the `hvc1` name.
//!
//! Source: ITU-T H.265 clauses 7.3.1.2, 7.3.2.2 and 7.3.3; ISO/IEC 14496-15 clause 8.3.3.1 and Annex E (names).
//!
//! **Never:** the usability information (it lies behind reference sets and scaling lists, and nothing here needs it).

use bytes::Bytes;
use godvision_core::signal::media::{Codec, VideoFormat};

use super::bits::{Bits, unescaped};
use super::{BitstreamError, PARAMETER_SET_BYTES_MAX, PARAMETER_SETS_MAX, ParameterSets, SIDE_PIXELS_MAX};
use super::{checked_size, counted_sets, h264::push_set, one_byte, skip_bytes};

/// What a NAL unit carries, as far as this crate cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnitType {
    /// A slice of a picture that needs others (types 0 to 15).
    Slice(u8),
    /// A slice of a picture where decoding may start (types 16 to 23: BLA, IDR, CRA).
    RandomAccess(u8),
    /// Video parameter set (32).
    Vps,
    /// Sequence parameter set (33).
    Sps,
    /// Picture parameter set (34).
    Pps,
    /// Access unit delimiter (35).
    Delimiter,
    /// Supplemental information (39, 40).
    Sei,
    /// Anything else.
    Other(u8),
}

impl UnitType {
    /// Of a unit with its two header bytes first; `None` if it is shorter or its forbidden bit is set.
    pub fn of(unit: &[u8]) -> Option<Self> {
        let [header, _, ..] = unit else { return None };
        (header & 0x80 == 0).then_some(match header >> 1 {
            slice @ 0..=15 => Self::Slice(slice),
            start @ 16..=23 => Self::RandomAccess(start),
            32 => Self::Vps,
            33 => Self::Sps,
            34 => Self::Pps,
            35 => Self::Delimiter,
            39 | 40 => Self::Sei,
            other => Self::Other(other),
        })
    }

    /// Whether decoding may start at this slice.
    pub fn is_random_access(self) -> bool {
        matches!(self, Self::RandomAccess(_))
    }
}

/// What a sequence parameter set says about the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sps {
    /// `general_profile_space`, 0 to 3.
    pub profile_space: u8,
    /// Whether the High tier applies.
    pub high_tier: bool,
    /// `general_profile_idc`: 1 Main, 2 Main 10, ...
    pub profile: u8,
    /// Compatibility flags, the first in the highest bit.
    pub compatibility: u32,
    /// The 6 bytes of constraint flags.
    pub constraints: [u8; 6],
    /// `general_level_idc`: thirty times the level.
    pub level: u8,
    /// Temporal layers, 1 to 7.
    pub temporal_layers: u8,
    /// Whether a switch up in temporal layers is always allowed.
    pub temporal_nesting: bool,
    /// Chroma format: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits of a luma sample, 8 to 16.
    pub luma_bits: u8,
    /// Bits of a chroma sample, 8 to 16.
    pub chroma_bits: u8,
    /// Shown luma width in pixels, after cropping.
    pub width: u16,
    /// Shown luma height in pixels, after cropping.
    pub height: u16,
    /// Pictures that may precede another in decoding and follow it in output.
    pub reorder_frames: u8,
}

impl Sps {
    /// Reads one unit with its two header bytes.
    ///
    /// # Errors
    /// [`BitstreamError`] if it is no SPS, cut short, or says something impossible.
    pub fn parse(unit: &[u8]) -> Result<Self, BitstreamError> {
        if UnitType::of(unit) != Some(UnitType::Sps) {
            return Err(BitstreamError::new("a unit that is no sequence parameter set", 0));
        }
        let payload = unescaped(unit)?;
        let mut bits = Bits::new(&payload);
        bits.skip(16 + 4)?;
        let layers_below = bits.bits(3)? as u8;
        if layers_below > 6 {
            return Err(bits.error("too many temporal layers"));
        }
        let temporal_nesting = bits.flag()?;
        let profile_space = bits.bits(2)? as u8;
        let high_tier = bits.flag()?;
        let profile = bits.bits(5)? as u8;
        let compatibility = bits.bits(32)?;
        let mut constraints = [0; 6];
        for byte in &mut constraints {
            *byte = bits.bits(8)? as u8;
        }
        let level = bits.bits(8)? as u8;
        skip_layer_levels(&mut bits, layers_below)?;
        bits.unsigned_to(15, "an impossible parameter set number")?;
        let chroma_format = bits.unsigned_to(3, "an impossible chroma format")? as u8;
        let separate_planes = chroma_format == 3 && bits.flag()?;
        let width = bits.unsigned_to(SIDE_PIXELS_MAX, "an impossible picture size")?;
        let height = bits.unsigned_to(SIDE_PIXELS_MAX, "an impossible picture size")?;
        let (mut cut_x, mut cut_y) = (0, 0);
        if bits.flag()? {
            let [left, right, top, bottom] =
                [0; 4].map(|_| bits.unsigned_to(SIDE_PIXELS_MAX, "an impossible cropping"));
            let chroma = if separate_planes { 0 } else { chroma_format };
            cut_x = (left? + right?) * if matches!(chroma, 1 | 2) { 2 } else { 1 };
            cut_y = (top? + bottom?) * if chroma == 1 { 2 } else { 1 };
        }
        let (width, height) = checked_size(width.saturating_sub(cut_x), height.saturating_sub(cut_y), bits.byte())?;
        let luma_bits = 8 + bits.unsigned_to(8, "an impossible bit depth")? as u8;
        let chroma_bits = 8 + bits.unsigned_to(8, "an impossible bit depth")? as u8;
        bits.unsigned_to(12, "an impossible picture order length")?;
        let first_layer = if bits.flag()? { 0 } else { layers_below };
        let mut reorder_frames = 0;
        for _ in first_layer..=layers_below {
            bits.unsigned()?;
            reorder_frames = bits.unsigned_to(16, "an impossible reordering depth")? as u8;
            bits.unsigned()?;
        }
        Ok(Self {
            profile_space,
            high_tier,
            profile,
            compatibility,
            constraints,
            level,
            temporal_layers: layers_below + 1,
            temporal_nesting,
            chroma_format,
            luma_bits,
            chroma_bits,
            width,
            height,
            reorder_frames,
        })
    }

    /// ISO/IEC 14496-15 Annex E: `hvc1.1.6.L93.B0`.
    pub fn codec_name(&self) -> String {
        let space = ["", "A", "B", "C"].get(usize::from(self.profile_space)).copied().unwrap_or_default();
        let tier = if self.high_tier { 'H' } else { 'L' };
        let compatibility = self.compatibility.reverse_bits();
        let mut name = format!("hvc1.{space}{}.{compatibility:X}.{tier}{}", self.profile, self.level);
        let used = self.constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for byte in self.constraints.iter().take(used) {
            name.push_str(&format!(".{byte:X}"));
        }
        name
    }
}

fn skip_layer_levels(bits: &mut Bits<'_>, layers_below: u8) -> Result<(), BitstreamError> {
    let mut present = [(false, false); 8];
    for layer in present.iter_mut().take(usize::from(layers_below)) {
        *layer = (bits.flag()?, bits.flag()?);
    }
    if layers_below > 0 {
        bits.skip(usize::from(8 - layers_below) * 2)?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Ok(())
}

/// The format of a stream with these parameter sets.
///
/// # Errors
/// [`BitstreamError`] if a kind of set is missing, the first SPS cannot be read, or a limit is passed.
pub fn format(sets: &ParameterSets) -> Result<VideoFormat, BitstreamError> {
    let first = sets.sps.first().ok_or(BitstreamError::new("no sequence parameter set", 0))?;
    let sps = Sps::parse(first)?;
    Ok(VideoFormat {
        codec: Codec::H265,
        width: sps.width,
        height: sps.height,
        codec_name: sps.codec_name(),
        config: config(&sps, sets)?,
    })
}

/// The `hvcC` body for these parameter sets, lengths of 4 bytes.
fn config(sps: &Sps, sets: &ParameterSets) -> Result<Bytes, BitstreamError> {
    let kinds = [(32u8, &sets.vps), (33, &sets.sps), (34, &sets.pps)];
    for (_, kind) in kinds {
        let fits = kind.iter().all(|set| set.len() <= PARAMETER_SET_BYTES_MAX);
        if !fits || !(1..=PARAMETER_SETS_MAX).contains(&kind.len()) {
            return Err(BitstreamError::new("a kind of parameter set is missing, or there are too many", 0));
        }
    }
    let mut record = vec![1, sps.profile_space << 6 | u8::from(sps.high_tier) << 5 | sps.profile];
    record.extend(sps.compatibility.to_be_bytes());
    record.extend(sps.constraints);
    record.push(sps.level);
    // Segmentation and parallelism unknown (0), average frame rate unspecified (0).
    record.extend([0xf0, 0, 0xfc, 0xfc | sps.chroma_format]);
    record.extend([0xf8 | ((sps.luma_bits - 8) & 7), 0xf8 | ((sps.chroma_bits - 8) & 7), 0, 0]);
    record.push(sps.temporal_layers << 3 | u8::from(sps.temporal_nesting) << 2 | 3);
    record.push(kinds.len() as u8);
    for (unit_type, kind) in kinds {
        // The highest bit promises that no such set travels inside the frames.
        record.push(0x80 | unit_type);
        record.extend((kind.len() as u16).to_be_bytes());
        for set in kind {
            push_set(&mut record, set);
        }
    }
    Ok(record.into())
}

/// The parameter sets in an `hvcC` body.
pub(super) fn parse_config(record: &Bytes) -> Result<ParameterSets, BitstreamError> {
    let total = record.len();
    let (at, version) = one_byte(record, total)?;
    if version != 1 {
        return Err(BitstreamError::new("a record of an unknown version", 0));
    }
    let at = skip_bytes(at, 20, total)?;
    let (at, lengths) = one_byte(at, total)?;
    if lengths & 3 != 3 {
        return Err(BitstreamError::new("lengths that are not 4 bytes", 21));
    }
    let (mut at, arrays) = one_byte(at, total)?;
    let mut sets = ParameterSets::default();
    let mut others = Vec::new();
    for _ in 0..arrays {
        let (rest, unit_type) = one_byte(at, total)?;
        let (rest, high) = one_byte(rest, total)?;
        let (rest, low) = one_byte(rest, total)?;
        let into = match unit_type & 0x3f {
            32 => &mut sets.vps,
            33 => &mut sets.sps,
            34 => &mut sets.pps,
            _ => &mut others,
        };
        at = counted_sets(record, rest, usize::from(u16::from_be_bytes([high, low])), into)?;
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[i * 2..][..2], 16).unwrap()).collect()
    }

    /// x265, 1920x1080 Main@4.0, cropped from 1088 lines (parameter sets of our own clip).
    pub(crate) const VPS_1080: &str = "40010c01ffff016000000300900000030000030078ba0240";
    pub(crate) const SPS_1080: &str =
        "420101016000000300900000030000030078a003c0801107cb96e92930bc05a808080f08000003000800000300c840";
    pub(crate) const PPS_1080: &str = "4401c073c189";

    fn sets() -> ParameterSets {
        let one = |text| vec![Bytes::from(unhex(text))];
        ParameterSets { vps: one(VPS_1080), sps: one(SPS_1080), pps: one(PPS_1080) }
    }

    #[test]
    fn the_shown_size_is_after_cropping() {
        let sps = Sps::parse(&unhex(SPS_1080)).unwrap();
        assert_eq!((sps.width, sps.height, sps.profile, sps.level), (1920, 1080, 1, 120));
        assert_eq!((sps.chroma_format, sps.luma_bits, sps.reorder_frames), (1, 8, 0));
        assert_eq!(sps.codec_name(), "hvc1.1.6.L120.90");
    }

    #[test]
    fn a_record_gives_back_its_sets() {
        let format = format(&sets()).unwrap();
        assert_eq!(format.config[..2], [1, 1]);
        assert_eq!(ParameterSets::from_config(Codec::H265, &format.config).unwrap(), sets());
        for cut in 0..format.config.len() {
            assert!(ParameterSets::from_config(Codec::H265, &format.config.slice(..cut)).is_err(), "{cut}");
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
    fn a_missing_kind_of_set_is_refused() {
        for missing in 0..3 {
            let mut sets = sets();
            [&mut sets.vps, &mut sets.sps, &mut sets.pps][missing].clear();
            assert!(format(&sets).is_err());
        }
    }

    #[test]
    fn random_access_units_are_told_apart() {
        assert!(UnitType::of(&[0x26, 1]).unwrap().is_random_access(), "IDR_W_RADL");
        assert!(UnitType::of(&[0x2a, 1]).unwrap().is_random_access(), "CRA");
        assert!(!UnitType::of(&[0x02, 1]).unwrap().is_random_access(), "TRAIL_R");
        assert_eq!(UnitType::of(&[0x26]), None);
        assert_eq!(UnitType::of(&[0xa6, 1]), None);
    }
}
