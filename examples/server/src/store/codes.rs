//! Residents' rolling codes: whose are accepted, and the links of the pages that show them.
//!
//! Nothing secret is kept here: a person's secret is derived from one of the site, the name and a generation
//! ([`RollingSecret::derived`]), and so is the link.
//!
//! **Never:** a generation that comes back, not even for somebody new of the same name.

use godvision_access::pass::NameRef;
use godvision_access::pass::rolling::{RollingSecret, RollingVerifier};
use godvision_core::{Name, Secret};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use sqlx::sqlite::SqliteConnection;

use super::access::AccessProblem;
use super::{Doing, StoreError, hex, passes};

const LINK_DOMAIN: &[u8] = b"godvision rolling code link 1\0";
const MAC_BYTES: usize = 16;

/// Makes the codes of `person` anew: those of before are dead.
pub(super) async fn renew(connection: &mut SqliteConnection, person: &Name) -> Result<(), StoreError> {
    withdraw(connection, person).await?;
    sqlx::query("INSERT INTO rolling_code (person, reference) VALUES (?, ?)")
        .bind(person.as_str())
        .bind(hex(&NameRef::person(person).to_bytes()))
        .execute(connection)
        .await
        .doing("making rolling codes")
        .map(drop)
}

/// Accepts no codes of `person` any more. Whether any were accepted.
pub(super) async fn withdraw(connection: &mut SqliteConnection, person: &Name) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM rolling_code WHERE person = ?")
        .bind(person.as_str())
        .execute(connection)
        .await
        .doing("withdrawing rolling codes")?;
    Ok(done.rows_affected() > 0)
}

/// The generation of the codes of `person`, if any are accepted.
pub(super) async fn of_person(connection: &mut SqliteConnection, person: &Name) -> Result<Option<u32>, StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT generation FROM rolling_code WHERE person = ?")
        .bind(person.as_str())
        .fetch_optional(connection)
        .await
        .doing("looking for rolling codes")?;
    Ok(found.and_then(|generation| u32::try_from(generation).ok()))
}

/// What doors need to know the codes.
pub(super) async fn verifier(
    connection: &mut SqliteConnection,
    site: &Name,
    master: &[u8; 32],
) -> Result<RollingVerifier, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT c.person, c.generation FROM rolling_code c JOIN person p ON p.name = c.person WHERE p.gone IS NULL",
    )
    .fetch_all(connection)
    .await
    .doing("reading rolling codes")?;
    let mut verifier = RollingVerifier::new(site.clone());
    for (person, generation) in rows {
        let (Ok(person), Ok(generation)) = (Name::new(&person), u32::try_from(generation)) else { continue };
        let secret = RollingSecret::derived(master, &person, generation);
        verifier.add(&person, secret).map_err(AccessProblem::from)?;
    }
    Ok(verifier)
}

fn mac(secret: &[u8; 32], person: &Name, generation: u32) -> Hmac<Sha256> {
    let mac = passes::keyed(secret).chain_update(LINK_DOMAIN).chain_update(person.as_str()).chain_update([0]);
    mac.chain_update(generation.to_be_bytes())
}

/// What stands in the link of a person's page: their reference, and a MAC that only this site can make.
pub(super) fn link(secret: &[u8; 32], person: &Name, generation: u32) -> Secret {
    let mac = mac(secret, person, generation).finalize().into_bytes();
    Secret::from(format!("{}{}", hex(&NameRef::person(person).to_bytes()), hex(&mac[..MAC_BYTES])))
}

/// The person and generation whose link this is, as long as it is the newest.
pub(super) async fn of_link(
    connection: &mut SqliteConnection,
    secret: &[u8; 32],
    link: &Secret,
) -> Result<Option<(Name, u32)>, StoreError> {
    let Some((reference, shown)) = passes::split(link.expose()) else { return Ok(None) };
    let row: Option<(String, i64)> = sqlx::query_as(
        "SELECT c.person, c.generation FROM rolling_code c JOIN person p ON p.name = c.person
         WHERE c.reference = ? AND p.gone IS NULL AND p.revoked = 0",
    )
    .bind(reference.to_string())
    .fetch_optional(connection)
    .await
    .doing("looking for rolling codes")?;
    let known = row.and_then(|(person, generation)| Some((Name::new(&person).ok()?, u32::try_from(generation).ok()?)));
    Ok(known.filter(|(person, generation)| mac(secret, person, *generation).verify_truncated_left(&shown).is_ok()))
}
