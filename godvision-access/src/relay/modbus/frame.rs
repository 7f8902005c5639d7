//! Modbus requests and replies as bytes: the function codes that relay boards use, in both framings.
//!
//! Source: *MODBUS Application Protocol Specification* 1.1b3 (PDU, exceptions), *MODBUS Messaging on TCP/IP* 1.0b (the
//! seven bytes before the PDU) and *MODBUS over Serial Line* 1.02 (RTU: unit, PDU, CRC-16 with the low byte first).
//!
//! An own codec and not a library's, for two reasons: a write of a coil carries a 16-bit value, which boards use for
//! more than on and off while libraries offer a `bool`; and one value must serve TCP, RTU over TCP and a serial line.
//!
//! **Never:** IO, registers, a reply taken for the answer to another request.

/// Longest frame of either framing: 7 bytes and a PDU of 253.
pub const FRAME_BYTES_MAX: usize = 260;
/// Most coils or inputs that one request reads.
pub const BITS_MAX: u8 = 64;

/// The value that closes a contact (application protocol, 6.5).
pub const ON: u16 = 0xFF00;
/// The value that opens it.
pub const OFF: u16 = 0x0000;

const READ_COILS: u8 = 0x01;
const READ_INPUTS: u8 = 0x02;
const WRITE_COIL: u8 = 0x05;
const EXCEPTION: u8 = 0x80;
/// Transaction, protocol and length stand before the unit.
const PREFIX_BYTES: usize = 6;

/// How a PDU travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// With a transaction number and a length (Modbus TCP).
    Tcp,
    /// With a checksum (Modbus RTU), on a serial line or through a gateway that passes bytes on.
    Rtu,
}

/// What is asked of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// FC 01: contacts.
    ReadCoils {
        /// First coil.
        address: u16,
        /// How many, 1 to [`BITS_MAX`].
        count: u8,
    },
    /// FC 02: inputs.
    ReadInputs {
        /// First input.
        address: u16,
        /// How many, 1 to [`BITS_MAX`].
        count: u8,
    },
    /// FC 05: one contact. Standard values are [`ON`] and [`OFF`].
    WriteCoil {
        /// The coil.
        address: u16,
        /// What is written there.
        value: u16,
    },
}

/// What a board answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The bits read, the first in the lowest place.
    Bits(u64),
    /// The write was carried out.
    Written,
    /// The board refuses: an exception code of the specification, 7.
    Exception(u8),
}

/// Why bytes are not the reply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FrameFault {
    /// The checksum is another.
    #[error("the checksum is wrong")]
    Checksum,
    /// Not Modbus, or of an impossible length.
    #[error("it is no Modbus frame")]
    NoFrame,
    /// From another unit.
    #[error("another unit answers")]
    OtherUnit,
    /// To another request.
    #[error("it answers another request")]
    OtherRequest,
}

/// One request on its way: what has to come back is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exchange {
    /// How it travels.
    pub framing: Framing,
    /// Which board on the line, 1 to 247; 0 and 255 with [`Framing::Tcp`] as well.
    pub unit: u8,
    /// Counts requests; only [`Framing::Tcp`] carries it.
    pub transaction: u16,
    /// What is asked.
    pub request: Request,
}

impl Exchange {
    /// The bytes to send.
    pub fn request_bytes(&self) -> Vec<u8> {
        let (code, first, second) = match self.request {
            Request::ReadCoils { address, count } => (READ_COILS, address, u16::from(count)),
            Request::ReadInputs { address, count } => (READ_INPUTS, address, u16::from(count)),
            Request::WriteCoil { address, value } => (WRITE_COIL, address, value),
        };
        let mut bytes = Vec::with_capacity(12);
        if self.framing == Framing::Tcp {
            bytes.extend(self.transaction.to_be_bytes());
            bytes.extend([0, 0, 0, 6]);
        }
        bytes.extend([self.unit, code]);
        bytes.extend(first.to_be_bytes());
        bytes.extend(second.to_be_bytes());
        if self.framing == Framing::Rtu {
            bytes.extend(crc16(&bytes).to_le_bytes());
        }
        bytes
    }

    /// The reply in what was `received` so far; `None` while it is unfinished.
    ///
    /// # Errors
    /// [`FrameFault`]: more bytes will not mend it.
    pub fn reply(&self, received: &[u8]) -> Result<Option<Reply>, FrameFault> {
        match self.framing {
            Framing::Tcp => self.tcp_reply(received),
            Framing::Rtu => self.rtu_reply(received),
        }
    }

