//! Guests' passes: what they say, who made them, and which were withdrawn.
//!
//! Neither the text of a pass nor its link is kept. The text is signed anew, which gives the same one; the link is a MAC
//! over the pass's number under a secret of the site. So the database alone opens nothing.
//!
//! A withdrawal is in force at every door when the call returns: the doors get a new control with it, as with every other
//! change of [`super::Access`].
//!
//! **Never:** a withdrawal that is taken back. Whoever was told that a pass is dead relies on it.

use std::time::Duration;

use godvision_access::pass::{
    Doors, PassClaims, PassId, PassKey, PassKeys, Revocation, Revocations, Revoked, Signing, Uses,
};
use godvision_core::{Name, Secret, WallTime};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::sqlite::SqliteConnection;

use super::access::AccessProblem;
use super::{Doing, StoreError, hex};

/// Most passes that are kept; a year after its end a pass is forgotten.
pub const PASSES_MAX: usize = 100_000;
/// Most passes in a page.
pub const PASS_PAGE_MAX: usize = 200;
/// How long a pass is listed after it has ended.
const KEPT_AFTER: Duration = Duration::from_secs(365 * 24 * 3600);
const LINK_DOMAIN: &[u8] = b"godvision pass link 1\0";
/// Bytes of a link's MAC: 2^128 guesses.
const LINK_MAC_BYTES: usize = 16;
const ID_BYTES: usize = 6;

/// When, by whom and why a pass was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// When.
    pub at: WallTime,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A pass as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPass {
    /// Grows; for pages of the list.
    pub serial: u64,
    /// The key that signs it.
    pub key: u8,
    /// What it says.
    pub claims: PassClaims,
    /// When it was made.
    pub made: WallTime,
    /// By whom.
    pub made_by: String,
    /// Whether it was withdrawn.
    pub withdrawn: Option<Withdrawal>,
}

type Row = (
    i64,
    String,
    i64,
    Option<String>,
    String,
    i64,
    i64,
    Option<i64>,
    i64,
    String,
    Option<i64>,
    Option<String>,
    Option<String>,
);

const COLUMNS: &str =
    "serial, id, key, person, doors, not_before, not_after, uses, made, made_by, withdrawn, withdrawn_by, reason";

/// `any`, `group:NAME`, or names with blanks between: what a name cannot hold.
pub(crate) fn doors_text(doors: &Doors) -> String {
    match doors {
        Doors::All => "any".to_owned(),
        Doors::Group(group) => format!("group:{group}"),
        Doors::One(door) => door.to_string(),
        Doors::Each(doors) => doors.iter().map(Name::as_str).collect::<Vec<_>>().join(" "),
    }
}

/// The doors of a [`doors_text`]; `None` if it is none.
pub(crate) fn doors_of(text: &str) -> Option<Doors> {
    if text == "any" {
        return Some(Doors::All);
    }
    if let Some(group) = text.strip_prefix("group:") {
        return Name::new(group).ok().map(Doors::Group);
    }
    let mut doors: Vec<Name> = text.split(' ').map(Name::new).collect::<Result<_, _>>().ok()?;
    match doors.len() {
        1 => doors.pop().map(Doors::One),
        _ => Some(Doors::Each(doors)),
    }
}

/// The number of twelve hexadecimal digits.
pub(crate) fn id_of(text: &str) -> Option<PassId> {
    bytes_of(text).map(PassId)
}

/// The bytes of lower-case digits, and of nothing else: a pass has one link.
fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn pass_of(row: Row) -> Option<KeptPass> {
    let (serial, id, key, person, doors, from, until, uses, made, made_by, withdrawn, withdrawn_by, reason) = row;
    let claims = PassClaims {
        id: id_of(&id)?,
        person: person.map(|name| Name::new(&name)).transpose().ok()?,
        doors: doors_of(&doors)?,
        not_before: WallTime::from_unix_seconds(from),
        not_after: WallTime::from_unix_seconds(until),
        uses: uses.map_or(Some(Uses::Any), |uses| u8::try_from(uses).ok().map(Uses::Times))?,
    };
    let withdrawn = withdrawn.map(|at| Withdrawal {
        at: WallTime::from_unix_micros(at),
        by: withdrawn_by.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
    });
    Some(KeptPass {
        serial: u64::try_from(serial).ok()?,
        key: u8::try_from(key).ok()?,
        claims,
        made: WallTime::from_unix_micros(made),
        made_by,
        withdrawn,
    })
}

