//! HTTP byte ranges: RFC 9110 section 14, one range at a time.
//!
//! **Never:** `multipart/byteranges` (no player asks for it; the whole file is a correct answer), other units.

use std::ops::Range;

/// What part of a file is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All of it: no range, one that is not understood, or several.
    Whole,
    /// These bytes; never empty, never beyond the end.
    Part(Range<u64>),
    /// Bytes that the file does not have.
    Beyond,
}

/// Reads the `Range` header of a request for a file of `size_bytes`.
pub fn asked(header: Option<&str>, size_bytes: u64) -> Asked {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else { return Asked::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Asked::Whole };
    // `u64::from_str` takes a leading plus, which the grammar does not.
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    match (first.trim(), last.trim()) {
        ("", "") => Asked::Whole,
        ("", suffix) => match number(suffix) {
            None => Asked::Whole,
            Some(0) => Asked::Beyond,
            Some(_) if size_bytes == 0 => Asked::Beyond,
            Some(suffix) => Asked::Part(size_bytes.saturating_sub(suffix)..size_bytes),
        },
        (first, last) => {
            let last = if last.is_empty() { Some(u64::MAX) } else { number(last) };
            match (number(first), last) {
                (Some(first), Some(last)) if first <= last => {
                    if first < size_bytes {
                        Asked::Part(first..last.saturating_add(1).min(size_bytes))
                    } else {
                        Asked::Beyond
                    }
                }
                _ => Asked::Whole,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_forms_of_the_standard() {
        assert_eq!(asked(None, 10), Asked::Whole);
        assert_eq!(asked(Some("bytes=0-4"), 10), Asked::Part(0..5));
        assert_eq!(asked(Some("bytes=9-9"), 10), Asked::Part(9..10));
        assert_eq!(asked(Some("bytes=4-"), 10), Asked::Part(4..10));
        assert_eq!(asked(Some("bytes=4-99"), 10), Asked::Part(4..10));
        assert_eq!(asked(Some("bytes=-3"), 10), Asked::Part(7..10));
        assert_eq!(asked(Some("bytes=-30"), 10), Asked::Part(0..10));
        assert_eq!(asked(Some("bytes=10-"), 10), Asked::Beyond);
        assert_eq!(asked(Some("bytes=-0"), 10), Asked::Beyond);
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Beyond);
    }

    #[test]
    fn what_is_not_understood_is_the_whole_file() {
        for header in
            ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=+1-2", "lines=0-1", "bytes=0-1,3-4"]
        {
            assert_eq!(asked(Some(header), 10), Asked::Whole, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_beyond(header in "bytes=[0-9]{0,20}-[0-9]{0,20}", size: u64) {
            if let Asked::Part(part) = asked(Some(&header), size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }
}
