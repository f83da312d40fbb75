//! CSV tables with the place of everything that is wrong.
//!
//! Comma-separated, a header first, fields may stand in double quotes (a doubled one inside stands
//! for itself), on one line each. Blank lines are left out.

use std::fmt;
use std::path::Path;

/// What is wrong with a table, and where; shown in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvError {
    /// The file, as the caller named it.
    pub file: String,
    /// Line, counted from 1; `None` where the error is about the whole file.
    pub line: Option<usize>,
    /// Column, counted from 1, and its name.
    pub column: Option<(usize, String)>,
    /// What is wrong and what is expected.
    pub problem: String,
}

impl fmt::Display for CsvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some((column, name)) = &self.column {
            write!(f, ": column {column} ({name})")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for CsvError {}

/// A table, each row with its line in the file.
#[derive(Debug)]
pub(super) struct Table {
    file: String,
    names: Vec<String>,
    rows: Vec<(usize, Vec<String>)>,
}

/// One row of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    table: &'a Table,
    line: usize,
    fields: &'a [String],
}

impl Table {
    /// Reads a table from a file.
    pub(super) fn load(path: &Path) -> Result<Self, CsvError> {
        let file = path.display().to_string();
        let whole =
            |problem: String| CsvError { file: file.clone(), line: None, column: None, problem };
        let bytes =
            std::fs::read(path).map_err(|error| whole(format!("cannot be read: {error}")))?;
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&text, &file),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let before = error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n');
                let line = Some(before.count() + 1);
                Err(CsvError { line, ..whole("text in UTF-8 goes, other bytes found".into()) })
            }
        }
    }

    /// Reads a table from a text; `file` is what errors call it.
    pub(super) fn parse(text: &str, file: &str) -> Result<Self, CsvError> {
        let error = |line: usize, problem: String| CsvError {
            file: file.into(),
            line: Some(line),
            column: None,
            problem,
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let Some((first, header)) = lines.next() else {
            return Err(error(1, "a header and rows go, the file is empty".into()));
        };
        let names = fields(header).map_err(|problem| error(first, problem))?;
        let mut rows = Vec::new();
        for (line, text) in lines {
            let fields = fields(text).map_err(|problem| error(line, problem))?;
            if fields.len() != names.len() {
                let place = fields.len().min(names.len());
                let name = names.get(place).map_or("behind the last one", String::as_str);
                return Err(CsvError {
                    column: Some((place + 1, name.into())),
                    ..error(
                        line,
                        format!(
                            "{} fields as in the header go, {} found",
                            names.len(),
                            fields.len()
                        ),
                    )
                });
            }
            rows.push((line, fields));
        }
        if rows.is_empty() {
            return Err(error(first, "rows go below the header, none found".into()));
        }
        Ok(Self { file: file.into(), names, rows })
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(line, fields)| Row { table: self, line: *line, fields })
    }

    /// Index of a column that must be there.
    pub(super) fn column(&self, name: &str) -> Result<usize, CsvError> {
        let found = self.optional(name)?;
        found.ok_or_else(|| {
            self.header_error(format!(
                "column \"{name}\" goes, the header has {}",
                self.names.join(", ")
            ))
        })
    }

    /// Index of a column that may be missing.
    pub(super) fn optional(&self, name: &str) -> Result<Option<usize>, CsvError> {
        let mut places = self.names.iter().enumerate().filter(|(_, known)| *known == name);
        let first = places.next().map(|(index, _)| index);
        if let Some((second, _)) = places.next() {
            let column = Some((second + 1, name.into()));
            return Err(CsvError { column, ..self.header_error("is there twice".into()) });
        }
        Ok(first)
    }

    fn header_error(&self, problem: String) -> CsvError {
        CsvError { file: self.file.clone(), line: Some(1), column: None, problem }
    }
}

impl Row<'_> {
    /// An error at a field of this row.
    pub(super) fn error(&self, column: usize, problem: String) -> CsvError {
        let name = self.table.names.get(column).cloned().unwrap_or_default();
        CsvError {
            file: self.table.file.clone(),
            line: Some(self.line),
            column: Some((column + 1, name)),
            problem,
        }
    }

    /// The text of a field.
    pub(super) fn text(&self, column: usize) -> &str {
        self.fields.get(column).map_or("", String::as_str)
    }

    /// The text of a field that must not be empty.
    pub(super) fn name(&self, column: usize) -> Result<&str, CsvError> {
        match self.text(column) {
            "" => Err(self.error(column, "a name goes, nothing found".into())),
            name => Ok(name),
        }
    }

    /// The number in a field, in a range with its ends.
    pub(super) fn number(&self, column: usize, [low, high]: [f64; 2]) -> Result<f64, CsvError> {
        let text = self.text(column);
        match text.parse::<f64>() {
            Ok(number) if (low..=high).contains(&number) => Ok(number),
            _ => {
                Err(self.error(column, format!("a number {low} to {high} goes, \"{text}\" found")))
            }
        }
    }
}

/// The fields of a line, spaces around them left out.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted || field.trim().is_empty() => quoted = !quoted,
            ',' if !quoted => {
                fields.push(field.trim().to_owned());
                field.clear();
            }
            other => field.push(other),
        }
    }
    if quoted {
        let column = fields.len() + 1;
        return Err(format!("column {column}: a closing quotation mark goes, none found"));
    }
    fields.push(field.trim().to_owned());
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::{Table, fields};

    #[test]
    fn fields_may_be_quoted() {
        assert_eq!(fields("a, b ,,c").unwrap(), ["a", "b", "", "c"]);
        assert_eq!(fields(r#""a,b","say ""x""", d"#).unwrap(), ["a,b", r#"say "x""#, "d"]);
        assert!(fields(r#"a,"b"#).unwrap_err().starts_with("column 2: "));
    }

    #[test]
    fn lines_and_columns_are_counted_from_one() {
        let said = |text: &str| Table::parse(text, "t.csv").map(|_| ()).unwrap_err().to_string();
        assert_eq!(said(""), "t.csv:1: a header and rows go, the file is empty");
        assert_eq!(said("\n a,b\n"), "t.csv:2: rows go below the header, none found");
        assert_eq!(
            said("a,b\n1,2\n\n3\n"),
            "t.csv:4: column 2 (b): 2 fields as in the header go, 1 found"
        );
        let table = Table::parse("\u{feff}a,b\r\n1,x\r\n", "t.csv").unwrap();
        let row = table.rows().next().unwrap();
        assert_eq!(row.number(0, [0.0, 2.0]), Ok(1.0));
        assert_eq!(
            row.number(1, [0.0, 2.0]).unwrap_err().to_string(),
            "t.csv:2: column 2 (b): a number 0 to 2 goes, \"x\" found"
        );
        assert_eq!(
            table.column("c").unwrap_err().to_string(),
            "t.csv:1: column \"c\" goes, the header has a, b"
        );
        let doubled = Table::parse("a,a\n1,2\n", "t.csv").unwrap();
        assert_eq!(
            doubled.column("a").unwrap_err().to_string(),
            "t.csv:1: column 2 (a): is there twice"
        );
    }
}
