//! Numbers as a reader wants them.

use super::error::PageError;

/// Largest magnitude that is shown: whole numbers up to here are exact in an `f64` with room for
/// a range around them.
pub(super) const LARGEST: f64 = 1e15;

/// Refuses what cannot be placed on an axis.
pub(super) fn checked(what: &str, index: usize, value: f64) -> Result<f64, PageError> {
    // Written so that NaN is refused too.
    if value.abs() <= LARGEST {
        Ok(value)
    } else {
        Err(PageError::Number { what: what.to_owned(), index, value })
    }
}

/// A number with about three significant digits, whole from 100 on, thousands apart.
///
/// ```
/// use coshift_tools::page::number;
/// assert_eq!(number(1234567.8), "1,234,568");
/// assert_eq!(number(36.62), "36.6");
/// assert_eq!(number(5.0), "5");
/// assert_eq!(number(0.004567), "0.00457");
/// assert_eq!(number(-2.5), "−2.5");
/// ```
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude < 1e-9 {
        return "0".to_owned();
    }
    let decimals = if magnitude >= 99.95 {
        0
    } else {
        // 1 from 10 on, 2 from 1 on, 3 from 0.1 on; at most 12 (1e-9 with three digits: 11).
        (2 - magnitude.log10().floor() as i32).clamp(0, 12)
    };
    let fixed = fixed(value, decimals as usize);
    match fixed.split_once('.') {
        Some((whole, digits)) => {
            let digits = digits.trim_end_matches('0');
            if digits.is_empty() { whole.to_owned() } else { format!("{whole}.{digits}") }
        }
        None => fixed,
    }
}

/// A number with this many decimals, thousands apart, a true minus.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, digits) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let sign = if value < 0.0 && !zero { "−" } else { "" };
    format!("{sign}{grouped}{digits}")
}

/// A coordinate for a path or a style: at most three decimals, no needless zeros.
pub(super) fn coordinate(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{checked, coordinate, fixed, number};

    #[test]
    fn three_digits_and_thousands() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1e-12, "0"),
            (1.0, "1"),
            (0.999_9, "1"),
            (9.996, "10"),
            (99.96, "100"),
            (100.4, "100"),
            (999.6, "1,000"),
            (1_109.25, "1,109"),
            (-1_234_567.0, "−1,234,567"),
            (0.1, "0.1"),
            (0.012_34, "0.0123"),
        ] {
            assert_eq!(number(value), text, "{value:e}");
        }
        assert_eq!(fixed(-0.004, 2), "0.00");
        assert_eq!(fixed(1000.0, 1), "1,000.0");
        assert_eq!(coordinate(-0.000_1), "0");
        assert_eq!(coordinate(12.340_04), "12.34");
    }

    #[test]
    fn what_has_no_place_is_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.1e15] {
            let error = checked("power", 3, value).unwrap_err().to_string();
            assert!(error.starts_with("power: number 3 is "), "{error}");
        }
        assert_eq!(checked("power", 0, -1e15), Ok(-1e15));
    }
}
