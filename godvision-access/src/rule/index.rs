//! The two tables that a decision looks into: names to [`Record`]s, and pairs of keys to blocks of rules.
//!
//! Laid out for a memory that is far away: a name's place in the table is one cache line that holds the name itself and the
//! keys behind it; a pair's place holds the first rule of its block, which mostly settles it. So a decision waits for two
//! far loads one after the other, however many rules there are: the person, then that person's rules and pairs together.
//!
//! Names come from the site's admins and are hashed by a few multiplications, not by a keyed hash. Names chosen to collide
//! (which only somebody who may write the rules could choose) would make long chains; a table whose longest chain is too
//! long is built again with another seed.

use godvision_core::Name;

use super::compile::Entry;

/// Longest name that a record holds itself.
const INLINE_BYTES: usize = 28;
/// Keys that a record holds itself.
const INLINE_KEYS: usize = 6;
/// A table with a longer chain is built again with another seed; chains are far shorter unless names were chosen.
const CHAIN_MAX: usize = 128;
/// Seeds tried before the last one is taken as it is.
const SEEDS: u64 = 8;

/// What the index knows about one person or door: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Record {
    /// The name; or the place of a long one in [`Names::long`], little endian.
    text: [u8; INLINE_BYTES],
    /// Bytes of the name, 0 in a free place; [`LONG`] if it stands elsewhere.
    text_bytes: u8,
    keys_count: u8,
    /// The block of rules about this person alone: from here up to `own_to`.
    pub(super) own_from: u32,
    pub(super) own_to: u32,
    /// The keys; or the place of many in [`Names::more_keys`].
    keys: [u32; INLINE_KEYS],
}

const LONG: u8 = u8::MAX;

impl Record {
    const FREE: Self =
        Self { text: [0; INLINE_BYTES], text_bytes: 0, keys_count: 0, own_from: 0, own_to: 0, keys: [0; INLINE_KEYS] };
}

/// Names and what stands behind each.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    seed: u64,
    /// Open addressing, two thirds taken.
    records: Vec<Record>,
    long: Vec<Name>,
    more_keys: Vec<u32>,
}

impl Names {
    /// From names (each once), their keys (at most 255) and their own blocks.
    pub(super) fn new<'a>(entries: impl ExactSizeIterator<Item = (&'a Name, Vec<u32>, (u32, u32))>) -> Self {
        let mut names = Self::default();
        let mut all = Vec::with_capacity(entries.len());
        for (name, keys, (own_from, own_to)) in entries {
            all.push((name, names.record(name, &keys, own_from, own_to)));
        }
        while !names.fill(&all) && names.seed < SEEDS {
            names.seed += 1;
        }
        names
    }

    fn record(&mut self, name: &Name, keys: &[u32], own_from: u32, own_to: u32) -> Record {
        let mut record = Record { text_bytes: LONG, keys_count: keys.len() as u8, own_from, own_to, ..Record::FREE };
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
        record
    }

    /// Whether every chain is short enough.
    fn fill(&mut self, all: &[(&Name, Record)]) -> bool {
        let size = all.len() + all.len() / 2 + 1;
        self.records = vec![Record::FREE; if all.is_empty() { 0 } else { size }];
        let mut longest = 0;
        for (name, record) in all {
            let first = place(hash(name.as_str().as_bytes(), self.seed), size);
            let free =
                (0..size).find(|step| self.records.get((first + step) % size).is_some_and(|it| it.text_bytes == 0));
            if let Some((step, free)) = free.and_then(|step| Some((step, self.records.get_mut((first + step) % size)?)))
            {
                *free = *record;
                longest = longest.max(step);
            }
        }
        longest <= CHAIN_MAX
    }

    /// The record of `name`.
    #[inline]
    pub(super) fn get(&self, name: &Name) -> Option<&Record> {
        let bytes = name.as_str().as_bytes();
        let mut place = place(hash(bytes, self.seed), self.records.len());
        loop {
            // Of a table without names there is no place at all; in another a third is free, so this ends.
            let record = self.records.get(place)?;
            if record.text_bytes == 0 {
                return None;
            }
            if self.is(record, bytes) {
                return Some(record);
            }
            place += 1;
            if place == self.records.len() {
                place = 0;
            }
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

/// A hash as a place among `size`: its share of the whole range (Lemire 2019), which needs no power of two.
#[inline]
fn place(hash: u64, size: usize) -> usize {
    ((u128::from(hash) * size as u128) >> 64) as usize
}

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

/// The block of one pair of keys.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(super) struct Block {
    key: u64,
    /// Where the others stand.
    from: u32,
    /// How many entries there are with the first; 0 in a free place.
    count: u32,
    first: Entry,
}

impl Block {
    /// The first entry, and where the others stand.
    #[inline]
    pub(super) fn entries(&self) -> (&Entry, std::ops::Range<usize>) {
        (&self.first, self.from as usize..self.from as usize + self.count as usize - 1)
    }
}

/// From a pair of keys to a block: the keys are our own numbers, so nobody can choose collisions.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    /// Open addressing, two thirds taken.
    blocks: Vec<Block>,
}

