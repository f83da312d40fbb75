//! Boards that have a firmware package.

/// A board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Board {
    /// Its name, which is also the name of the folder under `controller/firmware/`.
    pub(crate) name: &'static str,
    /// Its firmware package, and the name of the package's image.
    pub(crate) package: &'static str,
    /// Name of its chip for probe-rs; none: it exists in the emulator only.
    pub(crate) chip: Option<&'static str>,
}

/// Every board.
const BOARDS: [Board; 1] = [MPS2_AN386];

/// Arm MPS2 with AN386 (Cortex-M4) as QEMU emulates it: the reference for every test.
pub(crate) const MPS2_AN386: Board =
    Board { name: "mps2-an386", package: "coshift-mps2-an386", chip: None };

/// Finds a board by its name, for the command line.
pub(crate) fn parse(name: &str) -> Result<Board, String> {
    BOARDS.into_iter().find(|board| board.name == name).ok_or_else(|| {
        let known = BOARDS.map(|board| board.name).join(", ");
        format!("no board of this name; known: {known}")
    })
}
