//! [`Users`]: who may sign in, as what.
//!
//! Passwords are kept as argon2id (19 MiB, 2 passes, 1 lane: OWASP's first recommendation), hashed on blocking threads, at
//! most [`HASHES_AT_ONCE`] at a time so that a flood of logins cannot eat the processor that records.
//!
//! **Never:** a different answer, or a quicker one, for a name that nobody has.

use std::fmt;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use godvision_core::{Clock, Secret};
use sqlx::SqlitePool;
use tokio::sync::Semaphore;

use super::{Doing, StoreError, random};

/// Fewest characters of a password.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Most characters of a password: enough for a phrase, not for an attack on the hash.
pub const PASSWORD_CHARS_MAX: usize = 256;
/// Most characters of a user's name.
pub const USER_NAME_CHARS_MAX: usize = 64;
/// Passwords hashed at the same time.
const HASHES_AT_ONCE: usize = 2;
/// Password checks that wait for their turn; more are told to come back.
const HASHES_WAITING_MAX: usize = 32;
/// Without look-alikes, so that it can be typed from a screen: 31 signs.
const PASSWORD_ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// What a user may do. Each role may do all that the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees cameras, clips, doors and the journal.
    Viewer,
    /// Also opens doors and switches detection and archiving.
    Operator,
    /// Also adds cameras, archives, relays and users.
    Admin,
}

impl Role {
    /// All roles, least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// `viewer`, `operator` or `admin`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of a [`Role::code`].
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Somebody who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Never used twice.
    pub id: i64,
    /// As it was typed when the user was made; compared without regard to case.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether they are kept out.
    pub is_disabled: bool,
}

/// The users. Cheap to clone.
#[derive(Clone)]
pub struct Users {
    pool: SqlitePool,
    clock: Arc<dyn Clock>,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

fn hash_error(error: impl fmt::Display) -> StoreError {
    StoreError::Hash { detail: error.to_string() }
}

fn checked_password(password: &Secret) -> Result<(), StoreError> {
    match password.expose().chars().count() {
        PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX => Ok(()),
        _ => Err(StoreError::BadPassword),
    }
}

/// A password of 20 signs in 5 groups, 99 bits.
fn random_password() -> Result<Secret, StoreError> {
    let mut signs = String::new();
    while signs.len() < 24 {
        // Bytes from 248 on are thrown away: 248 = 8 * 31, so every sign is equally likely.
        for byte in random::<32>()?.into_iter().filter(|byte| *byte < 248) {
            if signs.len() < 24 {
                signs.push(char::from(PASSWORD_ALPHABET[usize::from(byte % 31)]));
                if signs.len() % 5 == 4 && signs.len() < 24 {
                    signs.push('-');
                }
            }
        }
    }
    Ok(Secret::from(signs))
}

impl Users {
    pub(super) fn new(pool: SqlitePool, clock: Arc<dyn Clock>) -> Self {
        Self {
            pool,
            clock,
            running: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
            waiting: Arc::new(Semaphore::new(HASHES_WAITING_MAX)),
        }
    }

    /// If there are no users at all, makes the administrator `admin`. Returns the password to be shown once, if it was
    /// made here; with `password` given, or users present, there is nothing to show.
    ///
    /// # Errors
    /// [`StoreError::BadPassword`] for a `password` that is too short, and others.
    pub async fn ensure_first_admin(&self, password: Option<Secret>) -> Result<Option<Secret>, StoreError> {
        let users: i64 =
            sqlx::query_scalar("SELECT count(*) FROM user").fetch_one(&self.pool).await.doing("counting users")?;
        if users > 0 {
            return Ok(None);
        }
        let (password, made) = match password {
            Some(password) => (password, false),
            None => (random_password()?, true),
        };
        self.create("admin", password.clone(), Role::Admin).await?;
        Ok(made.then_some(password))
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`StoreError::BadUserName`], [`StoreError::BadPassword`], [`StoreError::UserExists`] and others.
    pub async fn create(&self, name: &str, password: Secret, role: Role) -> Result<User, StoreError> {
        let is_fine = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
        if name.is_empty() || name.chars().count() > USER_NAME_CHARS_MAX || !name.chars().all(is_fine) {
            return Err(StoreError::BadUserName);
        }
        checked_password(&password)?;
        let hash = self.hash(password).await?;
        let made = sqlx::query("INSERT INTO user (name, password_hash, role, created) VALUES (?, ?, ?, ?)")
            .bind(name)
            .bind(hash)
            .bind(role.code())
            .bind(self.clock.wall().as_unix_micros())
            .execute(&self.pool)
            .await;
        match made {
            Ok(made) => Ok(User { id: made.last_insert_rowid(), name: name.to_owned(), role, is_disabled: false }),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Err(StoreError::UserExists { name: name.to_owned() })
            }
            Err(source) => Err(StoreError::Database { doing: "making a user", source }),
        }
    }

