//! The messages of ESPHome's native API that a relay needs, in the encoding of Protocol Buffers.
//!
//! Source: `api.proto` of ESPHome. A message of another type, and a field of another number, means nothing here: devices
//! send many.
//!
//! **Never:** the messages of any other entity than switches, buttons and binary sensors.

use super::frame::{Packet, push_varint, take_varint};

/// Longest name of an entity that is read, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// What kind of entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// On or off.
    Switch,
    /// Can be pressed.
    Button,
    /// Open or closed, told only.
    BinarySensor,
}

/// What the client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Say {
    /// Who it is.
    Hello,
    /// Logs in, with no password: devices before 2026.1 wait for it, later ones ignore it.
    Login,
    /// Asks for the entities.
    List,
    /// Asks for all states, now and when they change.
    Subscribe,
    /// Switches.
    Switch {
        /// The entity.
        key: u32,
        /// To on or off.
        is_on: bool,
    },
    /// Presses a button.
    Press {
        /// The entity.
        key: u32,
    },
    /// Asks for a [`Said::Pong`]: what was said before has been done then.
    Ping,
    /// Answers a ping.
    Pong,
    /// Leaves.
    Goodbye,
}

/// What the device says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Who it is, and the major version of its API.
    Hello {
        /// 1 is known here.
        major: u64,
    },
    /// Whether the login was refused.
    Login {
        /// The device wants a password.
        is_refused: bool,
    },
    /// It has this entity.
    Entity {
        /// What it is.
        kind: Kind,
        /// Its number in commands and states.
        key: u32,
        /// Its id, as its configuration or its name gives it.
        id: String,
    },
    /// There are no more entities.
    ListEnds,
    /// The state of a switch or a binary sensor.
    State {
        /// What it is.
        kind: Kind,
        /// The entity.
        key: u32,
        /// On or off; `None` while it is not known.
        is_on: Option<bool>,
    },
    /// Answers a ping.
    Pong,
    /// Wants a pong.
    Ping,
    /// Closes the connection.
    Goodbye,
    /// Something that means nothing here.
    Other,
}

impl Say {
    /// Type and body.
    pub fn packet(self) -> Packet {
        let mut body = Vec::new();
        let kind = match self {
            Self::Hello => {
                push_bytes(&mut body, 1, b"godvision");
                push_number(&mut body, 2, 1);
                push_number(&mut body, 3, 10);
                1
            }
            Self::Login => 3,
            Self::Goodbye => 5,
            Self::Ping => 7,
            Self::Pong => 8,
            Self::List => 11,
            Self::Subscribe => 20,
            Self::Switch { key, is_on } => {
                push_key(&mut body, key);
                push_number(&mut body, 2, u64::from(is_on));
                33
            }
            Self::Press { key } => {
                push_key(&mut body, key);
                62
            }
        };
        (kind, body)
    }
}

/// Reads a message; `None` if its body is damaged.
pub fn read((kind, body): &Packet) -> Option<Said> {
    let fields = fields(body)?;
    let number = |wanted: u32| {
        fields.iter().rev().find_map(|(field, value)| match value {
            Value::Number(number) if *field == wanted => Some(*number),
            _ => None,
        })
    };
    let text = |wanted: u32| {
        fields.iter().rev().find_map(|(field, value)| match value {
            Value::Bytes(bytes) if *field == wanted && bytes.len() <= NAME_BYTES_MAX => std::str::from_utf8(bytes).ok(),
            _ => None,
        })
    };
    let key = |wanted: u32| {
        fields.iter().rev().find_map(|(field, value)| match value {
            Value::Fixed32(key) if *field == wanted => Some(*key),
            _ => None,
        })
    };
    let entity = |kind| {
        // Later devices send no id: it is made of the name, as they make it.
        let id = text(1).filter(|id| !id.is_empty()).map_or_else(|| id_of(text(3).unwrap_or_default()), str::to_owned);
        Some(Said::Entity { kind, key: key(2)?, id })
    };
    match kind {
        2 => Some(Said::Hello { major: number(1).unwrap_or(0) }),
        4 => Some(Said::Login { is_refused: number(1).unwrap_or(0) != 0 }),
        5 | 6 => Some(Said::Goodbye),
        7 => Some(Said::Ping),
        8 => Some(Said::Pong),
        12 => entity(Kind::BinarySensor),
        17 => entity(Kind::Switch),
        61 => entity(Kind::Button),
        19 => Some(Said::ListEnds),
        21 => {
            let is_on = (number(3).unwrap_or(0) == 0).then(|| number(2).unwrap_or(0) != 0);
            Some(Said::State { kind: Kind::BinarySensor, key: key(1)?, is_on })
        }
        26 => Some(Said::State { kind: Kind::Switch, key: key(1)?, is_on: Some(number(2).unwrap_or(0) != 0) }),
        _ => Some(Said::Other),
    }
}

