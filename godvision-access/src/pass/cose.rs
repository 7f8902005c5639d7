//! The bytes of a pass: a CWT (RFC 8392) in a COSE_Sign1 (RFC 9052, algorithm EdDSA of RFC 9053). The table stands in
//! [`super`].
//!
//! There is exactly one encoding of what a pass says. The reader takes the claims out of the bytes, writes them again and
//! compares: another order of claims, a longer number, a claim that stands twice, an unknown claim or header, a byte
//! behind the end are all something else than what would have been written, and so no pass.
//!
//! **Never:** a signature (that is [`super::key`] and [`super::verify`]), a clock.

use godvision_core::{Name, WallTime};

use super::cbor::{Reader, Writer};
use super::{DOORS_MAX, Doors, PassClaims, PassId, Uses};
use crate::error::Error;

/// COSE_Sign1, RFC 9052, section 4.2.
const SIGN1_TAG: u64 = 18;
/// Headers: "alg" and its value EdDSA; "kid".
const ALGORITHM: i64 = 1;
const EDDSA: i64 = -8;
const KEY_ID: i64 = 4;
/// Claims of RFC 8392, section 4.
const SUBJECT: i64 = 2;
const AUDIENCE: i64 = 3;
const EXPIRATION: i64 = 4;
const NOT_BEFORE: i64 = 5;
const CWT_ID: i64 = 7;
/// Claims of our own, from the range for private use (below -65536).
const DOORS: i64 = -65_537;
const USES: i64 = -65_538;

const ANY_DOOR: &str = "any";
const GROUP_MARK: &str = "group:";

/// What the bytes of a pass say. Nothing of it is believed before the signature is verified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) key: u8,
    pub(super) site: Name,
    pub(super) claims: PassClaims,
    pub(super) signature: [u8; 64],
}

fn headers(key: u8) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.map(2).integer(ALGORITHM).integer(EDDSA).integer(KEY_ID).bytes(&[key]);
    writer.into_bytes()
}

/// The claims as a CWT. Also refuses what would not be read as the same claims.
fn payload(site: &Name, claims: &PassClaims) -> Result<Vec<u8>, Error> {
    let refused = |detail| Error::BadClaims { detail };
    let seconds = |at: WallTime| {
        let fits = u32::try_from(at.as_unix_seconds()).map(i64::from);
        fits.map_err(|_| refused("its period reaches outside 1970 to 2106"))
    };
    let (not_before, not_after) = (seconds(claims.not_before)?, seconds(claims.not_after)?);
    if not_before >= not_after {
        return Err(refused("it ends before it begins"));
    }
    let mut writer = Writer::default();
    writer.map(5 + usize::from(claims.person.is_some()) + usize::from(claims.uses != Uses::Any));
    if let Some(person) = &claims.person {
        writer.integer(SUBJECT).text(person.as_str());
    }
    writer.integer(AUDIENCE).text(site.as_str()).integer(EXPIRATION).integer(not_after);
    writer.integer(NOT_BEFORE).integer(not_before).integer(CWT_ID).bytes(&claims.id.0).integer(DOORS);
    let named = |door: &Name| door.as_str() != ANY_DOOR;
    match &claims.doors {
        Doors::All => _ = writer.text(ANY_DOOR),
        Doors::Group(group) => _ = writer.text(&format!("{GROUP_MARK}{group}")),
        Doors::One(door) if named(door) => _ = writer.text(door.as_str()),
        Doors::Each(doors) if !(2..=DOORS_MAX).contains(&doors.len()) => {
            return Err(refused("it names fewer than 2 or more than 8 doors: name one, or a group"));
        }
        Doors::Each(doors) if doors.iter().all(named) => {
            writer.array(doors.len());
            doors.iter().for_each(|door| _ = writer.text(door.as_str()));
        }
        _ => return Err(refused("a door called \"any\" cannot be told from any door: rename it")),
    }
    match claims.uses {
        Uses::Any => {}
        Uses::Times(0) => return Err(refused("it could be used 0 times")),
        Uses::Times(times) => _ = writer.integer(USES).integer(times.into()),
    }
    Ok(writer.into_bytes())
}

