use super::packing::Packing as _;
use super::*;
use proptest::prelude::*;

fn bytes(n: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Extremes must turn up.
            match state % 11 {
                0 => 0,
                1 => 255,
                _ => (state >> 32) as u8,
            }
        })
        .collect()
}

fn flags(n: usize, seed: u64) -> Vec<u8> {
    bytes(n, seed).into_iter().map(|v| v & 1).collect()
}

/// Rows of flags as words, with `margin` more rows of nothing above and below; and the words of a row.
fn packed(flags: &[u8], width: usize, margin: usize) -> (Vec<u64>, usize) {
    let words = (width + PADDING_MIN).div_ceil(64);
    let mut packed = vec![0; (flags.len() / width + 2 * margin) * words];
    for (i, &flag) in flags.iter().enumerate() {
        packed[(i / width + margin) * words + i % width / 64] |= u64::from(flag) << (i % width % 64);
    }
    (packed, words)
}

fn unpacked(flags: &[u64], words: usize, width: usize) -> Vec<u8> {
    let row = |row: &[u64]| (0..width).map(|x| (row[x / 64] >> (x % 64) & 1) as u8).collect::<Vec<u8>>();
    flags.chunks_exact(words).flat_map(row).collect()
}

/// What `run` gives at the specification, after checking that every other level gives the same.
fn same_everywhere<T: PartialEq + std::fmt::Debug>(run: impl Fn(Level) -> T) -> T {
    let wanted = run(Level::PORTABLE);
    for level in Level::available() {
        assert_eq!(run(level), wanted, "{}", level.name());
    }
    wanted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn box4_is_the_rounded_mean_at_every_level(w in 1usize..70, h in 1usize..6, pad in 0usize..9, seed: u64) {
        let stride = w * 4 + pad;
        let src = bytes(stride * (h * 4 - 1) + w * 4, seed);
        let out = same_everywhere(|level| {
            let mut out = vec![0; w * h];
            box4(level, &src, stride, &mut out, w);
            out
        });
        for (i, &mean) in out.iter().enumerate() {
            let (x, y) = (i % w * 4, i / w * 4 + 1);
            let sum: u32 = (0..8).map(|k| u32::from(src[(y + k / 4) * stride + x + k % 4])).sum();
            prop_assert_eq!(u32::from(mean), (sum + 4) / 8);
        }
    }

    #[test]
    fn any_box_is_the_mean_within_one(factor in 1usize..17, w in 1usize..20, h in 1usize..4, seed: u64) {
        let stride = w * factor + 3;
        let src = bytes(stride * h * factor, seed);
        let out = same_everywhere(|level| {
            let (mut out, mut sums) = (vec![0; w * h], vec![0; w * factor]);
            box_any(level, &src, stride, factor, &mut out, w, &mut sums);
            out
        });
        let area = (factor * rows_read(factor).len()) as u32;
        for (i, &mean) in out.iter().enumerate() {
            let (x, y) = (i % w * factor, i / w * factor);
            let row = |row: usize| src[(y + row) * stride + x..][..factor].iter().map(|v| u32::from(*v)).sum::<u32>();
            let sum: u32 = rows_read(factor).map(row).sum();
            let exact = (sum + area / 2) / area;
            prop_assert!(u32::from(mean) == exact || u32::from(mean) == exact + 1);
            prop_assert!(!area.is_power_of_two() || u32::from(mean) == exact);
        }
    }

    #[test]
    fn blur_is_the_binomial_mean(w in 1usize..100, h in 1usize..8, pad in 0usize..9, seed: u64) {
        let (src, stride) = (bytes(w * h, seed), w + pad);
        let out = same_everywhere(|level| {
            let (mut out, mut line) = (vec![7; stride * h], vec![0; w + 2]);
            blur3(level, &src, w, &mut out, stride, &mut line);
            out
        });
        let near = |i: usize, d: isize, n: usize| i.saturating_add_signed(d).min(n - 1);
        let down = |x: usize, y: usize| {
            let sum: u32 = [(-1, 1), (0, 2), (1, 1)].iter().map(|&(d, by)| by * u32::from(src[near(y, d, h) * w + x])).sum();
            (sum + 2) / 4
        };
        for (i, &blurred) in out.iter().enumerate() {
            let (x, y) = (i % stride, i / stride);
            let sum: u32 = if x < w {
                [(-1, 1), (0, 2), (1, 1)].iter().map(|&(d, by)| by * down(near(x, d, w), y)).sum()
            } else {
                7 * 4
            };
            prop_assert_eq!(u32::from(blurred), if x < w { (sum + 2) / 4 } else { 7 });
        }
    }

    #[test]
    fn classification_counts_what_it_marks(words in 1usize..40, seed: u64) {
        let n = words * 64;
        let (now, before, back) = (bytes(n, seed), bytes(n, seed ^ 2), bytes(n, seed ^ 4));
        let threshold = bytes(n, seed ^ 8);
        let (raw, counts) = same_everywhere(|level| {
            let mut raw = vec![9; words];
            let counts = classify(level, &now, &before, &back, &threshold, &mut raw, 10);
            (raw, counts)
        });
        let mut wanted = Counts::default();
        for i in 0..n {
            let changed = now[i].abs_diff(back[i]) > threshold[i];
            prop_assert_eq!(raw[i / 64] >> (i % 64) & 1, u64::from(changed));
            wanted.raw += usize::from(changed);
            wanted.steady += usize::from(changed && now[i].abs_diff(before[i]) <= 10);
            wanted.brighter += usize::from(now[i] > before[i] && now[i] - before[i] > 10);
            wanted.darker += usize::from(before[i] > now[i] && before[i] - now[i] > 10);
        }
        prop_assert_eq!(counts, wanted);
    }

    #[test]
    fn a_shift_by_two_is_no_change(w in 5usize..140, h in 5usize..12, dx in -2isize..=2, dy in -2isize..=2, seed: u64) {
        let stride = (w + PADDING_MIN).next_multiple_of(64);
        let plane = |seed| -> Vec<u8> {
            bytes(stride * h, seed).iter().enumerate().map(|(i, v)| if i % stride < w { *v } else { 0 }).collect()
        };
        let back = plane(seed);
        let now: Vec<u8> = (0..stride * h)
            .map(|i| {
                let x = (i % stride).saturating_add_signed(dx).min(w - 1);
                let y = (i / stride).saturating_add_signed(dy).min(h - 1);
                if i % stride < w { back[y * stride + x] } else { 0 }
            })
            .collect();
        let words = stride / 64;
        let classified = |level, now: &[u8], threshold: u8, every| {
            let (mut raw, mut lows, mut highs) = (vec![0; words * h], vec![0; w + 4], vec![0; w + 4]);
            let (threshold, line) = (vec![threshold; stride * h], &mut vec![0; stride]);
            classify_shifted(level, now, &back, &threshold, w, stride, every, &mut raw, &mut lows, &mut highs, line);
            raw
        };
        prop_assert_eq!(same_everywhere(|level| classified(level, &now, 0, 1)), vec![0; words * h]);
        let other = plane(seed ^ 1);
        let raw = same_everywhere(|level| classified(level, &other, 3, 1));
        let some = same_everywhere(|level| classified(level, &other, 3, 3));
        let flags = unpacked(&raw, stride / 64, w);
        for (i, flag) in flags.iter().enumerate() {
            let (x, y) = (i % w, i / w);
            let rows = y.saturating_sub(2)..(y + 3).min(h);
            let window = rows.flat_map(|y| (x.saturating_sub(2)..(x + 3).min(w)).map(move |x| y * stride + x));
            let window: Vec<u8> = window.map(|i| back[i]).collect();
            let (low, high) = (window.iter().min().unwrap(), window.iter().max().unwrap());
            let value = other[y * stride + x];
            let differs = value.saturating_sub(*high).max(low.saturating_sub(value));
            prop_assert_eq!(*flag == 1, differs > 3);
        }
        let count = |every| flags.chunks_exact(w).step_by(every).flatten().filter(|flag| **flag == 1).count();
        let counted = |flags: &[u64], every| same_everywhere(|level| count_beside(level, flags, &[], words, every));
        prop_assert_eq!((counted(&raw, 1), counted(&raw, 3)), (count(1), count(3)), "no padding is set");
        prop_assert_eq!(counted(&some, 1), count(3), "other rows are left alone");
        prop_assert_eq!(same_everywhere(|level| count_beside(level, &raw, &some, words, 1)), count(1) - count(3));
    }

    #[test]
    fn windows_are_counted(w in 1usize..200, h in 1usize..40, density in 1u8..8, seed: u64) {
        let some: Vec<u8> = bytes(w * h, seed).iter().map(|v| u8::from(v % 8 < density)).collect();
        let count = |flags: &[u8], i: usize, radius: usize, of: u8| {
            let (x, y) = (i % w, i / w);
            let rows = y.saturating_sub(radius)..(y + radius + 1).min(h);
            rows.map(|y| {
                let columns = x.saturating_sub(radius)..(x + radius + 1).min(w);
                columns.filter(|&x| flags[y * w + x] == of).count()
            })
            .sum::<usize>()
        };
        let naive = |flags: &[u8], radius, of: u8, from: usize| -> Vec<u8> {
            (0..w * h).map(|i| u8::from(count(flags, i, radius, of) >= from)).collect()
        };
        let dilated = |flags: &[u8], radius| naive(flags, radius, 1, 1);
        let eroded = |flags: &[u8], radius| -> Vec<u8> { naive(flags, radius, 0, 1).iter().map(|flag| 1 - flag).collect() };
        let with = |run: fn(Level, &mut [u64], usize, usize, &mut [u64])| {
            same_everywhere(|level| {
                let (mut flags, words) = packed(&some, w, 0);
                let mut scratch = vec![u64::MAX; flags.len()];
                run(level, &mut flags, words, w, &mut scratch);
                // Nothing outside the picture is set.
                assert_eq!(packed(&unpacked(&flags, words, w), w, 0).0, flags);
                unpacked(&flags, words, w)
            })
        };
        prop_assert_eq!(with(close5), eroded(&dilated(&some, 2), 2));
        prop_assert_eq!(with(open3), dilated(&eroded(&some, 1), 1));
        prop_assert_eq!(with(dilate7), dilated(&some, 3));
        let voted = same_everywhere(|level| {
            let (flags, words) = packed(&some, w, 3);
            let mut out = vec![9; words * h];
            median5(level, &flags, words, &mut out);
            assert_eq!(packed(&unpacked(&out, words, w), w, 0).0, out);
            unpacked(&out, words, w)
        });
        prop_assert_eq!(voted, naive(&some, 2, 1, 13));
    }

    #[test]
    fn packed_flags_are_unpacked(seed: u64) {
        let values: [u8; 64] = bytes(64, seed).iter().map(|v| v & 3).collect::<Vec<u8>>().try_into().unwrap();
        let word = Packing::pack(&values);
        for (i, (value, flag)) in values.iter().zip(Packing::unpack(word)).enumerate() {
            prop_assert_eq!((word >> i & 1) as u8, u8::from(*value != 0));
            prop_assert_eq!(flag, u8::from(*value != 0));
        }
    }

    #[test]
    fn pixels_recall_two_values(words in 1usize..20, releases: bool, seed: u64) {
        let n = words * 64;
        let now = bytes(n, seed);
        let near = |k: u64| -> Vec<u8> { now.iter().zip(bytes(n, seed ^ k)).map(|(x, r)| x.wrapping_add(r % 32)).collect() };
        let (was, is) = (near(2), near(4));
        let owner: Vec<u8> = bytes(n, seed ^ 8).iter().enumerate().map(|(i, v)| if i / 64 % 3 == 1 { 0 } else { v % 3 }).collect();
        let (o, w, s, counts) = same_everywhere(|level| {
            let (mut o, mut w, mut s) = (owner.clone(), was.clone(), is.clone());
            let counts = recall(level, &now, &mut o, &mut w, &mut s, 2, 15, releases);
            (o, w, s, counts)
        });
        let mut wanted = [0, 0];
        for i in 0..n {
            let (to_was, to_is) = (now[i].abs_diff(was[i]), now[i].abs_diff(is[i]));
            let there = owner[i] == 2 && to_is <= 15 && to_is < to_was;
            let gone = owner[i] == 2 && !there && to_was <= 15;
            wanted[0] += u32::from(there);
            wanted[1] += u32::from(gone);
            prop_assert_eq!(o[i], if gone && releases { 0 } else { owner[i] });
            let step = if there { now[i].cmp(&is[i]) as i16 } else { 0 };
            prop_assert_eq!(i16::from(s[i]), i16::from(is[i]) + step);
            prop_assert_eq!(i16::from(w[i]), (i16::from(was[i]) + step).clamp(0, 255));
        }
        prop_assert_eq!(counts, wanted);
    }

    #[test]
    fn blocks_are_summed(stride in 16usize..80, seed: u64) {
        let plane = |k| bytes(stride * 20, seed ^ k);
        let (now, reference, previous) = (plane(1), plane(2), plane(4));
        let corner = stride * 3 + stride - 16;
        let found = same_everywhere(|level| tally(level, &now, &reference, &previous, stride, corner));
        let mut wanted = Tally::default();
        for y in (0..16).step_by(2) {
            for x in 0..16 {
                let i = corner + y * stride + x;
                let (a, b, c) = (i32::from(now[i]), i32::from(reference[i]), i32::from(previous[i]));
                wanted.a += a;
                wanted.b += b;
                wanted.aa += a * a;
                wanted.bb += b * b;
                wanted.ab += a * b;
                wanted.moved += (a - c).abs();
                if x < 15 {
                    wanted.fine_a += (a - i32::from(now[i + 1])).pow(2);
                    wanted.fine_b += (b - i32::from(reference[i + 1])).pow(2);
                }
            }
        }
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn flagged_pixels_adopt_what_they_keep(words in 1usize..20, seed: u64) {
        let n = words * 64;
        let (flags, kept, stillness) = (flags(n, seed), bytes(n, seed ^ 2), bytes(n, seed ^ 4));
        let (back, threshold) = (bytes(n, seed ^ 8), bytes(n, seed ^ 16));
        let packed: Vec<u64> =
            flags.chunks(64).map(|flags| flags.iter().rev().fold(0, |word, flag| word << 1 | u64::from(*flag))).collect();
        let (b, t) = same_everywhere(|level| {
            let (mut back, mut threshold) = (back.clone(), threshold.clone());
            adopt(level, &packed, &kept, &stillness, 3, &mut back, &mut threshold, 14);
            (back, threshold)
        });
        for i in 0..n {
            let takes = flags[i] == 1 && stillness[i] >= 3;
            prop_assert_eq!((b[i], t[i]), if takes { (kept[i], 14) } else { (back[i], threshold[i]) });
        }
    }

    #[test]
    fn the_model_learns_the_same_at_every_level(words in 1usize..40, adapt: bool, slow_tick: bool, seed: u64) {
        let step = UpdateStep {
            adapt, slow_tick, floor: 14, ceiling: 40, still_within: 10, still_from: 15, still_fast: 60, still_absorb: 250,
        };
        let n = words * 64;
        // Nothing covers some of the words, everything some others.
        let covers = |word: u64, i: usize| match i % 3 { 0 => 0, 1 => u64::MAX, _ => word };
        let random = |k: u64| -> Vec<u64> {
            bytes(words * 8, seed ^ k).as_chunks().0.iter().map(|eight| u64::from_le_bytes(*eight)).collect()
        };
        let mask_words: Vec<u64> = random(1).iter().enumerate().map(|(i, word)| covers(*word, i)).collect();
        let (raw_words, raw_before_words) = (random(2), random(3));
        let unpack = |words: &[u64]| (0..n).map(|i| (words[i / 64] >> (i % 64) & 1) as u8).collect::<Vec<u8>>();
        let (mask, raw, raw_before) = (unpack(&mask_words), unpack(&raw_words), unpack(&raw_before_words));
        let now = bytes(n, seed);
        let threshold: Vec<u8> = bytes(n, seed ^ 5).iter().map(|v| 14 + v % 27).collect();
        // Near values must occur as well as far ones.
        let kept: Vec<u8> = now.iter().zip(bytes(n, seed ^ 6)).map(|(x, r)| x.wrapping_add(r % 24)).collect();
        let (back, stillness) = (bytes(n, seed ^ 7), bytes(n, seed ^ 8));
        let (b, t, k, s, still, count) = same_everywhere(|level| {
            let (mut b, mut t, mut k, mut s) = (back.clone(), threshold.clone(), kept.clone(), stillness.clone());
            let (m, r, before) = (&mask_words, &raw_words, &raw_before_words);
            let mut still = vec![9; words];
            let count = update(level, &now, m, r, before, &mut b, &mut t, &mut k, &mut s, &mut still, step);
            (b, t, k, s, unpack(&still), count)
        });
        prop_assert_eq!(still.iter().filter(|&&flag| flag == 1).count(), count);
        for i in 0..n {
            let near = now[i].abs_diff(kept[i]) <= 10;
            let counts = stillness[i] < 60 || slow_tick;
            let wanted_s = if near { stillness[i].saturating_add(u8::from(counts)) } else { 0 };
            prop_assert_eq!(s[i], wanted_s);
            prop_assert_eq!(still[i] == 1, mask[i] == 1 && s[i] >= 15);
            let follows = if near { k[i].abs_diff(kept[i]) <= 1 } else { k[i] == now[i] };
            prop_assert!(follows);
            let toward = match now[i].cmp(&back[i]) {
                _ if mask[i] == 1 => back[i],
                std::cmp::Ordering::Greater => back[i] + 1,
                std::cmp::Ordering::Less => back[i] - 1,
                std::cmp::Ordering::Equal => back[i],
            };
            prop_assert_eq!(b[i], if mask[i] == 1 && s[i] >= 250 { k[i] } else { toward });
            prop_assert!((14..=40).contains(&t[i]));
            if mask[i] == 1 || !adapt {
                prop_assert_eq!(t[i], (threshold[i] + (raw_before[i] & !raw[i] & 1)).min(40));
            }
        }
    }
}