    fn tcp_reply(&self, received: &[u8]) -> Result<Option<Reply>, FrameFault> {
        let Some(([high, low, protocol @ .., length_high, length_low], rest)) =
            received.split_first_chunk::<PREFIX_BYTES>()
        else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
        if *protocol != [0, 0] || !(3..=FRAME_BYTES_MAX - PREFIX_BYTES).contains(&length) {
            return Err(FrameFault::NoFrame);
        }
        if u16::from_be_bytes([*high, *low]) != self.transaction {
            return Err(FrameFault::OtherRequest);
        }
        let Some((frame, after)) = rest.split_at_checked(length) else { return Ok(None) };
        let Some((unit, pdu)) = frame.split_first() else { return Err(FrameFault::NoFrame) };
        if !after.is_empty() {
            return Err(FrameFault::NoFrame);
        }
        self.pdu_reply(*unit, pdu).map(Some)
    }

    fn rtu_reply(&self, received: &[u8]) -> Result<Option<Reply>, FrameFault> {
        let [unit, code, ..] = received else { return Ok(None) };
        // An RTU frame has no length: it follows from the function, so anything but the two that may come is no frame.
        let pdu_bytes = match *code {
            code if code & EXCEPTION != 0 => 2,
            READ_COILS | READ_INPUTS => match received.get(2) {
                Some(count) => 2 + usize::from(*count),
                None => return Ok(None),
            },
            WRITE_COIL => 5,
            _ => return Err(FrameFault::NoFrame),
        };
        let Some((frame, rest)) = received.split_at_checked(1 + pdu_bytes) else { return Ok(None) };
        let Some((sum, after)) = rest.split_first_chunk::<2>() else { return Ok(None) };
        if !after.is_empty() || frame.len() > FRAME_BYTES_MAX {
            return Err(FrameFault::NoFrame);
        }
        if u16::from_le_bytes(*sum) != crc16(frame) {
            return Err(FrameFault::Checksum);
        }
        self.pdu_reply(*unit, frame.get(1..).unwrap_or_default()).map(Some)
    }

    fn pdu_reply(&self, unit: u8, pdu: &[u8]) -> Result<Reply, FrameFault> {
        if unit != self.unit {
            return Err(FrameFault::OtherUnit);
        }
        let code = match self.request {
            Request::ReadCoils { .. } => READ_COILS,
            Request::ReadInputs { .. } => READ_INPUTS,
            Request::WriteCoil { .. } => WRITE_COIL,
        };
        match (self.request, pdu) {
            (_, [answered, exception]) if *answered == code | EXCEPTION => Ok(Reply::Exception(*exception)),
            (_, [answered, ..]) if *answered != code => Err(FrameFault::OtherRequest),
            (Request::ReadCoils { count, .. } | Request::ReadInputs { count, .. }, [_, bytes, bits @ ..]) => {
                if bits.len() != usize::from(*bytes) || bits.len() != usize::from(count.div_ceil(8)) || bits.len() > 8 {
                    return Err(FrameFault::OtherRequest);
                }
                Ok(Reply::Bits(bits.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))))
            }
            (Request::WriteCoil { address, value }, [_, high, low, value_high, value_low]) => {
                let is_echo = u16::from_be_bytes([*high, *low]) == address
                    && u16::from_be_bytes([*value_high, *value_low]) == value;
                if is_echo { Ok(Reply::Written) } else { Err(FrameFault::OtherRequest) }
            }
            _ => Err(FrameFault::NoFrame),
        }
    }
}

/// CRC-16 of Modbus: polynomial 0xA001 (reflected), begun with 0xFFFF (serial line specification, 6.2.2).
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xA001 } else { sum >> 1 })
    })
}