/// A page, newest first.
pub(super) async fn page(
    connection: &mut SqliteConnection,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<KeptPass>, StoreError> {
    let before = before.and_then(|it| i64::try_from(it).ok()).unwrap_or(i64::MAX);
    let sql = format!("SELECT {COLUMNS} FROM pass WHERE serial < ? ORDER BY serial DESC LIMIT ?");
    let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(before)
        .bind(i64::try_from(limit.clamp(1, PASS_PAGE_MAX)).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
        .doing("listing passes")?;
    Ok(rows.into_iter().filter_map(pass_of).collect())
}

pub(super) async fn find(connection: &mut SqliteConnection, id: PassId) -> Result<Option<KeptPass>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM pass WHERE id = ?");
    let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("looking for a pass")?;
    Ok(row.and_then(pass_of))
}

pub(super) async fn keep(
    connection: &mut SqliteConnection,
    key: u8,
    claims: &PassClaims,
    by: &str,
    now: WallTime,
) -> Result<(), StoreError> {
    const DOING: &str = "keeping a pass";
    let kept_micros = i64::try_from(KEPT_AFTER.as_micros()).unwrap_or(i64::MAX);
    sqlx::query("DELETE FROM pass WHERE not_after < ?")
        .bind(now.plus_micros(-kept_micros).as_unix_seconds())
        .execute(&mut *connection)
        .await
        .doing(DOING)?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM pass").fetch_one(&mut *connection).await.doing(DOING)?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= PASSES_MAX {
        return Err(AccessProblem::PassesFull.into());
    }
    let uses = match claims.uses {
        Uses::Any => None,
        Uses::Times(uses) => Some(i64::from(uses)),
    };
    sqlx::query(
        "INSERT INTO pass (id, key, person, doors, not_before, not_after, uses, made, made_by)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(claims.id.to_string())
    .bind(i64::from(key))
    .bind(claims.person.as_ref().map(Name::as_str))
    .bind(doors_text(&claims.doors))
    .bind(claims.not_before.as_unix_seconds())
    .bind(claims.not_after.as_unix_seconds())
    .bind(uses)
    .bind(now.as_unix_micros())
    .bind(by)
    .execute(connection)
    .await
    .doing(DOING)
    .map(drop)
}

/// Withdraws a pass that is not withdrawn yet.
pub(super) async fn withdraw(
    connection: &mut SqliteConnection,
    id: PassId,
    withdrawal: &Withdrawal,
) -> Result<(), StoreError> {
    let known = find(connection, id).await?.ok_or(AccessProblem::NoPass { id: id.to_string() })?;
    if known.withdrawn.is_some() {
        return Err(AccessProblem::Withdrawn.into());
    }
    sqlx::query("UPDATE pass SET withdrawn = ?, withdrawn_by = ?, reason = ? WHERE id = ?")
        .bind(withdrawal.at.as_unix_micros())
        .bind(&withdrawal.by)
        .bind(&withdrawal.reason)
        .bind(id.to_string())
        .execute(connection)
        .await
        .doing("withdrawing a pass")
        .map(drop)
}

/// Withdraws every pass of `person` that has not ended. How many.
pub(super) async fn withdraw_of(
    connection: &mut SqliteConnection,
    person: &Name,
    withdrawal: &Withdrawal,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE pass SET withdrawn = ?1, withdrawn_by = ?2, reason = ?3
         WHERE person = ?4 AND withdrawn IS NULL AND not_after > ?5",
    )
    .bind(withdrawal.at.as_unix_micros())
    .bind(&withdrawal.by)
    .bind(&withdrawal.reason)
    .bind(person.as_str())
    .bind(withdrawal.at.as_unix_seconds())
    .execute(connection)
    .await
    .doing("withdrawing passes")?;
    Ok(done.rows_affected())
}

