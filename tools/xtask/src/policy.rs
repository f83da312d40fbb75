//! The policy image that firmware images are built with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use coshift_plant::Board;
use coshift_tools::plan;

use crate::firmware;
use crate::workspace::Workspace;

/// Board of the default policy.
const BOARD: &str = "xavier_nx";

/// The policy image of the command line, else of `COSHIFT_POLICY`, else one written from
/// `boards/xavier_nx.toml` with its first four networks.
pub(crate) fn image(workspace: &Workspace, given: Option<&Path>) -> Result<PathBuf> {
    let named = std::env::var_os("COSHIFT_POLICY").filter(|path| !path.is_empty());
    let given = given.map(Path::to_path_buf).or_else(|| named.map(PathBuf::from));
    let Some(path) = given else { return of_board(workspace, BOARD) };
    // Cargo and the tests run in other folders than the user.
    let path = std::path::absolute(path)?;
    if !path.is_file() {
        bail!("policy image {}: no such file", path.display());
    }
    Ok(path)
}

/// Writes the image of a board in `boards/`, unless the same is there already: the firmware is
/// built anew when the file's time changes.
pub(crate) fn of_board(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let file = workspace.root.join("boards").join(name).with_extension("toml");
    let board = Board::load(&file).context("policy image")?;
    let image = plan::first_image(&board).context("policy image")?;
    let folder = firmware::images(workspace)?;
    let path = folder.join(format!("{}.policy", board.name));
    let unchanged =
        fs::read(&path).is_ok_and(|old| plan::bytes(&image).is_ok_and(|new| old == new));
    if !unchanged {
        plan::write(&path, &image)?;
    }
    Ok(path)
}