impl Pairs {
    /// From (subject, door), each once, the first entry of their block, and where the others stand and how many they are.
    pub(super) fn new(all: &[((u32, u32), Entry, u32, u32)]) -> Self {
        let size = all.len() + all.len() / 2 + 1;
        let free = Block { key: 0, from: 0, count: 0, first: Entry::NONE };
        let mut blocks = if all.is_empty() { Vec::new() } else { vec![free; size] };
        for ((subject, door), first, from, others) in all {
            let key = pair(*subject, *door);
            let place = place(mix(key), size);
            let free =
                (0..size).map(|step| (place + step) % size).find(|at| blocks.get(*at).is_some_and(|it| it.count == 0));
            if let Some(block) = free.and_then(|at| blocks.get_mut(at)) {
                *block = Block { key, from: *from, count: others + 1, first: *first };
            }
        }
        Self { blocks }
    }

    /// The block of the pair.
    #[inline]
    pub(super) fn get(&self, subject: u32, door: u32) -> Option<&Block> {
        let key = pair(subject, door);
        let mut place = place(mix(key), self.blocks.len());
        loop {
            let block = self.blocks.get(place)?;
            if block.count == 0 {
                return None;
            }
            if block.key == key {
                return Some(block);
            }
            place += 1;
            if place == self.blocks.len() {
                place = 0;
            }
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
        let entry = |rank| Entry { rank, ..Entry::NONE };
        let blocks: Vec<_> = (0..3000).map(|n| ((n % 50, n / 50), entry(n), n, n)).collect();
        let pairs = Pairs::new(&blocks);
        for ((subject, door), first, from, others) in blocks {
            let range = from as usize..from as usize + others as usize;
            assert_eq!(pairs.get(subject, door).map(Block::entries), Some((&first, range)));
            assert!(pairs.get(door + 1000, subject).is_none());
        }
        assert!(Pairs::new(&[]).get(0, 0).is_none() && Pairs::default().get(0, 0).is_none());
        assert_eq!(size_of::<Block>(), 32);
    }

    #[test]
    fn a_table_with_long_chains_is_built_with_another_seed() {
        // Names whose hashes by seed 0 agree in the high bits, found by trying: what an adversary would do.
        let collide: Vec<Name> = (0u32..)
            .map(|n| format!("n{n}"))
            .filter(|text| hash(text.as_bytes(), 0) >> 54 == 7)
            .take(CHAIN_MAX + 100)
            .map(|text| text.parse().unwrap())
            .collect();
        let names = Names::new(collide.iter().map(|name| (name, Vec::new(), (0, 0))));
        assert_eq!(names.seed, 1);
        assert!(collide.iter().all(|name| names.get(name).is_some()));
    }
}
