//! A board with some of its numbers changed: what a result owes to an assumption.

use toml::Value;

use super::provenance::{covers, parts};
use super::{Board, BoardError};

/// The board of a file's text with every number under `field` (a path as in `[[provenance]]`)
/// multiplied by `factor`. Whole-number fields are rounded.
///
/// # Errors
/// [`BoardError`] where the field has no number in it or the changed board is not sound.
pub fn varied(text: &str, file: &str, field: &str, factor: f64) -> Result<Board, BoardError> {
    // Errors of the unchanged file come with their lines from here.
    Board::parse(text, file)?;
    let mut root: toml::Table =
        toml::from_str(text).map_err(|error| BoardError::whole(file, error.message()))?;
    let pattern = parts(field);
    let mut changed = 0_usize;
    for (key, value) in &mut root {
        scale(value, &mut vec![key.clone()], &pattern, factor, &mut changed);
    }
    if changed == 0 {
        return Err(BoardError::whole(file, &format!("no number in field \"{field}\"")));
    }
    let text =
        toml::to_string(&root).map_err(|error| BoardError::whole(file, &error.to_string()))?;
    Board::parse(&text, &format!("{file} with {field} x {factor}"))
}

fn scale(
    value: &mut Value,
    path: &mut Vec<String>,
    pattern: &[String],
    factor: f64,
    changed: &mut usize,
) {
    match value {
        Value::Table(table) => {
            for (key, child) in table {
                path.push(key.clone());
                scale(child, path, pattern, factor, changed);
                path.pop();
            }
        }
        Value::Array(array) => {
            for child in array {
                scale(child, path, pattern, factor, changed);
            }
        }
        Value::Float(number) if covers(pattern, path) => {
            *number *= factor;
            *changed += 1;
        }
        Value::Integer(number) if covers(pattern, path) => {
            *number = (*number as f64 * factor).round() as i64;
            *changed += 1;
        }
        _ => {}
    }
}
