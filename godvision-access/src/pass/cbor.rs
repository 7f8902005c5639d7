//! The part of CBOR (RFC 8949) that passes need: whole numbers, byte and text strings, arrays, maps, tags.
//!
//! The writer writes the deterministic encoding of RFC 8949, section 4.2.1, as long as its caller gives the keys of a map
//! in order. The reader never reads past its input and never allocates; it need not refuse what is not deterministic,
//! because a pass is written again from what was read and compared ([`super::cose`]).
//!
//! **Never:** indefinite lengths, floats, recursion.

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// Writes into a growing buffer.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The shortest head for `value`.
    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let major = major << 5;
        let bytes = value.to_be_bytes();
        let [.., b0, b1, b2, b3] = bytes;
        match value {
            0..24 => self.0.push(major | b3),
            24..0x100 => self.0.extend([major | 24, b3]),
            0x100..0x1_0000 => self.0.extend([major | 25, b2, b3]),
            0x1_0000..0x1_0000_0000 => self.0.extend([major | 26, b0, b1, b2, b3]),
            _ => {
                self.0.push(major | 27);
                self.0.extend(bytes);
            }
        }
        self
    }

    pub(super) fn integer(&mut self, value: i64) -> &mut Self {
        let head = if value < 0 { NEGATIVE } else { UNSIGNED };
        // The value -1 - n is written as n, which is the bitwise complement.
        let written = if value < 0 { !value } else { value };
        self.head(head, written.cast_unsigned())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(BYTES, bytes.len() as u64).0.extend(bytes);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.head(TEXT, text.len() as u64).0.extend(text.bytes());
        self
    }

    pub(super) fn array(&mut self, items: usize) -> &mut Self {
        self.head(ARRAY, items as u64)
    }

    pub(super) fn map(&mut self, pairs: usize) -> &mut Self {
        self.head(MAP, pairs as u64)
    }

    pub(super) fn tag(&mut self, tag: u64) -> &mut Self {
        self.head(TAG, tag)
    }
}

/// Reads from the front of a slice. Every method is `None` where something else stands, or nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// `Some` if nothing is left.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn head(&mut self) -> Option<(u8, u64)> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        let size = match first & 0x1f {
            value @ 0..24 => return Some((first >> 5, u64::from(value))),
            size @ 24..28 => 1 << (size - 24),
            _ => return None,
        };
        let value = self.take(size)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        Some((first >> 5, value))
    }

    /// The value of a head of this major type; nothing is taken where another stands.
    fn expect(&mut self, major: u8) -> Option<u64> {
        let before = *self;
        match self.head() {
            Some((found, value)) if found == major => Some(value),
            _ => {
                *self = before;
                None
            }
        }
    }

    pub(super) fn integer(&mut self) -> Option<i64> {
        if let Some(value) = self.expect(UNSIGNED) {
            return i64::try_from(value).ok();
        }
        self.expect(NEGATIVE).and_then(|value| i64::try_from(value).ok()).map(|value| !value)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.expect(BYTES)?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = self.expect(TEXT)?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    pub(super) fn array(&mut self) -> Option<u64> {
        self.expect(ARRAY)
    }

    pub(super) fn map(&mut self) -> Option<u64> {
        self.expect(MAP)
    }

    pub(super) fn tag(&mut self) -> Option<u64> {
        self.expect(TAG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl Fn(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::default();
        write(&mut writer);
        writer.into_bytes()
    }

    /// RFC 8949, appendix A.
    #[test]
    fn the_examples_of_rfc_8949() {
        for (value, expected) in [
            (0, &[0x00][..]),
            (23, &[0x17]),
            (24, &[0x18, 0x18]),
            (100, &[0x18, 0x64]),
            (1000, &[0x19, 0x03, 0xe8]),
            (1_000_000, &[0x1a, 0x00, 0x0f, 0x42, 0x40]),
            (1_000_000_000_000, &[0x1b, 0x00, 0x00, 0x00, 0xe8, 0xd4, 0xa5, 0x10, 0x00]),
            (-1, &[0x20]),
            (-100, &[0x38, 0x63]),
            (-1000, &[0x39, 0x03, 0xe7]),
        ] {
            assert_eq!(written(|it| _ = it.integer(value)), expected, "{value}");
            assert_eq!(Reader::new(expected).integer(), Some(value));
        }
        assert_eq!(written(|it| _ = it.bytes(&[1, 2, 3, 4])), [0x44, 1, 2, 3, 4]);
        assert_eq!(written(|it| _ = it.text("IETF")), b"\x64IETF");
        assert_eq!(written(|it| _ = it.array(2).integer(1).map(1).integer(2).integer(3)), [0x82, 1, 0xa1, 2, 3]);
        assert_eq!(written(|it| _ = it.tag(1).integer(1_363_896_240)), [0xc1, 0x1a, 0x51, 0x4b, 0x67, 0xb0]);
    }

    #[test]
    fn what_is_not_read_is_left() {
        let mut reader = Reader::new(&[0x62, b'a', b'b', 0x01]);
        assert_eq!((reader.integer(), reader.bytes(), reader.map()), (None, None, None));
        assert_eq!((reader.text(), reader.integer(), reader.end()), (Some("ab"), Some(1), Some(())));
        for cut in [&[0x18][..], &[0x62, b'a'], &[0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[0x5f], &[]] {
            let mut reader = Reader::new(cut);
            assert_eq!((reader.text(), reader.bytes(), reader.integer()), (None, None, None), "{cut:x?}");
        }
        assert_eq!(Reader::new(&[0x61, 0xff]).text(), None, "not UTF-8");
        assert_eq!(Reader::new(&[0x1b, 0xff, 0, 0, 0, 0, 0, 0, 0]).integer(), None, "beyond 63 bits");
    }

    proptest! {
        #[test]
        fn numbers_and_strings_survive(value: i64, bytes: Vec<u8>, text in "\\PC{0,70}") {
            let all = written(|it| _ = it.array(3).integer(value).bytes(&bytes).text(&text));
            let mut reader = Reader::new(&all);
            prop_assert_eq!(reader.array(), Some(3));
            prop_assert_eq!(reader.integer(), Some(value));
            prop_assert_eq!(reader.bytes(), Some(bytes.as_slice()));
            prop_assert_eq!(reader.text(), Some(text.as_str()));
            prop_assert_eq!(reader.end(), Some(()));
        }
    }
}
