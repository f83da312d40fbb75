//! What the tests share.

use std::path::PathBuf;

use coshift_plant::Board;

/// A board that comes with the project.
pub(crate) fn shipped(name: &str) -> Board {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../boards");
    Board::load(&folder.join(format!("{name}.toml"))).unwrap_or_else(|error| panic!("{error}"))
}
