//! Quantities as people write them: `33ms`, `12W`, `85C`, `92.5` percent, `15` a second.
//!
//! Numbers are read exactly, without floating point: `0.1ms` is 100 µs. A value that is finer than
//! the unit it is kept in is refused rather than rounded.

/// A text that is not the quantity an argument asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{argument}: \"{text}\" is not {expectation}")]
pub struct InputFault {
    /// The argument, e.g. `--period` or `deadline of --app cam0`.
    pub argument: String,
    /// What was written.
    pub text: String,
    /// What goes there, with an example.
    pub expectation: String,
}

impl InputFault {
    /// The fault of `text` in `argument`.
    #[must_use]
    pub fn new(argument: &str, text: &str, expectation: &str) -> Self {
        Self { argument: argument.into(), text: printable(text), expectation: expectation.into() }
    }
}

/// `text` on one line, shortened, without control characters.
#[must_use]
pub fn printable(text: &str) -> String {
    const MOST: usize = 80;
    let mut short: String =
        text.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().count() > MOST {
        short.push('…');
    }
    short
}

/// `text` as a decimal number times 10^`places`; `None` where it is none, has finer digits or
/// does not fit.
fn decimal(text: &str, places: u32) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = places.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let scale = 10_u64.checked_pow(missing)?;
    format!("{whole}{fraction}").parse::<u64>().ok()?.checked_mul(scale)
}

/// The number and the unit behind it.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

fn with_unit(text: &str, units: &[(&str, u32)]) -> Option<u64> {
    let (number, unit) = split_unit(text.trim());
    let places = units.iter().find(|(name, _)| *name == unit)?.1;
    decimal(number, places)
}

/// A time in µs, `least` to `most`: `500us`, `33ms`, `2s`.
///
/// # Errors
/// [`InputFault`] where it is none, or out of range.
pub fn duration_us(argument: &str, text: &str, least: u64, most: u64) -> Result<u64, InputFault> {
    with_unit(text, &[("us", 0), ("µs", 0), ("ms", 3), ("s", 6)])
        .filter(|us| (least..=most).contains(us))
        .ok_or_else(|| {
            let (least, most) = (in_words_us(least), in_words_us(most));
            let expectation =
                format!("a time from {least} to {most}, written like 500us, 33ms or 2s");
            InputFault::new(argument, text, &expectation)
        })
}

/// A power in mW: `12W`, `8500mW`.
///
/// # Errors
/// [`InputFault`] where it is none, 0, or over 1 kW.
pub fn power_mw(argument: &str, text: &str) -> Result<u32, InputFault> {
    with_unit(text, &[("mW", 0), ("W", 3)])
        .filter(|mw| (1..=1_000_000).contains(mw))
        .and_then(|mw| u32::try_from(mw).ok())
        .ok_or_else(|| {
            InputFault::new(argument, text, "a power from 1mW to 1000W, written like 12W or 8500mW")
        })
}

/// An energy, µJ.
///
/// # Errors
/// [`InputFault`] where it is none, or beyond 1 µJ to 1 kJ.
pub fn energy_uj(argument: &str, text: &str) -> Result<u32, InputFault> {
    with_unit(text, &[("uJ", 0), ("µJ", 0), ("mJ", 3), ("J", 6)])
        .filter(|uj| (1..=1_000_000_000).contains(uj))
        .and_then(|uj| u32::try_from(uj).ok())
        .ok_or_else(|| {
            InputFault::new(argument, text, "an energy from 1uJ to 1000J, written like 500mJ or 2J")
        })
}

/// A temperature in m°C: `85C`, `72.5C`.
///
/// # Errors
/// [`InputFault`] where it is none, or not 1 to 150 °C.
pub fn temp_mdeg_c(argument: &str, text: &str) -> Result<i32, InputFault> {
    with_unit(text, &[("C", 3), ("°C", 3)])
        .filter(|mdeg| (1000..=150_000).contains(mdeg))
        .and_then(|mdeg| i32::try_from(mdeg).ok())
        .ok_or_else(|| {
            InputFault::new(argument, text, "a temperature from 1C to 150C, written like 85C")
        })
}

/// A percentage in 0.01 %, 0 to 100: `92.5` or `92.5%`.
///
/// # Errors
/// [`InputFault`] where it is none.
pub fn percent_bp(argument: &str, text: &str) -> Result<u16, InputFault> {
    with_unit(text, &[("", 2), ("%", 2)])
        .filter(|bp| *bp <= 10_000)
        .and_then(|bp| u16::try_from(bp).ok())
        .ok_or_else(|| {
            let expectation = "a percentage from 0 to 100 in steps of 0.01, written like 92.5";
            InputFault::new(argument, text, expectation)
        })
}