    /// All users, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn list(&self) -> Result<Vec<User>, StoreError> {
        let rows: Vec<(i64, String, String, bool)> =
            sqlx::query_as("SELECT id, name, role, disabled FROM user ORDER BY name")
                .fetch_all(&self.pool)
                .await
                .doing("listing users")?;
        Ok(rows.into_iter().filter_map(user).collect())
    }

    /// Gives a user another password and signs them out everywhere.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`], [`StoreError::BadPassword`] and others.
    pub async fn set_password(&self, name: &str, password: Secret) -> Result<(), StoreError> {
        checked_password(&password)?;
        let hash = self.hash(password).await?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.doing("changing a password")?;
        let changed = sqlx::query("UPDATE user SET password_hash = ? WHERE name = ?")
            .bind(hash)
            .bind(name)
            .execute(&mut *transaction)
            .await
            .doing("changing a password")?;
        if changed.rows_affected() == 0 {
            return Err(StoreError::NoSuchUser { name: name.to_owned() });
        }
        sign_out(&mut transaction, name).await?;
        transaction.commit().await.doing("changing a password")
    }

    /// Keeps a user out, and signs them out everywhere, or lets them in again.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUser`], [`StoreError::LastAdmin`] and others.
    pub async fn set_disabled(&self, name: &str, disabled: bool) -> Result<(), StoreError> {
        const DOING: &str = "keeping a user out";
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.doing(DOING)?;
        let changed = sqlx::query("UPDATE user SET disabled = ? WHERE name = ?")
            .bind(disabled)
            .bind(name)
            .execute(&mut *transaction)
            .await
            .doing(DOING)?;
        if changed.rows_affected() == 0 {
            return Err(StoreError::NoSuchUser { name: name.to_owned() });
        }
        let admins: i64 = sqlx::query_scalar("SELECT count(*) FROM user WHERE role = 'admin' AND disabled = 0")
            .fetch_one(&mut *transaction)
            .await
            .doing(DOING)?;
        if admins == 0 {
            return Err(StoreError::LastAdmin { name: name.to_owned() });
        }
        if disabled {
            sign_out(&mut transaction, name).await?;
        }
        transaction.commit().await.doing(DOING)
    }

    /// The user, if name and password are right and they are not kept out. Takes the same time whichever is wrong:
    /// about 30 ms of one core.
    ///
    /// # Errors
    /// [`StoreError::Busy`] and others. A wrong password is no error.
    pub async fn verify(&self, name: &str, password: Secret) -> Result<Option<User>, StoreError> {
        let row: Option<(i64, String, String, bool, String)> =
            sqlx::query_as("SELECT id, name, role, disabled, password_hash FROM user WHERE name = ?")
                .bind(name)
                .fetch_optional(&self.pool)
                .await
                .doing("looking up a user")?;
        let (found, hash) = match row {
            Some((id, name, role, disabled, hash)) => (user((id, name, role, disabled)), Some(hash)),
            None => (None, None),
        };
        if password.expose().chars().count() > PASSWORD_CHARS_MAX {
            return Ok(None);
        }
        let is_right = self
            .on_a_thread(move || {
                let bytes = password.expose().as_bytes();
                match hash {
                    Some(hash) => {
                        let hash = PasswordHash::new(&hash).map_err(hash_error)?;
                        Ok(Argon2::default().verify_password(bytes, &hash).is_ok())
                    }
                    // Nobody has this name: the same work, thrown away.
                    None => hash_now(bytes).map(|_| false),
                }
            })
            .await?;
        Ok(found.filter(|user| is_right && !user.is_disabled))
    }

    async fn hash(&self, password: Secret) -> Result<String, StoreError> {
        self.on_a_thread(move || hash_now(password.expose().as_bytes())).await
    }

    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _place = self.waiting.try_acquire().map_err(|_| StoreError::Busy)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| StoreError::Busy)?;
        // The permit goes with the work, so a caller that hangs up does not free a core that is still busy.
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
        .map_err(hash_error)?
    }
}

async fn sign_out(transaction: &mut sqlx::SqliteConnection, name: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM session WHERE user IN (SELECT id FROM user WHERE name = ?)")
        .bind(name)
        .execute(transaction)
        .await
        .doing("signing a user out")
        .map(drop)
}

fn user((id, name, role, is_disabled): (i64, String, String, bool)) -> Option<User> {
    Some(User { id, name, role: Role::from_code(&role)?, is_disabled })
}

fn hash_now(password: &[u8]) -> Result<String, StoreError> {
    let salt = random::<16>()?;
    let hash: argon2::password_hash::phc::PasswordHash =
        Argon2::default().hash_password_with_salt(password, &salt).map_err(hash_error)?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_passwords_can_be_typed_and_differ() {
        let made: Vec<Secret> = (0..100).map(|_| random_password().unwrap()).collect();
        for password in &made {
            let groups: Vec<&str> = password.expose().split('-').collect();
            assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [4; 5], "{}", password.expose());
            assert!(password.expose().bytes().all(|byte| byte == b'-' || PASSWORD_ALPHABET.contains(&byte)));
            assert_eq!(made.iter().filter(|other| *other == password).count(), 1);
        }
    }

    #[test]
    fn roles_are_ordered_and_round_trip() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for role in Role::ALL {
            assert_eq!(Role::from_code(role.code()), Some(role));
        }
        assert_eq!(Role::from_code("root"), None);
    }
}
