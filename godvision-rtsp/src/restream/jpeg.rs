//! JPEG images as RFC 2435 sends them: the entropy-coded scan, with the rest of the image told in a few header bytes.
//!
//! The receiver rebuilds the image's headers from the type, the size in blocks and the quantisation tables, with the
//! standard Huffman tables of ITU-T T.81 annex K. An image that does not fit this form (progressive, other Huffman
//! tables, other sampling, over 2040 pixels a side) cannot be sent and is refused with the reason.
//!
//! **Never:** recompression.

use bytes::Bytes;

/// Largest side in pixels: RFC 2435 counts blocks of 8 in one byte.
pub const SIDE_PIXELS_MAX: usize = 2040;

/// Why an image cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JpegError {
    /// No JPEG, or cut off.
    #[error("the JPEG image is damaged at byte {offset}")]
    Damaged {
        /// Where reading stopped.
        offset: usize,
    },
    /// A side over [`SIDE_PIXELS_MAX`], or 0.
    #[error("a JPEG image of {width}x{height} cannot be sent by RFC 2435 (at most {SIDE_PIXELS_MAX} pixels a side)")]
    Size {
        /// Width in pixels.
        width: u16,
        /// Height in pixels.
        height: u16,
    },
    /// Not a baseline image of three components in one scan with 4:2:0 or 4:2:2 sampling.
    #[error("the JPEG image's coding cannot be sent by RFC 2435: set the camera to baseline 4:2:0 or 4:2:2")]
    Coding,
    /// Not the standard Huffman tables.
    #[error("the JPEG image has its own Huffman tables, which RFC 2435 cannot send: switch table optimisation off")]
    HuffmanTables,
}

/// The parts of an image that travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JpegScan {
    /// 0 is 4:2:2, 1 is 4:2:0; 64 more with restart markers.
    kind: u8,
    width_blocks: u8,
    height_blocks: u8,
    restart_interval: u16,
    /// Luma and chroma quantisation tables in zigzag order.
    tables: [u8; 128],
    /// Entropy-coded bytes.
    pub(crate) data: Bytes,
}

impl JpegScan {
    /// Finds the parts of `image`.
    pub(crate) fn parse(image: &Bytes) -> Result<Self, JpegError> {
        let mut quantisation: [Option<[u8; 64]>; 4] = [None; 4];
        let mut frame: Option<Frame> = None;
        let mut restart_interval = 0;
        let damaged = |offset| JpegError::Damaged { offset };
        if image.get(..2) != Some(&[0xff, 0xd8]) {
            return Err(damaged(0));
        }
        let mut offset = 2;
        loop {
            // Fill bytes may stand before a marker.
            let marker = match image.get(offset..offset + 2) {
                Some([0xff, 0xff]) => {
                    offset += 1;
                    continue;
                }
                Some([0xff, marker]) => *marker,
                _ => return Err(damaged(offset)),
            };
            let length = image.get(offset + 2..).and_then(|rest| rest.first_chunk::<2>()).ok_or(damaged(offset))?;
            let end = offset + 2 + usize::from(u16::from_be_bytes(*length));
            let body = image.get(offset + 4..end).ok_or(damaged(offset))?;
            match marker {
                0xdb => read_tables(body, &mut quantisation).ok_or(damaged(offset))?,
                0xc0 => frame = Some(Frame::parse(body).ok_or(damaged(offset))?),
                0xc1..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Err(JpegError::Coding),
                0xc4 => check_huffman(body).ok_or(JpegError::HuffmanTables)?,
                0xdd => {
                    let [high, low] = *body.first_chunk::<2>().ok_or(damaged(offset))?;
                    restart_interval = u16::from_be_bytes([high, low]);
                }
                0xda => {
                    if body.first() != Some(&3) {
                        return Err(JpegError::Coding);
                    }
                    let frame = frame.ok_or(damaged(offset))?;
                    return Self::assemble(frame, &quantisation, restart_interval, image.slice(end..));
                }
                _ => {}
            }
            offset = end;
        }
    }

