//! [`Throttle`]: how long whoever keeps failing to sign in has to wait.
//!
//! A key (an address, or an address with a name) has some free tries; after them each further try has to wait twice as
//! long as the one before, up to [`WAIT_MAX`]. A try counts when it begins, so tries sent at once count at once. Success
//! clears the key, and [`FORGET_AFTER`] without a try forgets it.
//!
//! **Never:** a lock on a name alone, which would let a stranger lock the owner out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use godvision_core::MonoTime;

/// Longest wait between two tries.
pub const WAIT_MAX: Duration = Duration::from_secs(300);
/// A key that has not tried for so long starts anew.
pub const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);
/// Free tries of one address with one name.
pub const FREE_PER_NAME: u32 = 5;
/// Free tries of one address with any names.
pub const FREE_PER_ADDRESS: u32 = 20;
/// Most keys remembered; those that tried longest ago make room.
pub const KEYS_MAX: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(u128),
    Name(u128, String),
}

#[derive(Debug)]
struct Tries {
    count: u32,
    last: MonoTime,
}

/// The tries of everybody.
#[derive(Debug, Default)]
pub struct Throttle {
    keys: HashMap<Key, Tries>,
}

/// An IPv4 address as it is, an IPv6 address by its network of 64 bits, which one customer holds.
fn place(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) & !u128::from(u64::MAX),
    }
}

fn keys(address: IpAddr, name: &str) -> [(Key, u32); 2] {
    let name = name.chars().take(64).flat_map(char::to_lowercase).collect();
    let place = place(address);
    [(Key::Name(place, name), FREE_PER_NAME), (Key::Address(place), FREE_PER_ADDRESS)]
}

fn wait(tries: &Tries, free: u32) -> Duration {
    match tries.count.checked_sub(free) {
        None => Duration::ZERO,
        Some(over) => Duration::from_secs(1).saturating_mul(1 << over.min(16)).min(WAIT_MAX),
    }
}

impl Throttle {
    /// Counts a try to sign in from `address` as `name`.
    ///
    /// # Errors
    /// How long to wait, if it comes too early; then it is not counted.
    pub fn attempt(&mut self, address: IpAddr, name: &str, now: MonoTime) -> Result<(), Duration> {
        let keys = keys(address, name);
        for (key, free) in &keys {
            if let Some(tries) = self.keys.get(key).filter(|tries| now.since(tries.last) < FORGET_AFTER) {
                let left = wait(tries, *free).saturating_sub(now.since(tries.last));
                if !left.is_zero() {
                    return Err(left);
                }
            }
        }
        for (key, _) in keys {
            self.make_room(&key, now);
            let tries = self.keys.entry(key).or_insert(Tries { count: 0, last: now });
            if now.since(tries.last) >= FORGET_AFTER {
                tries.count = 0;
            }
            tries.count = tries.count.saturating_add(1);
            tries.last = now;
        }
        Ok(())
    }

    /// The try from `address` as `name` was right. The address keeps its count of other names, one try less.
    pub fn succeeded(&mut self, address: IpAddr, name: &str) {
        let [(name, _), (address, _)] = keys(address, name);
        self.keys.remove(&name);
        if let Some(tries) = self.keys.get_mut(&address) {
            tries.count = tries.count.saturating_sub(1);
        }
    }

    fn make_room(&mut self, key: &Key, now: MonoTime) {
        if self.keys.len() < KEYS_MAX || self.keys.contains_key(key) {
            return;
        }
        self.keys.retain(|_, tries| now.since(tries.last) < FORGET_AFTER);
        if self.keys.len() >= KEYS_MAX {
            // A quarter at once, so that a flood of addresses does not search the whole map at every try.
            let mut moments: Vec<MonoTime> = self.keys.values().map(|tries| tries.last).collect();
            let (_, oldest_kept, _) = moments.select_nth_unstable(KEYS_MAX / 4);
            let oldest_kept = *oldest_kept;
            let mut surplus = KEYS_MAX / 4;
            self.keys.retain(|_, tries| {
                let goes = surplus > 0 && tries.last <= oldest_kept;
                surplus -= usize::from(goes);
                !goes
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 7));

    fn second(second: u64) -> MonoTime {
        MonoTime::from_millis(second * 1000)
    }

    #[test]
    fn waits_double_after_the_free_tries_and_end() {
        let mut throttle = Throttle::default();
        for _ in 0..FREE_PER_NAME {
            assert_eq!(throttle.attempt(HERE, "admin", second(0)), Ok(()));
        }
        let mut now = 0;
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(throttle.attempt(HERE, "ADMIN", second(now)), Err(Duration::from_secs(expected)));
            assert_eq!(throttle.attempt(HERE, "admin", second(now + expected - 1)), Err(Duration::from_secs(1)));
            now += expected;
            assert_eq!(throttle.attempt(HERE, "admin", second(now)), Ok(()));
        }
        assert_eq!(throttle.attempt(HERE, "other", second(now)), Ok(()), "another name has its own tries");
        assert_eq!(throttle.attempt(HERE, "admin", second(now + 900)), Ok(()));
        assert_eq!(throttle.attempt(HERE, "admin", second(now + 900)), Ok(()), "forgotten after a quarter of an hour");
    }

    #[test]
    fn an_address_that_tries_many_names_waits_too() {
        let mut throttle = Throttle::default();
        for name in 0..FREE_PER_ADDRESS {
            assert_eq!(throttle.attempt(HERE, &format!("user{name}"), second(0)), Ok(()));
        }
        assert!(throttle.attempt(HERE, "one-more", second(0)).is_err());
        assert_eq!(throttle.attempt("10.0.0.1".parse().unwrap(), "one-more", second(0)), Ok(()));
    }

    #[test]
    fn success_clears_the_name() {
        let mut throttle = Throttle::default();
        for _ in 0..100 {
            assert_eq!(throttle.attempt(HERE, "admin", second(0)), Ok(()));
            throttle.succeeded(HERE, "admin");
        }
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one() {
        let mut throttle = Throttle::default();
        for host in 0..FREE_PER_NAME {
            assert_eq!(throttle.attempt(format!("2001:db8::{host}").parse().unwrap(), "a", second(0)), Ok(()));
        }
        assert!(throttle.attempt("2001:db8::ffff".parse().unwrap(), "a", second(0)).is_err());
        assert_eq!(throttle.attempt("2001:db8:0:1::1".parse().unwrap(), "a", second(0)), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..2 * u32::try_from(KEYS_MAX).unwrap() {
            let address = IpAddr::from(std::net::Ipv4Addr::from(n));
            assert_eq!(throttle.attempt(address, "a", second(u64::from(n) / 100)), Ok(()));
            assert!(throttle.keys.len() <= KEYS_MAX);
        }
    }
}
