//! What a change of light does to grey levels: so that the background behind those who stand in the picture can be carried
//! over to the new light, although nobody sees it.
//!
//! Where nothing covers the background, each pixel shows what its old grey level has become. The median of these for every
//! old level is the change, whatever it is: a lamp, the exposure, an infra-red filter that turns light to dark (Mann,
//! "Comparametric equations", 2000, calls the counts a comparagram). If most pixels agree with it, it holds for what is
//! covered, too.
//!
//! **Never:** one lamp in a corner: that is no change of grey levels, and pixels do not agree.

#![forbid(unsafe_code)]

/// Grey levels.
const LEVELS: usize = 256;
/// Fewest pixels of a level and its two neighbours for a median.
const SAMPLES_MIN: u32 = 12;
/// A pixel agrees if it is this near to what the change makes of it: the lowest threshold of the model's.
const AGREES: u8 = 14;
/// Share of the pixels, in 1/100, that must agree.
const AGREE_PERCENT: u64 = 70;

/// Counts of (old level, new level).
#[derive(Debug)]
pub(super) struct Tones {
    counts: Vec<u16>,
}

impl Tones {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; LEVELS * LEVELS] }
    }

    /// The new level of every old one, or `None` if the pixels do not agree on one.
    pub(super) fn learn(&mut self, pixels: impl Iterator<Item = (u8, u8)>) -> Option<[u8; LEVELS]> {
        self.counts.fill(0);
        for (old, new) in pixels {
            let count = &mut self.counts[usize::from(old) * LEVELS + usize::from(new)];
            *count = count.saturating_add(1);
        }
        let mut tones = [None; LEVELS];
        for (old, tone) in tones.iter_mut().enumerate() {
            *tone = self.median(old.saturating_sub(1)..(old + 2).min(LEVELS));
        }
        let filled = fill(tones)?;
        let (mut agree, mut all) = (0, 0);
        for (counts, tone) in self.counts.chunks_exact(LEVELS).zip(filled) {
            for (new, &count) in counts.iter().enumerate() {
                all += u64::from(count);
                agree += if (new as u8).abs_diff(tone) <= AGREES { u64::from(count) } else { 0 };
            }
        }
        (agree * 100 >= all * AGREE_PERCENT && all > 0).then_some(filled)
    }

    /// The median of what has become of some levels.
    fn median(&self, old: std::ops::Range<usize>) -> Option<u8> {
        let rows = &self.counts[old.start * LEVELS..old.end * LEVELS];
        let total: u32 = rows.iter().map(|&count| u32::from(count)).sum();
        if total < SAMPLES_MIN {
            return None;
        }
        let mut below = 0;
        (0..LEVELS)
            .find(|new| {
                below += rows.iter().skip(*new).step_by(LEVELS).map(|&count| u32::from(count)).sum::<u32>();
                below * 2 >= total
            })
            .map(|new| new as u8)
    }
}

/// Levels that nobody shows lie on a line between those beside them.
fn fill(tones: [Option<u8>; LEVELS]) -> Option<[u8; LEVELS]> {
    let mut filled = [0; LEVELS];
    let first = tones.iter().position(Option::is_some)?;
    let mut last = (first, tones[first]?);
    for (level, tone) in tones.iter().enumerate() {
        let Some(tone) = *tone else {
            filled[level] = last.1;
            continue;
        };
        let (from, value) = last;
        let (span, rise) = ((level - from).max(1) as i32, i32::from(tone) - i32::from(value));
        for (step, between) in filled[from..level].iter_mut().enumerate() {
            *between = (i32::from(value) + rise * step as i32 / span) as u8;
        }
        filled[level] = tone;
        last = (level, tone);
    }
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(change: impl Fn(u8) -> u8) -> Option<[u8; LEVELS]> {
        // Levels 40 to 199 but for 90 to 99, with noise of two levels.
        let pixels = (0..20_000_u32).map(|i| (40 + (i % 160) as u8, i)).filter(|(old, _)| !(90..100).contains(old));
        Tones::new()
            .learn(pixels.map(|(old, i)| (old, change(old).saturating_add((i / 160 % 5) as u8).saturating_sub(2))))
    }

    #[test]
    fn any_change_of_levels_is_learnt() {
        let changes: [fn(u8) -> u8; 4] = [
            |v| (f32::from(v) * 0.55) as u8,
            |v| (f32::from(v) * 1.8).min(255.0) as u8,
            |v| 255 - (f32::from(v) * 0.7) as u8,
            |v| (0.5 * f32::from(v) + 70.0 + 50.0 * (f32::from(v) / 20.0).sin()) as u8,
        ];
        for change in changes {
            let tones = learnt(change).expect("all agree");
            for level in (42..=197).filter(|level| !(88..102).contains(level)) {
                assert!(
                    tones[usize::from(level)].abs_diff(change(level)) <= 3,
                    "{level}: {}",
                    tones[usize::from(level)]
                );
            }
        }
        let tones = learnt(changes[0]).expect("all agree");
        assert!((90..100).all(|level| tones[level].abs_diff((level as f32 * 0.55) as u8) <= 2), "between");
    }

    #[test]
    fn pixels_that_do_not_agree_teach_nothing() {
        let mut state = 1_u32;
        let pixels = (0..20_000_u32).map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((i % 200) as u8, (state >> 24) as u8)
        });
        assert_eq!(Tones::new().learn(pixels), None);
        assert_eq!(Tones::new().learn(std::iter::empty()), None);
    }
}