/// The specification's name of an exception code.
pub fn exception_name(code: u8) -> &'static str {
    match code {
        0x01 => "illegal function",
        0x02 => "illegal data address",
        0x03 => "illegal data value",
        0x04 => "server device failure",
        0x05 => "acknowledge",
        0x06 => "server device busy",
        0x08 => "memory parity error",
        0x0A => "gateway path unavailable",
        0x0B => "gateway target device failed to respond",
        _ => "unknown exception",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rtu(request: Request) -> Exchange {
        Exchange { framing: Framing::Rtu, unit: 1, transaction: 0, request }
    }

    fn tcp(request: Request) -> Exchange {
        Exchange { framing: Framing::Tcp, unit: 1, transaction: 0x1501, request }
    }

    /// From the vendor's tables of the Modbus RTU Relay boards (development protocol V2).
    #[test]
    fn the_frames_of_the_vendors_tables() {
        for (request, bytes) in [
            (Request::WriteCoil { address: 0, value: ON }, [0x01, 0x05, 0x00, 0x00, 0xFF, 0x00, 0x8C, 0x3A]),
            (Request::WriteCoil { address: 0, value: OFF }, [0x01, 0x05, 0x00, 0x00, 0x00, 0x00, 0xCD, 0xCA]),
            (Request::WriteCoil { address: 0x0200, value: 7 }, [0x01, 0x05, 0x02, 0x00, 0x00, 0x07, 0x8D, 0xB0]),
            (Request::ReadCoils { address: 0, count: 8 }, [0x01, 0x01, 0x00, 0x00, 0x00, 0x08, 0x3D, 0xCC]),
        ] {
            assert_eq!(rtu(request).request_bytes(), bytes, "{request:?}");
            if let Request::WriteCoil { .. } = request {
                assert_eq!(rtu(request).reply(&bytes), Ok(Some(Reply::Written)), "a write is echoed");
            }
        }
    }

    #[test]
    fn the_frame_of_modbus_tcp() {
        let exchange = tcp(Request::ReadCoils { address: 4, count: 1 });
        assert_eq!(exchange.request_bytes(), [0x15, 0x01, 0, 0, 0, 6, 1, 1, 0, 4, 0, 1]);
        assert_eq!(exchange.reply(&[0x15, 0x01, 0, 0, 0, 4, 1, 1, 1, 1]), Ok(Some(Reply::Bits(1))));
        assert_eq!(exchange.reply(&[0x15, 0x01, 0, 0, 0, 3, 1, 0x81, 4]), Ok(Some(Reply::Exception(4))));
    }

    #[test]
    fn what_answers_something_else_is_no_reply() {
        let exchange = tcp(Request::ReadCoils { address: 0, count: 9 });
        let whole = [0x15, 0x01, 0, 0, 0, 5, 1, 1, 2, 0x34, 0x01];
        assert_eq!(exchange.reply(&whole), Ok(Some(Reply::Bits(0x134))));
        for (at, value, fault) in [
            (0, 0x16, FrameFault::OtherRequest),
            (2, 1, FrameFault::NoFrame),
            (5, 2, FrameFault::NoFrame),
            (5, 255, FrameFault::NoFrame),
            (6, 2, FrameFault::OtherUnit),
            (7, 2, FrameFault::OtherRequest),
            (7, 0x82, FrameFault::OtherRequest),
            (8, 1, FrameFault::OtherRequest),
        ] {
            let mut bytes = whole;
            bytes[at] = value;
            assert_eq!(exchange.reply(&bytes), Err(fault), "byte {at}");
        }
        let write = rtu(Request::WriteCoil { address: 1, value: ON });
        let other = rtu(Request::WriteCoil { address: 2, value: ON }).request_bytes();
        assert_eq!(write.reply(&other), Err(FrameFault::OtherRequest), "the echo of another coil");
        let mut damaged = write.request_bytes();
        damaged[6] ^= 1;
        assert_eq!(write.reply(&damaged), Err(FrameFault::Checksum));
        assert_eq!(write.reply(&[1, 3, 0]), Err(FrameFault::NoFrame));
        let longer = [write.request_bytes(), vec![0]].concat();
        assert_eq!(write.reply(&longer), Err(FrameFault::NoFrame));
    }

    #[test]
    fn unfinished_replies_wait() {
        for exchange in
            [tcp(Request::ReadInputs { address: 0, count: 8 }), rtu(Request::ReadInputs { address: 0, count: 8 })]
        {
            let whole = match exchange.framing {
                Framing::Tcp => vec![0x15, 0x01, 0, 0, 0, 4, 1, 2, 1, 0x81],
                Framing::Rtu => [vec![1, 2, 1, 0x81], crc16(&[1, 2, 1, 0x81]).to_le_bytes().to_vec()].concat(),
            };
            for length in 0..whole.len() {
                assert_eq!(exchange.reply(&whole[..length]), Ok(None), "{length} bytes");
            }
            assert_eq!(exchange.reply(&whole), Ok(Some(Reply::Bits(0x81))));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), count in 1..=BITS_MAX) {
            for request in [Request::ReadCoils { address: 0, count }, Request::WriteCoil { address: 0, value: ON }] {
                let _ = rtu(request).reply(&bytes);
                let _ = tcp(request).reply(&bytes);
            }
        }
    }
}