    fn assemble(
        frame: Frame,
        quantisation: &[Option<[u8; 64]>; 4],
        restart_interval: u16,
        rest: Bytes,
    ) -> Result<Self, JpegError> {
        let Frame { width, height, components: [luma, cb, cr] } = frame;
        let side = |pixels: u16| u8::try_from(usize::from(pixels).div_ceil(8)).ok().filter(|blocks| *blocks > 0);
        let size = JpegError::Size { width, height };
        let (width_blocks, height_blocks) = (side(width).ok_or(size)?, side(height).ok_or(size)?);
        let kind = match (luma.sampling, cb.sampling, cr.sampling) {
            (0x21, 0x11, 0x11) => 0,
            (0x22, 0x11, 0x11) => 1,
            _ => return Err(JpegError::Coding),
        };
        if cb.table != cr.table {
            return Err(JpegError::Coding);
        }
        let table = |index: u8| quantisation.get(usize::from(index)).copied().flatten().ok_or(JpegError::Coding);
        let mut tables = [0; 128];
        let (first, second) = tables.split_at_mut(64);
        first.copy_from_slice(&table(luma.table)?);
        second.copy_from_slice(&table(cb.table)?);
        // What follows the scan (EOI, padding) is the receiver's to add.
        let end = rest.windows(2).rposition(|pair| pair == [0xff, 0xd9]).unwrap_or(rest.len());
        let data = rest.slice(..end);
        if data.is_empty() {
            return Err(JpegError::Damaged { offset: 0 });
        }
        let kind = if restart_interval == 0 { kind } else { kind + 64 };
        Ok(Self { kind, width_blocks, height_blocks, restart_interval, tables, data })
    }

    /// RFC 2435 headers of the packet that starts at `offset` of the scan.
    pub(crate) fn header(&self, offset: usize) -> Vec<u8> {
        let mut header = Vec::with_capacity(8 + 4 + 4 + 128);
        let [_, a, b, c] = (offset as u32).to_be_bytes();
        // Q 255: the tables travel in the first packet of every frame.
        header.extend([0, a, b, c, self.kind, 255, self.width_blocks, self.height_blocks]);
        if self.restart_interval != 0 {
            header.extend(self.restart_interval.to_be_bytes());
            // First and last set, count 0x3fff: the frame is one whole.
            header.extend([0xff, 0xff]);
        }
        if offset == 0 {
            header.extend([0, 0, 0, 128]);
            header.extend(self.tables);
        }
        header
    }
}

#[derive(Clone, Copy)]
struct Component {
    sampling: u8,
    table: u8,
}

#[derive(Clone, Copy)]
struct Frame {
    width: u16,
    height: u16,
    components: [Component; 3],
}

impl Frame {
    /// SOF0: precision, height, width, then id, sampling and table of each component.
    fn parse(body: &[u8]) -> Option<Self> {
        let [8, h0, h1, w0, w1, 3, _, s0, t0, _, s1, t1, _, s2, t2] = *body.first_chunk::<15>()? else { return None };
        let component = |sampling, table| Component { sampling, table };
        Some(Self {
            width: u16::from_be_bytes([w0, w1]),
            height: u16::from_be_bytes([h0, h1]),
            components: [component(s0, t0), component(s1, t1), component(s2, t2)],
        })
    }
}

/// DQT: any number of tables of 8-bit entries.
fn read_tables(mut body: &[u8], tables: &mut [Option<[u8; 64]>; 4]) -> Option<()> {
    while let Some((&head, rest)) = body.split_first() {
        let (entries, rest) = rest.split_first_chunk::<64>()?;
        // The high half is the precision: 16-bit tables are not baseline.
        *tables.get_mut(usize::from(head))? = Some(*entries);
        body = rest;
    }
    Some(())
}

