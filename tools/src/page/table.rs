//! Tables.

use std::fmt::Write;

use super::error::PageError;
use super::text::escaped;

/// A column: its header, and how its cells stand.
#[derive(Clone, Debug)]
pub struct Column {
    header: String,
    numeric: bool,
}

impl Column {
    /// A column of words, flush left.
    pub fn text(header: impl Into<String>) -> Self {
        Self { header: header.into(), numeric: false }
    }

    /// A column of numbers, flush right with digits of one width.
    pub fn number(header: impl Into<String>) -> Self {
        Self { header: header.into(), numeric: true }
    }
}

/// One cell.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Plain,
    Strong,
    Good,
    Bad,
}

impl Cell {
    /// A plain cell.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }

    /// The best of its kind, or a total.
    #[must_use]
    pub fn strong(mut self) -> Self {
        self.tone = Tone::Strong;
        self
    }

    /// A check that passed. The words must say so: not every reader sees the colour.
    #[must_use]
    pub fn good(mut self) -> Self {
        self.tone = Tone::Good;
        self
    }

    /// A promise broken, a check that failed. The words must say so as well.
    #[must_use]
    pub fn bad(mut self) -> Self {
        self.tone = Tone::Bad;
        self
    }

    fn html(&self) -> String {
        let text = escaped(&self.text);
        match self.tone {
            Tone::Plain => text,
            Tone::Strong => format!("<strong>{text}</strong>"),
            Tone::Good => format!("<span class=\"good\">{text}</span>"),
            Tone::Bad => format!("<strong class=\"bad\">{text}</strong>"),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// A table; the first cell of a row is its header. A table wider than the page scrolls in a box of
/// its own.
#[derive(Clone, Debug)]
pub struct Table {
    caption: String,
    columns: Vec<Column>,
    /// Rows that belong together; the first group has no name unless it is given one.
    groups: Vec<(Option<String>, Vec<Vec<Cell>>)>,
}

impl Table {
    /// A table without rows.
    pub fn new(caption: impl Into<String>, columns: impl IntoIterator<Item = Column>) -> Self {
        let columns = columns.into_iter().collect();
        Self { caption: caption.into(), columns, groups: vec![] }
    }

    /// Starts a group of rows under a line of its own.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.groups.push((Some(name.into()), vec![]));
        self
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`PageError::Row`] if it has not one cell a column.
    pub fn row<C: Into<Cell>>(
        mut self,
        cells: impl IntoIterator<Item = C>,
    ) -> Result<Self, PageError> {
        let cells: Vec<Cell> = cells.into_iter().map(Into::into).collect();
        if cells.len() != self.columns.len() {
            return Err(PageError::Row {
                row: self.groups.iter().map(|(_, rows)| rows.len()).sum(),
                cells: cells.len(),
                columns: self.columns.len(),
                table: self.caption,
            });
        }
        match self.groups.last_mut() {
            Some((_, rows)) => rows.push(cells),
            None => self.groups.push((None, vec![cells])),
        }
        Ok(self)
    }

    pub(super) fn write(&self, html: &mut String) {
        let caption = escaped(&self.caption);
        // A box that scrolls must be reachable by keyboard, hence the tab stop and the name.
        let _ = write!(
            html,
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\">\
             <table>\n<caption><span>{caption}</span></caption>\n<thead><tr>"
        );
        for Column { header, numeric } in &self.columns {
            let class = class(*numeric);
            let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escaped(header));
        }
        *html += "</tr></thead>\n";
        for (name, rows) in &self.groups {
            *html += "<tbody>\n";
            if let Some(name) = name {
                let (span, name) = (self.columns.len().max(1), escaped(name));
                let _ = writeln!(
                    html,
                    "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{span}\">\
                     <span>{name}</span></th></tr>"
                );
            }
            for row in rows {
                *html += "<tr>";
                for (index, (cell, column)) in row.iter().zip(&self.columns).enumerate() {
                    let (class, cell) = (class(column.numeric), cell.html());
                    let _ = match index {
                        0 => write!(html, "<th scope=\"row\"{class}>{cell}</th>"),
                        _ => write!(html, "<td{class}>{cell}</td>"),
                    };
                }
                *html += "</tr>\n";
            }
            *html += "</tbody>\n";
        }
        *html += "</table></div>\n";
    }
}

fn class(numeric: bool) -> &'static str {
    if numeric { " class=\"number\"" } else { "" }
}