/// An id of a name, as ESPHome makes it: lower case, and everything but letters, digits, `-` and `_` as `_`.
pub fn id_of(name: &str) -> String {
    let kept = |it: char| if it.is_ascii_alphanumeric() || it == '-' { it.to_ascii_lowercase() } else { '_' };
    name.chars().map(kept).collect()
}

enum Value<'a> {
    Number(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    Other,
}

/// Numbers and values of a body's fields; `None` if it is damaged.
fn fields(body: &[u8]) -> Option<Vec<(u32, Value<'_>)>> {
    let mut rest = body;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let tag = take_varint(&mut rest).ok()??;
        let field = u32::try_from(tag >> 3).ok()?;
        let value = match tag & 7 {
            0 => Value::Number(take_varint(&mut rest).ok()??),
            1 => {
                rest = rest.get(8..)?;
                Value::Other
            }
            2 => {
                let length = usize::try_from(take_varint(&mut rest).ok()??).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                Value::Bytes(bytes)
            }
            5 => {
                let (bytes, after) = rest.split_first_chunk::<4>()?;
                rest = after;
                Value::Fixed32(u32::from_le_bytes(*bytes))
            }
            _ => return None,
        };
        fields.push((field, value));
    }
    Some(fields)
}

/// A varint field; zero is left out, as the encoding does.
pub(crate) fn push_number(body: &mut Vec<u8>, field: u8, number: u64) {
    if number != 0 {
        body.push(field << 3);
        push_varint(body, number);
    }
}

pub(crate) fn push_key(body: &mut Vec<u8>, key: u32) {
    push_fixed32(body, 1, key);
}

pub(crate) fn push_fixed32(body: &mut Vec<u8>, field: u8, number: u32) {
    body.push(field << 3 | 5);
    body.extend(number.to_le_bytes());
}

pub(crate) fn push_bytes(body: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    body.push(field << 3 | 2);
    push_varint(body, bytes.len() as u64);
    body.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_are_encoded() {
        assert_eq!(Say::Switch { key: 0x0403_0201, is_on: true }.packet(), (33, vec![0x0D, 1, 2, 3, 4, 0x10, 1]));
        assert_eq!(Say::Switch { key: 1, is_on: false }.packet(), (33, vec![0x0D, 1, 0, 0, 0]));
        assert_eq!(Say::Press { key: 1 }.packet(), (62, vec![0x0D, 1, 0, 0, 0]));
        assert_eq!(Say::Hello.packet().1[..2], [0x0A, 9]);
    }

    #[test]
    fn entities_and_states_are_read() {
        let mut body = Vec::new();
        push_bytes(&mut body, 1, b"gate_lock");
        push_fixed32(&mut body, 2, 77);
        push_bytes(&mut body, 3, b"Gate Lock");
        let entity = |id: &str| Some(Said::Entity { kind: Kind::Switch, key: 77, id: id.into() });
        assert_eq!(read(&(17, body.clone())), entity("gate_lock"));
        let mut body = Vec::new();
        push_fixed32(&mut body, 2, 77);
        push_bytes(&mut body, 3, "Tür-1 auf".as_bytes());
        body.extend([0x4D, 1, 2, 3, 4, 0x51, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(read(&(17, body.clone())), entity("t_r-1_auf"), "fields that mean nothing are passed over");
        body.pop();
        assert_eq!(read(&(17, body)), None);
        assert_eq!(read(&(17, Vec::new())), None, "an entity without a key");
        let state = |is_on| Some(Said::State { kind: Kind::BinarySensor, key: 1, is_on });
        assert_eq!(read(&(21, vec![0x0D, 1, 0, 0, 0, 0x10, 1])), state(Some(true)));
        assert_eq!(read(&(21, vec![0x0D, 1, 0, 0, 0])), state(Some(false)));
        assert_eq!(read(&(21, vec![0x0D, 1, 0, 0, 0, 0x18, 1])), state(None), "not known yet");
        assert_eq!(read(&(999, Vec::new())), Some(Said::Other));
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_panic(kind in 0_u16..70, body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&(kind, body));
        }
    }
}
