//! Samples by contender, and the table they become.

use std::fmt::Write as _;

/// What one contender did in all rounds.
#[derive(Clone, Debug)]
pub struct Row {
    /// Who, and how it was set up.
    pub contender: String,
    /// One figure a round, in the table's unit; less is better.
    pub samples: Vec<f64>,
    /// Further columns, one text each.
    pub more: Vec<String>,
}

impl Row {
    /// A row without samples yet.
    pub fn new(contender: impl Into<String>) -> Self {
        Self { contender: contender.into(), samples: Vec::new(), more: Vec::new() }
    }
}

/// The middle of `samples`, the mean of the two middle ones if their number is even; `None` if there are none.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some((low + high) / 2.0)
}

/// A table in Markdown. The first row is us: ratios are to its median. `unit` is that of the samples, `more` names the
/// further columns.
pub fn markdown(unit: &str, more: &[&str], rows: &[Row]) -> String {
    let mut text = format!("| contender | median {unit} | min..max | ratio to us |");
    more.iter().for_each(|name| write!(text, " {name} |").expect("a String grows"));
    text.push_str("\n|---|---|---|---|");
    more.iter().for_each(|_| text.push_str("---|"));
    text.push('\n');
    let ours = rows.first().and_then(|row| median(&row.samples));
    for row in rows {
        let line = match median(&row.samples) {
            None => "failed | - | -".to_owned(),
            Some(middle) => {
                let low = row.samples.iter().copied().fold(f64::INFINITY, f64::min);
                let high = row.samples.iter().copied().fold(0.0, f64::max);
                let ratio = ours.map_or("-".to_owned(), |ours| format!("{:.2}", middle / ours));
                format!("{middle:.3} | {low:.3}..{high:.3} | {ratio}")
            }
        };
        write!(text, "| {} | {line} |", row.contender).expect("a String grows");
        (0..more.len())
            .for_each(|i| write!(text, " {} |", row.more.get(i).map_or("-", String::as_str)).expect("a String grows"));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_first_row() {
        let mut rows = [Row::new("us"), Row::new("them"), Row::new("absent")];
        rows[0].samples = vec![3.0, 1.0, 2.0];
        rows[1].samples = vec![4.0, 8.0];
        rows[1].more = vec!["11 MB".to_owned()];
        let text = markdown("ms", &["memory"], &rows);
        assert!(text.contains("| us | 2.000 | 1.000..3.000 | 1.00 | - |"), "{text}");
        assert!(text.contains("| them | 6.000 | 4.000..8.000 | 3.00 | 11 MB |"), "{text}");
        assert!(text.contains("| absent | failed | - | - | - |"), "{text}");
        assert_eq!(median(&[]), None);
    }
}
