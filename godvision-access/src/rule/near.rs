//! Which known name was meant: the nearest by edits, for error messages.

/// The name of `known` that needs the fewest edits to become `name`, if it needs few.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let name: Vec<char> = name.chars().take(COMPARED_CHARS).collect();
    let within = 1 + name.len() / 4;
    let distances = known.map(|other| (edits(&name, other), other));
    distances.filter(|(distance, _)| *distance <= within).min().map(|(_, other)| other.to_owned())
}

/// Longer names are compared by their beginnings.
const COMPARED_CHARS: usize = 64;

/// Insertions, deletions and replacements (Wagner and Fischer 1974, one row kept).
fn edits(name: &[char], other: &str) -> usize {
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for (line, there) in other.chars().take(COMPARED_CHARS).enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (here, cell) in row.iter_mut().enumerate() {
            let above = *cell;
            *cell = match here.checked_sub(1).and_then(|index| name.get(index)) {
                None => line + 1,
                Some(same) if *same == there => diagonal,
                Some(_) => 1 + diagonal.min(above).min(left),
            };
            (diagonal, left) = (above, *cell);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found_and_the_far_is_not() {
        let nearest = |name: &str| nearest(name, ["staff", "guests", "residents"].into_iter());
        assert_eq!(nearest("stuff").as_deref(), Some("staff"));
        assert_eq!(nearest("gests").as_deref(), Some("guests"));
        assert_eq!(nearest("resident").as_deref(), Some("residents"));
        assert_eq!(nearest("cleaners"), None);
        let edits = |a: &str, b: &str| edits(&a.chars().collect::<Vec<_>>(), b);
        assert_eq!((edits("kitten", "sitting"), edits("", "abc"), edits("abc", "")), (3, 3, 3));
    }
}
