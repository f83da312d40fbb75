//! What the tests share.

use std::path::Path;

use coshift_plant::Board;

/// A board that comes with the project.
pub(super) fn shipped(name: &str) -> Board {
    let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("../boards");
    Board::load(&boards.join(format!("{name}.toml"))).unwrap_or_else(|error| panic!("{error}"))
}