/// A rate, as the period in µs: `15` or `15/s`, 0.01 to 10,000 a second.
///
/// # Errors
/// [`InputFault`] where it is none.
pub fn rate_period_us(argument: &str, text: &str) -> Result<u32, InputFault> {
    with_unit(text, &[("", 3), ("/s", 3), ("Hz", 3)])
        .filter(|milli| (10..=10_000_000).contains(milli))
        // 1 s = 10^9 µs per thousandth, rounded to nearest.
        .and_then(|milli| u32::try_from((1_000_000_000 + milli / 2) / milli).ok())
        .ok_or_else(|| {
            let expectation = "a rate from 0.01 to 10000 a second, written like 15 or 29.97";
            InputFault::new(argument, text, expectation)
        })
}

/// A plain factor in thousandths, 0.001 to `most` (thousandths): `1.3`.
///
/// # Errors
/// [`InputFault`] where it is none.
pub fn factor_permille(argument: &str, text: &str, most: u32) -> Result<u32, InputFault> {
    with_unit(text, &[("", 3)])
        .filter(|permille| (1..=u64::from(most)).contains(permille))
        .and_then(|permille| u32::try_from(permille).ok())
        .ok_or_else(|| {
            let expectation =
                format!("a factor from 0.001 to {}, written like 1.3", f64::from(most) / 1000.0);
            InputFault::new(argument, text, &expectation)
        })
}

/// A whole number from `least` to `most`.
///
/// # Errors
/// [`InputFault`] where it is none.
pub fn whole(argument: &str, text: &str, least: u64, most: u64) -> Result<u64, InputFault> {
    text.trim().parse().ok().filter(|value| (least..=most).contains(value)).ok_or_else(|| {
        InputFault::new(argument, text, &format!("a whole number from {least} to {most}"))
    })
}

/// A time in the largest unit that keeps it exact: `33ms`.
#[must_use]
pub fn in_words_us(us: u64) -> String {
    if us == 0 {
        "0s".into()
    } else if us.is_multiple_of(1_000_000) {
        format!("{}s", us / 1_000_000)
    } else if us.is_multiple_of(1000) {
        format!("{}ms", us / 1000)
    } else {
        format!("{us}us")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        duration_us, factor_permille, in_words_us, percent_bp, power_mw, printable, rate_period_us,
        temp_mdeg_c,
    };

    const DAY: u64 = 86_400_000_000;

    #[test]
    fn quantities_are_exact() {
        let time = |text| duration_us("t", text, 1, DAY).unwrap();
        assert_eq!(time("33ms"), 33_000);
        assert_eq!(time("2s"), 2_000_000);
        assert_eq!(time("500us"), 500);
        assert_eq!(time("0.1ms"), 100);
        assert_eq!(time("33.3ms"), 33_300);
        assert_eq!(power_mw("p", "12W"), Ok(12_000));
        assert_eq!(power_mw("p", "8500mW"), Ok(8_500));
        assert_eq!(power_mw("p", "7.5W"), Ok(7_500));
        assert_eq!(temp_mdeg_c("t", "85C"), Ok(85_000));
        assert_eq!(percent_bp("f", "92.5"), Ok(9_250));
        assert_eq!(percent_bp("f", "1%"), Ok(100));
        assert_eq!(percent_bp("f", "100"), Ok(10_000));
        assert_eq!(rate_period_us("r", "15"), Ok(66_667));
        assert_eq!(rate_period_us("r", "29.97"), Ok(33_367));
        assert_eq!(factor_permille("s", "1.3", 16_000), Ok(1_300));
    }

    #[test]
    fn what_is_no_quantity_is_named() {
        for text in ["", "33", "ms", "-3ms", "3 0ms", "1e3ms", "0.0001ms", "33msec", "1.ms", ".5s"]
        {
            let fault = duration_us("deadline", text, 1, DAY).unwrap_err().to_string();
            assert!(fault.starts_with("deadline: "), "{fault}");
            assert!(fault.contains("33ms"), "{fault}");
            assert!(!fault.contains('\n'), "{fault}");
        }
        assert!(duration_us("deadline", "0ms", 1, DAY).is_err());
        assert!(duration_us("t", "99999999999999999999s", 1, u64::MAX).is_err());
        for text in ["12", "12w", "0W", "1.0001W", "2000W"] {
            assert!(power_mw("p", text).is_err(), "{text}");
        }
        for text in ["101", "92.555", "x", "-1"] {
            assert!(percent_bp("f", text).is_err(), "{text}");
        }
        for text in ["0", "0.001", "20000", "fast"] {
            assert!(rate_period_us("r", text).is_err(), "{text}");
        }
    }

    #[test]
    fn foreign_text_stays_on_one_line() {
        assert_eq!(printable("a\nb\u{1b}[0m"), "a\u{fffd}b\u{fffd}[0m");
        assert!(printable(&"x".repeat(5000)).chars().count() <= 81);
    }

    #[test]
    fn times_read_back() {
        for us in [1, 999, 1000, 33_000, 66_667, 2_000_000, 0] {
            assert_eq!(duration_us("t", &in_words_us(us), 0, DAY), Ok(us));
        }
    }
}
