//! The lines of a [`super::SpentLog`], read and written.
//!
//! ```text
//! godvision spent 2 6a1f2e00 69ff0010 00000002 1c5a93e1     floors of passes and steps, lines of the snapshot, sum
//! p 00000000000000000007000000000ab1 6a2f2e00 00000002 9d03c1b5
//! s 1f00c86ad5e8a0335bd3d4ad03938700 69ff0066 00000001 51e6ab07
//! ```
//! A line is what was used (a pass: key id and pass id; a step: person, door, step), when it ends, how often it has been
//! used, and the first 4 bytes of SHA-256 of what is before, all in hexadecimal. The snapshot comes first: one line for
//! each thing that was remembered when the file was written. Each line behind it is one use, and counts one more than the
//! line of the same thing before.
//!
//! **Never:** two texts for one line.

use sha2::{Digest, Sha256};

use crate::pass::{NameRef, PassId};
use crate::spent::{Counts, Floors, Spendable, Used};

pub(super) const HEAD_BYTES: usize = 54;
pub(super) const LINE_BYTES: usize = 62;
const HEAD_START: &str = "godvision spent 2 ";

/// What a file says.
pub(super) struct Content {
    pub(super) counts: Counts,
    pub(super) lines: usize,
    /// Up to where it is whole: behind it stands what a crash left unfinished, or nothing.
    pub(super) good_bytes: usize,
}

fn summed(mut body: String) -> String {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    body.push_str(&format!("{a:02x}{b:02x}{c:02x}{d:02x}\n"));
    body
}

fn head(floors: Floors, snapshot: u32) -> String {
    summed(format!("{HEAD_START}{:08x} {:08x} {snapshot:08x} ", floors.passes, floors.steps))
}

pub(super) fn line(what: Spendable, used: Used) -> String {
    let (kind, id) = match what {
        Spendable::Pass { key, id } => {
            let [a, b, c, d, e, f] = id.0;
            ('p', [0, 0, 0, 0, 0, 0, 0, 0, 0, key, a, b, c, d, e, f])
        }
        Spendable::Step { person, door, step } => {
            let [a, b, c, d, e, f] = person.to_bytes();
            let [g, h, i, j, k, l] = door.to_bytes();
            let [m, n, o, p] = step.to_be_bytes();
            ('s', [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
        }
    };
    summed(format!("{kind} {:032x} {:08x} {:08x} ", u128::from_be_bytes(id), used.until, used.uses))
}

/// A whole file that says `counts` and nothing more.
pub(super) fn snapshot(counts: &Counts) -> String {
    let mut text = head(counts.floors, u32::try_from(counts.used.len()).unwrap_or(u32::MAX));
    text.reserve(counts.used.len() * LINE_BYTES);
    for (what, used) in &counts.used {
        text.push_str(&line(*what, *used));
    }
    text
}

/// Reads a file; `Err` is the offset of damage that no crash explains.
pub(super) fn read(content: &[u8]) -> Result<Content, usize> {
    let (head, body) = content.split_first_chunk::<HEAD_BYTES>().ok_or(0usize)?;
    let (floors, snapshot) = parsed_head(head).ok_or(0usize)?;
    let mut found = Content { counts: Counts { floors, ..Counts::default() }, lines: 0, good_bytes: HEAD_BYTES };
    let mut rest = body;
    while let Some((text, after)) = rest.split_first_chunk::<LINE_BYTES>() {
        let Some((what, used)) = parsed_line(text) else { break };
        let before = found.counts.used.get(&what).map_or(0, |it| it.uses);
        let follows = used.uses == before.saturating_add(1);
        let begins = found.lines < snapshot && before == 0 && used.uses > 0;
        if !(follows && found.lines >= snapshot || begins) {
            return Err(found.good_bytes);
        }
        found.counts.keep(what, used);
        found.lines += 1;
        found.good_bytes += LINE_BYTES;
        rest = after;
    }
    // The snapshot was on the disk before the file had its name. Behind it, a crash cuts one line short, or leaves zero
    // bytes in the place of a sector that was not written.
    let is_unfinished =
        rest.len() < LINE_BYTES || rest.len() == LINE_BYTES && rest.contains(&0) || rest.iter().all(|byte| *byte == 0);
    if is_unfinished && found.lines >= snapshot { Ok(found) } else { Err(found.good_bytes) }
}

fn parsed_head(text: &[u8; HEAD_BYTES]) -> Option<(Floors, usize)> {
    let text = std::str::from_utf8(text).ok()?;
    let mut fields = text.strip_prefix(HEAD_START)?.split(' ').map(|it| u32::from_str_radix(it, 16).ok());
    let floors = Floors { passes: fields.next()??, steps: fields.next()?? };
    let snapshot = fields.next()??;
    // Only the one text that would have been written counts, its sum included.
    (head(floors, snapshot) == text).then_some((floors, usize::try_from(snapshot).ok()?))
}

fn parsed_line(text: &[u8; LINE_BYTES]) -> Option<(Spendable, Used)> {
    let text = std::str::from_utf8(text).ok()?;
    let mut fields = text.split(' ');
    let (kind, id) = (fields.next()?, u128::from_str_radix(fields.next()?, 16).ok()?);
    let what = match (kind, id.to_be_bytes()) {
        ("p", [.., key, a, b, c, d, e, f]) => Spendable::Pass { key, id: PassId([a, b, c, d, e, f]) },
        ("s", [a, b, c, d, e, f, g, h, i, j, k, l, step @ ..]) => Spendable::Step {
            person: NameRef::from_bytes([a, b, c, d, e, f]),
            door: NameRef::from_bytes([g, h, i, j, k, l]),
            step: u32::from_be_bytes(step),
        },
        _ => return None,
    };
    let mut number = || u32::from_str_radix(fields.next()?, 16).ok();
    let (until, uses) = (number()?, number()?);
    let used = Used { uses, until };
    (line(what, used) == text).then_some((what, used))
}
