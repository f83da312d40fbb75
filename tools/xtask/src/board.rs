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
    /// Its package has programs for the emulator: one that exercises the board's parts on command,
    /// and those that measure.
    pub(crate) bench: bool,
}

/// Every board.
pub(crate) const BOARDS: [Board; 3] = [MPS2_AN386, NUCLEO_F411RE, TEMPLATE];

/// Arm MPS2 with AN386 (Cortex-M4) as QEMU emulates it: the reference for every test.
pub(crate) const MPS2_AN386: Board =
    Board { name: "mps2-an386", package: "coshift-mps2-an386", chip: None, bench: true };

/// ST Nucleo-F411RE (Cortex-M4): the cheap real one.
pub(crate) const NUCLEO_F411RE: Board = Board {
    name: "nucleo-f411re",
    package: "coshift-nucleo-f411re",
    chip: Some("STM32F411RETx"),
    bench: false,
};

/// What a port begins as; runs on QEMU's Netduino Plus 2 (STM32F405, Cortex-M4).
pub(crate) const TEMPLATE: Board =
    Board { name: "template", package: "coshift-template", chip: None, bench: false };

/// Finds a board by its name, for the command line.
pub(crate) fn parse(name: &str) -> Result<Board, String> {
    BOARDS.into_iter().find(|board| board.name == name).ok_or_else(|| {
        let known = BOARDS.map(|board| board.name).join(", ");
        format!("no board of this name; known: {known}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_has_its_folder_and_package() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for board in BOARDS {
            let folder = root.join("controller/firmware").join(board.name);
            let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            assert!(manifest.contains(&format!("name = \"{}\"", board.package)), "{}", board.name);
            for program in ["bringup", "steps"] {
                let there = folder.join("src/bin").join(program).with_extension("rs").is_file();
                assert_eq!(there, board.bench, "{program} of {}", board.name);
            }
            assert_eq!(parse(board.name), Ok(board));
        }
    }

    #[test]
    fn an_unknown_board_is_answered_with_the_known_ones() {
        let message = parse("nucleo").unwrap_err();
        assert!(message.contains("mps2-an386, nucleo-f411re, template"), "{message}");
    }
}
