//! The size of a JPEG image from its frame header. Source: ITU-T T.81 Annex B.

use nom::Parser as _;
use nom::bytes::complete::{tag, take};
use nom::number::complete::{be_u8, be_u16};
use nom::sequence::preceded;
use nom::{IResult, multi};

use super::{BitstreamError, checked_size};

/// Most marker segments before the frame header; real images have fewer than ten.
pub const SEGMENTS_MAX: usize = 64;

/// Width and height in pixels. Reads segment headers only, up to the frame header.
///
/// # Errors
/// [`BitstreamError`] if the image is cut short, has no frame header before its scan, or passes a limit.
pub fn size(image: &[u8]) -> Result<(u16, u16), BitstreamError> {
    let error = |what, rest: &[u8]| BitstreamError::new(what, image.len() - rest.len());
    let start: IResult<&[u8], &[u8]> = tag(&[0xff, 0xd8][..]).parse(image);
    let (mut rest, _) = start.map_err(|_| error("no start of an image", image))?;
    for _ in 0..SEGMENTS_MAX {
        let marker: IResult<&[u8], u8> =
            preceded((tag(&[0xff][..]), multi::many0_count(tag(&[0xff][..]))), be_u8).parse(rest);
        let (after, marker) = marker.map_err(|_| error("no marker where one must be", rest))?;
        let length: IResult<&[u8], u16> = be_u16.parse(after);
        let (after, length) = length.map_err(|_| error("an image cut short", rest))?;
        let body: IResult<&[u8], &[u8]> = take(usize::from(length.saturating_sub(2))).parse(after);
        let (after, body) = body.map_err(|_| error("an image cut short", rest))?;
        match (marker, body) {
            // SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC): precision, height, width.
            (0xc0..=0xcf, [_, h1, h0, w1, w0, ..]) if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let (width, height) = (u16::from_be_bytes([*w1, *w0]), u16::from_be_bytes([*h1, *h0]));
                return checked_size(width.into(), height.into(), image.len() - rest.len());
            }
            (0xda, _) => return Err(error("a scan before the frame header", rest)),
            _ => rest = after,
        }
    }
    Err(error("too many segments before the frame header", rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_stands_in_the_frame_header() {
        let image = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc0, 0, 9, 8, 2, 0xd0, 5, 0, 3, 0xff];
        assert_eq!(size(&image), Ok((1280, 720)));
        for cut in 0..image.len() - 2 {
            assert!(size(&image[..cut]).is_err());
        }
    }

    #[test]
    fn endless_headers_are_refused() {
        let mut image = vec![0xff, 0xd8];
        image.extend([0xff, 0xfe, 0, 2].repeat(SEGMENTS_MAX + 1));
        assert_eq!(size(&image).unwrap_err().what(), "too many segments before the frame header");
        assert!(size(&[0xff, 0xd8, 0xff, 0xda, 0, 2]).is_err());
    }
}
