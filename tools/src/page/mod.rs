//! One HTML page in one file: text, key figures, tables and time plots of a run.
//!
//! The page asks nothing from elsewhere (its content security policy forbids it), needs no script
//! to be read, and follows the reader's light or dark setting and width. Lines are drawn in an SVG
//! that is stretched to the width there is; all text is HTML placed in per cent around it, so that
//! it is as large on a phone as on a screen. The same input gives the same bytes.
//!
//! What is drawn is checked where it is made: a series, limit, range, phase or table that cannot
//! be shown is a [`PageError`], so that [`Page::html`] cannot fail.
//!
//! ```
//! use coshift_tools::page::{Limit, Page, Section, Series, TimePlot, TimePlots};
//!
//! # fn main() -> Result<(), coshift_tools::page::PageError> {
//! let deadline = Limit::new("deadline", [(0.0, 55.0), (4.0, 20.0)])?;
//! let responses = Series::points("response", [(0.1, 36.5), (4.1, 24.0)])?
//!     .mark_over(&deadline, "late");
//! let plots = TimePlots::new(0.0, 8.0)?
//!     .phase("quiet", 0.0, 4.0)?
//!     .phase("deadline", 4.0, 8.0)?
//!     .plot(TimePlot::new("Response time", "ms").series(responses).limit(deadline));
//! let page = Page::new("A run").section(Section::new("What happened").plots(plots));
//! assert!(page.html().contains("late: 1 of 2"));
//! # Ok(())
//! # }
//! ```

mod draw;
mod error;
mod number;
mod scale;
mod scatter;
mod series;
mod table;
mod text;
mod time_plot;

#[cfg(test)]
mod colours;
#[cfg(test)]
mod markup;
#[cfg(test)]
mod tests;

use std::fmt::Write;

pub use error::PageError;
pub use number::number;
pub use scatter::{Scatter, Standing};
pub use series::{Limit, Look, Series};
pub use table::{Cell, Column, Table};
pub use time_plot::{TimePlot, TimePlots};

use text::escaped;

const STYLE: &str = include_str!("style.css");
/// A read-out under the pointer; the page is complete without it.
const SCRIPT: &str = include_str!("readout.js");

/// A page: title, lead paragraphs, sections.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    lead: Vec<String>,
    sections: Vec<Section>,
}

impl Page {
    /// An empty page.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), lead: vec![], sections: vec![] }
    }

    /// Adds a paragraph under the title.
    #[must_use]
    pub fn lead(mut self, paragraph: impl Into<String>) -> Self {
        self.lead.push(paragraph.into());
        self
    }

    /// Adds a section.
    #[must_use]
    pub fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// The whole file.
    pub fn html(&self) -> String {
        let title = escaped(&self.title);
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{}<main>\n\
             <h1>{title}</h1>\n",
            draw::SYMBOLS
        );
        for paragraph in &self.lead {
            let _ = writeln!(html, "<p class=\"lead\">{}</p>", escaped(paragraph));
        }
        for (index, section) in self.sections.iter().enumerate() {
            section.write(&mut html, index + 1);
        }
        let _ = write!(html, "</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
        html
    }
}

/// A part of a page under a heading; its blocks stand in the order in which they were added.
#[derive(Clone, Debug)]
pub struct Section {
    heading: String,
    blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
enum Block {
    Paragraph(String),
    Note(String),
    KeyFigures(Vec<KeyFigure>),
    Table(Table),
    TimePlots(TimePlots),
    Scatter(Scatter),
}

impl Section {
    /// An empty section.
    pub fn new(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), blocks: vec![] }
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn paragraph(self, text: impl Into<String>) -> Self {
        self.block(Block::Paragraph(text.into()))
    }

    /// Adds a note: a limit of what is shown, an assumption. Notes in a row become one list.
    #[must_use]
    pub fn note(self, text: impl Into<String>) -> Self {
        self.block(Block::Note(text.into()))
    }

    /// Adds a row of key figures.
    #[must_use]
    pub fn key_figures(self, figures: impl IntoIterator<Item = KeyFigure>) -> Self {
        self.block(Block::KeyFigures(figures.into_iter().collect()))
    }

    /// Adds a table.
    #[must_use]
    pub fn table(self, table: Table) -> Self {
        self.block(Block::Table(table))
    }

    /// Adds time plots.
    #[must_use]
    pub fn plots(self, plots: TimePlots) -> Self {
        self.block(Block::TimePlots(plots))
    }

    /// Adds a plot of points.
    #[must_use]
    pub fn scatter(self, scatter: Scatter) -> Self {
        self.block(Block::Scatter(scatter))
    }

    fn block(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    fn write(&self, html: &mut String, number: usize) {
        let _ = writeln!(
            html,
            "<section aria-labelledby=\"section-{number}\">\n<h2 id=\"section-{number}\">{}</h2>",
            escaped(&self.heading)
        );
        let mut in_notes = false;
        for block in &self.blocks {
            let is_note = matches!(block, Block::Note(_));
            if is_note != in_notes {
                *html += if is_note { "<ul class=\"notes\">\n" } else { "</ul>\n" };
                in_notes = is_note;
            }
            match block {
                Block::Paragraph(text) => {
                    let _ = writeln!(html, "<p>{}</p>", escaped(text));
                }
                Block::Note(text) => {
                    let _ = writeln!(html, "<li>{}</li>", escaped(text));
                }
                Block::KeyFigures(figures) => KeyFigure::write_all(figures, html),
                Block::Table(table) => table.write(html),
                Block::TimePlots(plots) => plots.write(html),
                Block::Scatter(scatter) => scatter.write(html),
            }
        }
        if in_notes {
            *html += "</ul>\n";
        }
        *html += "</section>\n";
    }
}

/// A figure to be seen at once: its value and what it is.
#[derive(Clone, Debug)]
pub struct KeyFigure {
    value: String,
    label: String,
}

impl KeyFigure {
    /// A key figure; the value carries its unit ("29.4 %").
    pub fn new(value: impl Into<String>, label: impl Into<String>) -> Self {
        Self { value: value.into(), label: label.into() }
    }

    fn write_all(figures: &[Self], html: &mut String) {
        if figures.is_empty() {
            return;
        }
        *html += "<ul class=\"key-figures\">\n";
        for Self { value, label } in figures {
            let (value, label) = (escaped(value), escaped(label));
            let _ = writeln!(html, "<li><strong>{value}</strong> <span>{label}</span></li>");
        }
        *html += "</ul>\n";
    }
}
