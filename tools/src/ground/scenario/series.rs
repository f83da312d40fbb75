//! Columns of numbers and time stamps in CSV files, plain or gzip.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use super::ScenarioError;

fn error(path: &Path, line: Option<usize>, field: &str, problem: String) -> ScenarioError {
    let file = path.display().to_string();
    ScenarioError::Field { file, line, field: field.into(), problem }
}

/// Every value of a column, by `parse`.
fn column<T>(
    path: &Path,
    name: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, ScenarioError> {
    let unreadable = |cause| error(path, None, "", format!("cannot be read: {cause}"));
    let file = File::open(path).map_err(unreadable)?;
    let zipped = path.extension().is_some_and(|extension| extension == "gz");
    let bytes: Box<dyn Read> = if zipped { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut lines = BufReader::new(bytes).lines();
    let header = lines.next().transpose().map_err(unreadable)?.unwrap_or_default();
    let names: Vec<_> = header.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
    let Some(place) = names.iter().position(|known| *known == name) else {
        let problem = format!("a column \"{name}\" goes, there are {}", names.join(", "));
        return Err(error(path, Some(1), name, problem));
    };
    let mut values = Vec::new();
    for (number, line) in (2..).zip(lines) {
        let line = line.map_err(unreadable)?;
        if line.trim().is_empty() {
            continue;
        }
        let found = line.split(',').nth(place).map_or("", str::trim);
        let Some(value) = parse(found) else {
            let problem = format!("{expected} goes, \"{found}\" found");
            return Err(error(path, Some(number), name, problem));
        };
        values.push(value);
    }
    if values.is_empty() {
        return Err(error(path, None, name, "at least one row goes, none found".into()));
    }
    Ok(values)
}

/// A column of numbers above 0.
///
/// # Errors
/// [`ScenarioError`] names the file, the line and the column.
pub fn numbers(path: &Path, name: &str) -> Result<Vec<f64>, ScenarioError> {
    column(path, name, "a number above 0", |text| {
        text.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0)
    })
}

/// A column of time stamps: seconds from the first one on, ascending.
///
/// # Errors
/// As [`numbers`].
pub fn times(path: &Path, name: &str) -> Result<Vec<f64>, ScenarioError> {
    let mut times = column(path, name, "seconds or YYYY-MM-DD HH:MM:SS.f", seconds)?;
    times.sort_by(f64::total_cmp);
    let first = times.first().copied().unwrap_or(0.0);
    Ok(times.into_iter().map(|time| time - first).collect())
}

/// Seconds of a number, or of a date and time of day since 1970.
fn seconds(text: &str) -> Option<f64> {
    if let Ok(value) = text.parse::<f64>() {
        return value.is_finite().then_some(value);
    }
    let (date, clock) = text.split_once([' ', 'T'])?;
    let date: Vec<i64> = date.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let clock: Vec<f64> = clock
        .trim_end_matches('Z')
        .split(':')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    let ([year, month, day], [hours, minutes, seconds]) = (&date[..], &clock[..]) else {
        return None;
    };
    // Days since 1970-01-01 (Hinnant: chrono-compatible low-level date algorithms).
    let year = if *month <= 2 { year - 1 } else { *year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days as f64 * 86_400.0 + hours * 3600.0 + minutes * 60.0 + seconds)
}

/// The median.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len() / 2), sorted.get(sorted.len().saturating_sub(1) / 2)) {
        (Some(upper), Some(lower)) => f64::midpoint(*upper, *lower),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{median, numbers, seconds, times};

    #[test]
    fn time_stamps_are_seconds() {
        assert_eq!(seconds("12.5"), Some(12.5));
        assert_eq!(seconds("1970-01-02 00:00:01.5"), Some(86_401.5));
        let later = seconds("2023-11-16 18:17:04.0319600").unwrap();
        let earlier = seconds("2023-11-16 18:17:03.9799600").unwrap();
        assert!((later - earlier - 0.052).abs() < 1e-6);
        assert_eq!(
            seconds("2024-03-01 00:00:00").unwrap() - seconds("2024-02-28 00:00:00").unwrap(),
            172_800.0
        );
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn a_bad_file_is_named_with_line_and_column() {
        let folder = std::env::temp_dir().join(format!("coshift-series-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("x.csv");
        let said = |text: &str| {
            fs::write(&path, text).unwrap();
            let said = numbers(&path, "us").unwrap_err().to_string();
            said.trim_start_matches(&path.display().to_string()).to_owned()
        };
        assert_eq!(said("a,b\n1,2\n"), ":1: us: a column \"us\" goes, there are a, b");
        assert_eq!(said("n,us\n1,2\n2,-3\n"), ":3: us: a number above 0 goes, \"-3\" found");
        assert_eq!(said("n,us\n1\n"), ":2: us: a number above 0 goes, \"\" found");
        assert_eq!(said("n,us\n"), ": us: at least one row goes, none found");
        fs::write(&path, "n,t\n1,5\n2,3.5\n").unwrap();
        assert_eq!(times(&path, "t").unwrap(), [0.0, 1.5]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
