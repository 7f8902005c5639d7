//! The two tables that a decision looks into: names to [`Record`]s, and pairs of keys to blocks of rules.
//!
//! Laid out for a memory that is far away: a name is found by one probe of a dense table of tags and one cache line that
//! holds the name itself and the keys behind it.
//!
//! Names come from the site's admins and are hashed by a few multiplications, not by a keyed hash. Names chosen to collide
//! (which only somebody who may write the rules could choose) would make long chains; a table whose longest chain is too
//! long is built again with another seed.

use godvision_core::Name;

/// Longest name that a record holds itself.
const INLINE_BYTES: usize = 28;
/// Keys that a record holds itself.
const INLINE_KEYS: usize = 6;
/// A table with a longer chain is built again with another seed: at half load chains are far shorter.
const CHAIN_MAX: usize = 128;
/// Seeds tried before the last one is taken as it is.
const SEEDS: u64 = 8;

/// What the index knows about one person or door: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Record {
    /// The name; or the place of a long one in [`Names::long`], little endian.
    text: [u8; INLINE_BYTES],
    /// Bytes of the name; [`LONG`] if it stands elsewhere.
    text_bytes: u8,
    keys_count: u8,
    /// The block of rules about this person alone: from here up to `own_to`.
    pub(super) own_from: u32,
    pub(super) own_to: u32,
    /// The keys; or the place of many in [`Names::more_keys`].
    keys: [u32; INLINE_KEYS],
}

const LONG: u8 = u8::MAX;

/// Names and what stands behind each.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    seed: u64,
    /// 0 if free; else the high half of the hash, and 1 + the place in `records`. A power of two of them, at most half
    /// taken.
    tags: Vec<u64>,
    records: Vec<Record>,
    long: Vec<Name>,
    more_keys: Vec<u32>,
}

impl Names {
    /// From names (each once), their keys (at most 255) and their own blocks.
    pub(super) fn new<'a>(entries: impl ExactSizeIterator<Item = (&'a Name, Vec<u32>, (u32, u32))>) -> Self {
        let mut names = Self { records: Vec::with_capacity(entries.len()), ..Self::default() };
        let mut all = Vec::with_capacity(entries.len());
        for (name, keys, (own_from, own_to)) in entries {
            names.add(name, &keys, own_from, own_to);
            all.push(name);
        }
        while !names.fill_tags(&all) && names.seed < SEEDS {
            names.seed += 1;
        }
        names
    }

    fn add(&mut self, name: &Name, keys: &[u32], own_from: u32, own_to: u32) {
        let mut record = Record {
            text: [0; INLINE_BYTES],
            text_bytes: LONG,
            keys_count: keys.len() as u8,
            own_from,
            own_to,
            keys: [0; INLINE_KEYS],
        };
        let bytes = name.as_str().as_bytes();
        match record.text.get_mut(..bytes.len()) {
            Some(text) => {
                text.copy_from_slice(bytes);
                record.text_bytes = bytes.len() as u8;
            }
            None => {
                let place = (self.long.len() as u32).to_le_bytes();
                record.text.iter_mut().zip(place).for_each(|(byte, digit)| *byte = digit);
                self.long.push(name.clone());
            }
        }
        match record.keys.get_mut(..keys.len()) {
            Some(inline) => inline.copy_from_slice(keys),
            None => {
                record.keys.iter_mut().take(1).for_each(|place| *place = self.more_keys.len() as u32);
                self.more_keys.extend_from_slice(keys);
            }
        }
        self.records.push(record);
    }

    /// Whether every chain is short enough.
    fn fill_tags(&mut self, names: &[&Name]) -> bool {
        let size = (names.len() * 2).next_power_of_two();
        self.tags = vec![0; size];
        let mut longest = 0;
        for (place, name) in names.iter().enumerate() {
            let hash = hash(name.as_str().as_bytes(), self.seed);
            let mut chain = 0;
            while let Some(tag) = self.tags.get_mut((hash as usize).wrapping_add(chain) & (size - 1)) {
                if *tag == 0 {
                    *tag = hash & HIGH_HALF | (place as u64 + 1);
                    break;
                }
                chain += 1;
            }
            longest = longest.max(chain);
        }
        longest <= CHAIN_MAX
    }

    /// The record of `name`.
    #[inline]
    pub(super) fn get(&self, name: &Name) -> Option<&Record> {
        let bytes = name.as_str().as_bytes();
        let hash = hash(bytes, self.seed);
        let mask = self.tags.len().wrapping_sub(1);
        let mut place = hash as usize & mask;
        loop {
            // A table without names has no tag at all; otherwise half of the tags are free, so this ends.
            let tag = *self.tags.get(place)?;
            if tag == 0 {
                return None;
            }
            if (tag ^ hash) & HIGH_HALF == 0
                && let Some(record) = self.records.get((tag & !HIGH_HALF) as usize - 1)
                && self.is(record, bytes)
            {
                return Some(record);
            }
            place = (place + 1) & mask;
        }
    }

    #[inline]
    fn is(&self, record: &Record, bytes: &[u8]) -> bool {
        if record.text_bytes == LONG {
            let [a, b, c, d, ..] = record.text;
            let name = self.long.get(u32::from_le_bytes([a, b, c, d]) as usize);
            return name.is_some_and(|name| name.as_str().as_bytes() == bytes);
        }
        usize::from(record.text_bytes) == bytes.len() && record.text.get(..bytes.len()) == Some(bytes)
    }

    /// The keys of a record.
    #[inline]
    pub(super) fn keys<'a>(&'a self, record: &'a Record) -> &'a [u32] {
        let count = usize::from(record.keys_count);
        record.keys.get(..count).unwrap_or_else(|| {
            let [from, ..] = record.keys;
            self.more_keys.get(from as usize..from as usize + count).unwrap_or(&[])
        })
    }
}

