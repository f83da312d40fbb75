//! The boards that come with the agent, and board files of one's own.

use std::path::Path;

use coshift_plant::{Board, BoardError};

use crate::inputs::printable;

/// Name and text of the board files that come with the agent.
const SHIPPED: [(&str, &str); 3] = [
    ("agx_xavier", include_str!("../../boards/agx_xavier.toml")),
    ("orin_nano", include_str!("../../boards/orin_nano.toml")),
    ("xavier_nx", include_str!("../../boards/xavier_nx.toml")),
];

/// Why there is no such board.
#[derive(Debug, thiserror::Error)]
pub enum BoardFault {
    /// It is not `virtual:NAME`.
    #[error(
        "{argument}: \"{text}\" is no board; expected virtual:NAME or virtual:FILE.toml, NAME \
             one of {}",
        names()
    )]
    Shape {
        /// The argument.
        argument: String,
        /// What was written.
        text: String,
    },
    /// No board of this name comes with the agent.
    #[error(
        "{argument}: unknown board \"{name}\"; there are {}, or virtual:FILE.toml for a file of \
             your own",
        names()
    )]
    Unknown {
        /// The argument.
        argument: String,
        /// The name asked for.
        name: String,
    },
    /// Its file is wrong.
    #[error(transparent)]
    File(#[from] BoardError),
}

fn names() -> String {
    SHIPPED.map(|(name, _)| name).join(", ")
}

/// The board of `virtual:NAME` or `virtual:FILE.toml`; `argument` names where it stood.
///
/// # Errors
/// [`BoardFault`].
pub fn find(argument: &str, text: &str) -> Result<Board, BoardFault> {
    let name = text.strip_prefix("virtual:").filter(|name| !name.is_empty());
    let Some(name) = name else {
        return Err(BoardFault::Shape { argument: argument.into(), text: printable(text) });
    };
    // A file is told by its ending, so that a board's name never depends on the current folder.
    if Path::new(name).extension().is_some_and(|extension| extension == "toml") {
        return Ok(Board::load(Path::new(name))?);
    }
    let Some((name, text)) = SHIPPED.iter().find(|(known, _)| *known == name) else {
        return Err(BoardFault::Unknown { argument: argument.into(), name: printable(name) });
    };
    Ok(Board::parse(text, &format!("boards/{name}.toml"))?)
}

#[cfg(test)]
mod tests {
    use super::{SHIPPED, find};

    #[test]
    fn shipped_boards_are_found_by_name_and_others_by_file() {
        for (name, _) in SHIPPED {
            assert_eq!(find("--board", &format!("virtual:{name}")).unwrap().name, name);
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../boards/orin_nano.toml");
        assert_eq!(find("--board", &format!("virtual:{file}")).unwrap().name, "orin_nano");
    }

    #[test]
    fn what_is_no_board_is_one_clear_line() {
        for (text, part) in [
            ("xavier_nx", "expected virtual:NAME"),
            ("virtual:", "expected virtual:NAME"),
            ("virtual:tx2", "unknown board \"tx2\"; there are agx_xavier, orin_nano, xavier_nx"),
            ("virtual:/no/such.toml", "/no/such.toml: cannot be read"),
        ] {
            let fault = find("--board", text).unwrap_err().to_string();
            assert!(fault.contains(part) && !fault.contains('\n'), "{text}: {fault}");
        }
    }
}
