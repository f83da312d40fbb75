//! The places of a TOML document: which field stands on which line, and which fields are numbers.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One field of the document.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Path with array indices: `levels[3].gpu_mhz`.
    pub(super) path: String,
    /// Where its key starts; the value, for an array's element.
    start: usize,
    value: Range<usize>,
    /// The text of a number.
    pub(super) number: Option<String>,
}

/// All fields of a document, parents before children.
#[derive(Debug)]
pub(super) struct Outline {
    lines: Vec<usize>,
    pub(super) fields: Vec<Field>,
}

impl Outline {
    /// The outline of a document.
    ///
    /// # Errors
    /// What the parser says, with the offset.
    pub(super) fn new(text: &str) -> Result<Self, toml::de::Error> {
        let document = DeTable::parse(text)?;
        let mut fields = Vec::new();
        table("", document.get_ref(), &mut fields);
        let lines = text.match_indices('\n').map(|(offset, _)| offset).collect();
        Ok(Self { lines, fields })
    }

    /// Line of an offset, counted from 1.
    fn line_at(&self, offset: usize) -> usize {
        self.lines.partition_point(|end| *end < offset).saturating_add(1)
    }

    /// Line of a field, or of its nearest parent that is there.
    pub(super) fn line_of(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(field) = self.fields.iter().find(|field| field.path == path) {
                return Some(self.line_at(field.start));
            }
            path = path.get(..path.rfind(['.', '['])?)?;
        }
    }

    /// Path and line of the innermost field around an offset of the text.
    pub(super) fn place_of(&self, text: &str, offset: usize) -> (String, usize) {
        let line = self.line_at(offset);
        let written = text.lines().nth(line.saturating_sub(1)).unwrap_or("");
        // What is missing in a table is told of its header, whose keys start behind the bracket.
        let header = written.trim_start().starts_with('[');
        let innermost = self
            .fields
            .iter()
            .filter(|field| {
                let around = field.start <= offset && offset < field.value.end.max(field.start + 1);
                around || (header && self.line_at(field.start) == line)
            })
            .max_by_key(|field| field.path.len());
        (innermost.map(|field| field.path.clone()).unwrap_or_default(), line)
    }
}

/// Line of an offset in a text, counted from 1.
pub(super) fn line_in(text: &str, offset: usize) -> usize {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    before.matches('\n').count().saturating_add(1)
}

fn table(path: &str, of: &DeTable<'_>, fields: &mut Vec<Field>) {
    for (key, child) in of {
        let name = key.get_ref();
        let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        field(path, key.span().start, child, fields);
    }
}

fn field(path: String, start: usize, of: &Spanned<DeValue<'_>>, fields: &mut Vec<Field>) {
    let number = match of.get_ref() {
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    };
    fields.push(Field { path: path.clone(), start, value: of.span(), number });
    match of.get_ref() {
        DeValue::Table(inner) => table(&path, inner, fields),
        DeValue::Array(inner) => {
            for (index, child) in inner.iter().enumerate() {
                field(format!("{path}[{index}]"), child.span().start, child, fields);
            }
        }
        _ => {}
    }
}