const HIGH_HALF: u64 = 0xffff_ffff_0000_0000;

/// Eight bytes a step, each step one multiplication whose halves are folded.
#[inline]
fn hash(bytes: &[u8], seed: u64) -> u64 {
    let start = (seed ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(start, |hash, word| mix(hash ^ u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    mix(hash ^ u64::from_le_bytes(last))
}

#[inline]
fn mix(value: u64) -> u64 {
    let product = u128::from(value ^ 0x9e37_79b9_7f4a_7c15) * u128::from(0xd6e8_feb8_6659_fd93_u64);
    (product >> 64) as u64 ^ product as u64
}

/// From a pair of keys to a block: the keys are our own numbers, so nobody can choose collisions.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    /// A power of two of them, at most half taken; a length of 0 is a free one.
    slots: Vec<(u64, u32, u32)>,
}

impl Pairs {
    /// From (subject, door), each once, and where their block begins and how long it is (not 0).
    pub(super) fn new(blocks: &[((u32, u32), u32, u32)]) -> Self {
        let size = (blocks.len() * 2).next_power_of_two();
        let mut slots = if blocks.is_empty() { Vec::new() } else { vec![(0, 0, 0); size] };
        for ((subject, door), from, length) in blocks {
            let key = pair(*subject, *door);
            let mut place = mix(key) as usize & (size - 1);
            while let Some(slot) = slots.get_mut(place) {
                if slot.2 == 0 {
                    *slot = (key, *from, *length);
                    break;
                }
                place = (place + 1) & (size - 1);
            }
        }
        Self { slots }
    }

    /// Where the block of the pair begins, and how long it is.
    #[inline]
    pub(super) fn get(&self, subject: u32, door: u32) -> Option<(u32, u32)> {
        let key = pair(subject, door);
        let mask = self.slots.len().wrapping_sub(1);
        let mut place = mix(key) as usize & mask;
        loop {
            let (found, from, length) = *self.slots.get(place)?;
            if length == 0 {
                return None;
            }
            if found == key {
                return Some((from, length));
            }
            place = (place + 1) & mask;
        }
    }
}

fn pair(subject: u32, door: u32) -> u64 {
    u64::from(subject) << 32 | u64::from(door)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let long = format!("{}/{}", "ä".repeat(40), "b".repeat(60));
        let texts: Vec<String> =
            (0..5000).map(|n| format!("person{n}")).chain([long.clone(), "x".repeat(28), "x".repeat(29)]).collect();
        let all: Vec<Name> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let keys = |n: usize| (0..(n % 9) as u32).map(|key| key + n as u32).collect::<Vec<_>>();
        let names = Names::new(all.iter().enumerate().map(|(n, name)| (name, keys(n), (n as u32, n as u32 + 3))));
        for (n, name) in all.iter().enumerate() {
            let record = names.get(name).unwrap();
            assert_eq!((names.keys(record), record.own_from, record.own_to), (&*keys(n), n as u32, n as u32 + 3));
        }
        for absent in ["person5000", "person", "x", &"x".repeat(30), &long[..long.len() - 1]] {
            assert!(names.get(&absent.parse().unwrap()).is_none(), "{absent}");
        }
        assert!(Names::default().get(&all[0]).is_none());
        assert_eq!(size_of::<Record>(), 64);
    }

    #[test]
    fn every_pair_is_found_and_no_other() {
        let blocks: Vec<((u32, u32), u32, u32)> = (0..3000).map(|n| ((n % 50, n / 50), n, n + 1)).collect();
        let pairs = Pairs::new(&blocks);
        for ((subject, door), from, length) in blocks {
            assert_eq!(pairs.get(subject, door), Some((from, length)));
            assert_eq!(pairs.get(door + 1000, subject), None);
        }
        assert_eq!((Pairs::new(&[]).get(0, 0), Pairs::default().get(0, 0)), (None, None));
    }

    #[test]
    fn a_table_with_long_chains_is_built_with_another_seed() {
        // Names whose hashes by seed 0 agree in the low bits, found by trying: what an adversary would do.
        let collide: Vec<Name> = (0u32..)
            .map(|n| format!("n{n}"))
            .filter(|text| hash(text.as_bytes(), 0) & 0x3ff == 7)
            .take(CHAIN_MAX + 100)
            .map(|text| text.parse().unwrap())
            .collect();
        let names = Names::new(collide.iter().map(|name| (name, Vec::new(), (0, 0))));
        assert_eq!(names.seed, 1);
        assert!(collide.iter().all(|name| names.get(name).is_some()));
    }
}