/// What is signed: the Sig_structure of RFC 9052, section 4.4, without external data.
pub(super) fn to_be_signed(key: u8, site: &Name, claims: &PassClaims) -> Result<Vec<u8>, Error> {
    let mut writer = Writer::default();
    writer.array(4).text("Signature1").bytes(&headers(key)).bytes(&[]).bytes(&payload(site, claims)?);
    Ok(writer.into_bytes())
}

/// The whole message.
pub(super) fn written(key: u8, site: &Name, claims: &PassClaims, signature: &[u8; 64]) -> Result<Vec<u8>, Error> {
    let mut writer = Writer::default();
    writer.tag(SIGN1_TAG).array(4).bytes(&headers(key)).map(0).bytes(&payload(site, claims)?).bytes(signature);
    Ok(writer.into_bytes())
}

/// The message in `bytes`, if they are the one encoding of one.
pub(super) fn read(bytes: &[u8]) -> Option<Message> {
    let message = parsed(bytes)?;
    let again = written(message.key, &message.site, &message.claims, &message.signature).ok()?;
    (again == bytes).then_some(message)
}

fn parsed(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader::new(bytes);
    (reader.tag()? == SIGN1_TAG && reader.array()? == 4).then_some(())?;
    // The key id is the last byte of the headers, which are compared whole afterwards.
    let key = *reader.bytes()?.last()?;
    reader.map()?;
    let payload = reader.bytes()?;
    let signature = reader.bytes()?.try_into().ok()?;
    reader.end()?;
    let (site, claims) = claims(payload)?;
    Some(Message { key, site, claims, signature })
}

fn claims(payload: &[u8]) -> Option<(Name, PassClaims)> {
    let mut reader = Reader::new(payload);
    let (mut person, mut site, mut id, mut doors, mut uses) = (None, None, None, None, Uses::Any);
    let (mut not_before, mut not_after) = (None, None);
    for _ in 0..reader.map()? {
        match reader.integer()? {
            SUBJECT => person = Some(Name::new(reader.text()?).ok()?),
            AUDIENCE => site = Some(Name::new(reader.text()?).ok()?),
            EXPIRATION => not_after = Some(moment(&mut reader)?),
            NOT_BEFORE => not_before = Some(moment(&mut reader)?),
            CWT_ID => id = Some(PassId(reader.bytes()?.try_into().ok()?)),
            DOORS => doors = Some(door_claim(&mut reader)?),
            USES => uses = Uses::Times(u8::try_from(reader.integer()?).ok()?),
            _ => return None,
        }
    }
    let (not_before, not_after) = (not_before?, not_after?);
    Some((site?, PassClaims { id: id?, person, doors: doors?, not_before, not_after, uses }))
}

/// Seconds since 1970. A number of milliseconds or nanoseconds would be centuries away: refused by its range.
fn moment(reader: &mut Reader<'_>) -> Option<WallTime> {
    u32::try_from(reader.integer()?).ok().map(|seconds| WallTime::from_unix_seconds(seconds.into()))
}

fn door_claim(reader: &mut Reader<'_>) -> Option<Doors> {
    let Some(count) = reader.array() else {
        let text = reader.text()?;
        return match text.strip_prefix(GROUP_MARK) {
            _ if text == ANY_DOOR => Some(Doors::All),
            Some(group) => Name::new(group).ok().map(Doors::Group),
            None => Name::new(text).ok().map(Doors::One),
        };
    };
    let count = usize::try_from(count).ok().filter(|count| *count <= DOORS_MAX)?;
    (0..count).map(|_| Name::new(reader.text()?).ok()).collect::<Option<_>>().map(Doors::Each)
}