/// Everything withdrawn, for the doors.
pub(super) async fn revocations(connection: &mut SqliteConnection, now: WallTime) -> Result<Revocations, StoreError> {
    let rows: Vec<(String, i64, i64, i64, String)> =
        // Those of a withdrawn key are withdrawn with it, in one entry.
        sqlx::query_as(
            "SELECT id, key, not_after, withdrawn, reason FROM pass
             WHERE withdrawn IS NOT NULL AND key NOT IN (SELECT id FROM pass_key WHERE withdrawn IS NOT NULL)",
        )
        .fetch_all(connection)
        .await
        .doing("reading withdrawn passes")?;
    let mut revocations = Revocations::default();
    for (id, key, until, at, reason) in rows {
        let (Some(id), Ok(key)) = (id_of(&id), u8::try_from(key)) else { continue };
        let until = Some(WallTime::from_unix_seconds(until));
        let revocation = Revocation { at: WallTime::from_unix_micros(at), reason, until };
        revocations.add(Revoked::Pass { key, id }, revocation).map_err(AccessProblem::from)?;
    }
    revocations.prune(now);
    Ok(revocations)
}

/// The text of a pass: the same whenever it is asked for.
pub(super) fn signed(key: PassKey, site: &Name, claims: &PassClaims, made: WallTime) -> Result<Secret, StoreError> {
    let mut ring = PassKeys::new(site.clone());
    let signing = Signing { from: WallTime::from_unix_seconds(0), until: None };
    ring.add(key, signing).map_err(AccessProblem::from)?;
    Ok(ring.sign(claims, made).map_err(AccessProblem::Pass)?)
}

/// HMAC-SHA-256 under a secret of the site.
pub(super) fn keyed(secret: &[u8; 32]) -> Hmac<Sha256> {
    // RFC 2104 fills a key shorter than a block with zeros.
    let mut block = [0; 64];
    block[..32].copy_from_slice(secret);
    Hmac::<Sha256>::new(&block.into())
}

fn mac(secret: &[u8; 32], key: u8, id: PassId) -> Hmac<Sha256> {
    keyed(secret).chain_update(LINK_DOMAIN).chain_update([key]).chain_update(id.0)
}

/// What stands in a pass's link: its number, and a MAC that only this site can make.
pub(super) fn link(secret: &[u8; 32], key: u8, id: PassId) -> Secret {
    let mac = mac(secret, key, id).finalize().into_bytes();
    Secret::from(format!("{id}{}", hex(&mac[..LINK_MAC_BYTES])))
}

/// The number and the MAC that somebody shows as a link.
pub(super) fn split(link: &str) -> Option<(PassId, [u8; LINK_MAC_BYTES])> {
    let (id, mac) = link.split_at_checked(2 * ID_BYTES)?;
    Some((id_of(id)?, bytes_of(mac)?))
}

/// Whether the MAC is right, in constant time.
pub(super) fn is_link(secret: &[u8; 32], key: u8, id: PassId, shown: &[u8; LINK_MAC_BYTES]) -> bool {
    mac(secret, key, id).verify_truncated_left(shown).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_written_and_read() {
        let name = |text: &str| Name::new(text).unwrap();
        for doors in [
            Doors::All,
            Doors::Group(name("yard")),
            Doors::One(name("house/front")),
            Doors::Each(vec![name("gate"), name("house/front")]),
        ] {
            assert_eq!(doors_of(&doors_text(&doors)), Some(doors));
        }
        for bad in ["", " ", "group:", "a  b", "a\nb"] {
            assert_eq!(doors_of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_link_is_of_one_pass_and_one_site() {
        let (secret, id) = ([7; 32], PassId([1, 2, 3, 4, 5, 6]));
        let text = link(&secret, 1, id);
        assert_eq!(text.expose().len(), 44);
        let (read, mac) = split(text.expose()).unwrap();
        assert!(read == id && is_link(&secret, 1, id, &mac));
        assert!(!is_link(&[8; 32], 1, id, &mac) && !is_link(&secret, 2, id, &mac));
        assert!(!is_link(&secret, 1, PassId([1, 2, 3, 4, 5, 7]), &mac));
        for position in 0..mac.len() {
            let mut changed = mac;
            changed[position] ^= 1;
            assert!(!is_link(&secret, 1, id, &changed), "{position}");
        }
        for bad in [
            "",
            "0",
            &text.expose()[1..],
            &format!("{}0", text.expose()),
            &text.expose().to_uppercase(),
            "ä".repeat(22).as_str(),
        ] {
            let is_right = split(bad).is_some_and(|(id, mac)| is_link(&secret, 1, id, &mac));
            assert!(!is_right, "{bad}");
        }
    }
}