/// DHT: every table must be the standard one of its class and place.
fn check_huffman(mut body: &[u8]) -> Option<()> {
    while let Some((&head, rest)) = body.split_first() {
        let (counts, rest) = rest.split_first_chunk::<16>()?;
        let symbols = counts.iter().map(|count| usize::from(*count)).sum();
        let (values, rest) = rest.split_at_checked(symbols)?;
        let (standard_counts, standard_values): (&[u8; 16], &[u8]) = match head {
            0x00 => (&DC_LUMA_COUNTS, &DC_VALUES),
            0x01 => (&DC_CHROMA_COUNTS, &DC_VALUES),
            0x10 => (&AC_LUMA_COUNTS, &AC_LUMA_VALUES),
            0x11 => (&AC_CHROMA_COUNTS, &AC_CHROMA_VALUES),
            _ => return None,
        };
        if counts != standard_counts || values != standard_values {
            return None;
        }
        body = rest;
    }
    Some(())
}

// ITU-T T.81 annex K.3: codes of each length from 1 to 16 bits, and their symbols.
const DC_VALUES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
const DC_LUMA_COUNTS: [u8; 16] = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
const DC_CHROMA_COUNTS: [u8; 16] = [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0];
const AC_LUMA_COUNTS: [u8; 16] = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d];
const AC_CHROMA_COUNTS: [u8; 16] = [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77];
#[rustfmt::skip]
const AC_LUMA_VALUES: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
    0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
    0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];
#[rustfmt::skip]
const AC_CHROMA_VALUES: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
    0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
    0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
    0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers of an image; the scan is four bytes.
    fn image(width: u16, height: u16, sampling: u8, more: &[u8]) -> Vec<u8> {
        let mut image = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2];
        for table in [0, 1] {
            image.extend([0xff, 0xdb, 0, 67, table]);
            image.extend([table + 1; 64]);
        }
        image.extend(more);
        image.extend([0xff, 0xff, 0xc0, 0, 17, 8]);
        image.extend(height.to_be_bytes());
        image.extend(width.to_be_bytes());
        image.extend([3, 1, sampling, 0, 2, 0x11, 1, 3, 0x11, 1]);
        image.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0, 1, 2, 3, 4, 0xff, 0xd9, 0, 0]);
        image
    }

    fn parse(image: Vec<u8>) -> Result<JpegScan, JpegError> {
        JpegScan::parse(&Bytes::from(image))
    }

    #[test]
    fn headers_tell_size_sampling_tables_and_restarts() {
        let scan = parse(image(641, 480, 0x22, &[])).unwrap();
        assert_eq!(&scan.data[..], [1, 2, 3, 4], "without what follows the scan");
        let first = scan.header(0);
        assert_eq!(first[..12], [0, 0, 0, 0, 1, 255, 81, 60, 0, 0, 0, 128]);
        assert_eq!((first[12], first[12 + 64], first.len()), (1, 2, 140));
        assert_eq!(scan.header(0x01_02_03), [0, 1, 2, 3, 1, 255, 81, 60]);
        let scan = parse(image(16, 16, 0x21, &[0xff, 0xdd, 0, 4, 0, 9])).unwrap();
        assert_eq!(scan.header(5), [0, 0, 0, 5, 64, 255, 2, 2, 0, 9, 0xff, 0xff]);
    }

    #[test]
    fn what_rfc_2435_cannot_carry_is_refused_with_the_reason() {
        assert_eq!(parse(image(2041, 16, 0x22, &[])), Err(JpegError::Size { width: 2041, height: 16 }));
        assert_eq!(parse(image(16, 0, 0x22, &[])), Err(JpegError::Size { width: 16, height: 0 }));
        assert_eq!(parse(image(16, 16, 0x11, &[])), Err(JpegError::Coding));
        assert_eq!(parse(image(16, 16, 0x22, &[0xff, 0xc2, 0, 2])), Err(JpegError::Coding), "progressive");
        let mut table = vec![0xff, 0xc4, 0, 20, 0, 1];
        table.extend([0; 15]);
        table.push(5);
        assert_eq!(parse(image(16, 16, 0x22, &table)), Err(JpegError::HuffmanTables));
    }

    #[test]
    fn damaged_images_are_refused() {
        let whole = image(16, 16, 0x22, &[]);
        let scan_at = whole.len() - 8;
        for cut in 0..scan_at {
            assert!(parse(whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        assert!(parse(vec![0xff; 4000]).is_err());
    }
}
