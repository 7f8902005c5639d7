//! Bits of a parameter set: fixed-width fields and exponential-Golomb codes over an unescaped payload.
//! Source: ITU-T H.264 clauses 7.2 and 9.1; the same in H.265.

use nom::IResult;

use super::{BitstreamError, PARAMETER_SET_BYTES_MAX};

/// Takes the emulation prevention bytes out of a NAL unit (`00 00 03` becomes `00 00`).
pub(super) fn unescaped(unit: &[u8]) -> Result<Vec<u8>, BitstreamError> {
    if unit.len() > PARAMETER_SET_BYTES_MAX {
        return Err(BitstreamError::new("a parameter set of impossible length", 0));
    }
    let mut payload = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        payload.push(byte);
    }
    Ok(payload)
}

/// Reads from the first bit to the last, remembering where it is for errors.
#[derive(Clone)]
pub(super) struct Bits<'a> {
    at: (&'a [u8], usize),
    total: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { at: (payload, 0), total: payload.len() }
    }

    /// Where reading stands, in bytes.
    pub(super) fn byte(&self) -> usize {
        self.total - self.at.0.len()
    }

    pub(super) fn error(&self, what: &'static str) -> BitstreamError {
        BitstreamError::new(what, self.byte())
    }

    /// `count` bits, at most 32, as a number.
    pub(super) fn bits(&mut self, count: usize) -> Result<u32, BitstreamError> {
        let parsed: IResult<(&[u8], usize), u64> = nom::bits::complete::take(count)(self.at);
        let (rest, value) = parsed.map_err(|_| self.error("a parameter set cut short"))?;
        self.at = rest;
        u32::try_from(value).map_err(|_| self.error("a field wider than 32 bits"))
    }

    pub(super) fn flag(&mut self) -> Result<bool, BitstreamError> {
        Ok(self.bits(1)? == 1)
    }

    pub(super) fn skip(&mut self, mut count: usize) -> Result<(), BitstreamError> {
        while count > 0 {
            let step = count.min(32);
            self.bits(step)?;
            count -= step;
        }
        Ok(())
    }

    /// Unsigned exponential-Golomb, `ue(v)`.
    pub(super) fn unsigned(&mut self) -> Result<u32, BitstreamError> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(self.error("a number longer than 32 bits"));
            }
        }
        let rest = self.bits(zeros)?;
        Ok(((1u64 << zeros) - 1) as u32 + rest)
    }

    /// Unsigned exponential-Golomb that may not pass `max`.
    pub(super) fn unsigned_to(&mut self, max: u32, what: &'static str) -> Result<u32, BitstreamError> {
        let value = self.unsigned()?;
        if value > max { Err(self.error(what)) } else { Ok(value) }
    }

    /// Signed exponential-Golomb, `se(v)`.
    pub(super) fn signed(&mut self) -> Result<i64, BitstreamError> {
        let code = i64::from(self.unsigned()?);
        Ok(if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_golomb_codes_follow_table_9_2() {
        // 1, 010, 011, 00100, 00111 = 0, 1, 2, 3, 6
        let data = [0b1010_0110, 0b0100_0011, 0b1000_0000];
        let mut bits = Bits::new(&data);
        assert_eq!([0; 5].map(|_| bits.unsigned().unwrap()), [0, 1, 2, 3, 6]);
        let mut bits = Bits::new(&data);
        assert_eq!([0; 5].map(|_| bits.signed().unwrap()), [0, 1, -1, 2, -3]);
    }

    #[test]
    fn a_number_of_many_zeros_is_refused() {
        assert!(Bits::new(&[0; 16]).unsigned().is_err());
        assert!(Bits::new(&[]).flag().is_err());
        // The largest that fits: 31 zeros, 1, 31 ones.
        let data = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe];
        assert_eq!(Bits::new(&data).unsigned().unwrap(), u32::MAX - 1);
    }

    #[test]
    fn escapes_are_taken_out() {
        assert_eq!(unescaped(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3]).unwrap(), [1, 0, 0, 1, 0, 0, 0, 0]);
        assert!(unescaped(&vec![1; PARAMETER_SET_BYTES_MAX + 1]).is_err());
    }
}
