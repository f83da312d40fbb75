//! `cargo xtask sizes`: what the release image takes of the board's memories.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use object::elf::{SHF_ALLOC, SHF_WRITE};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SectionKind};
use serde_json::{Value, json};

use crate::board::{self, Board};
use crate::firmware::{self, Image, Program};
use crate::policy;
use crate::workspace::Workspace;

/// Show flash and RAM that the release image of a board takes.
///
/// Flash is everything loaded: code, constants and the initial values of data. Static RAM is data
/// and zeroed and kept variables; the stack has its own region and is told apart.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The board
    #[arg(long, default_value = board::MPS2_AN386.name, value_parser = board::parse)]
    board: Board,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Install what is missing without asking (CI=true does the same)
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    let toolchain = firmware::toolchain(args.yes)?;
    let policy = policy::image(&workspace, None)?;
    let image = Image { board: args.board, program: Program::Firmware, development: false };
    let path = image.build(&workspace, &toolchain, &policy)?;
    let sizes = Sizes::of_file(&path)?;
    if args.json {
        println!("{}", sizes.to_json(args.board));
    } else {
        println!("{}: {}", args.board.name, path.display());
        println!("flash       {:>7} B", sizes.flash);
        println!("static RAM  {:>7} B", sizes.static_ram);
        println!("stack       {:>7} B (region)", sizes.stack);
        for (name, size) in &sizes.sections {
            println!("  {name:<14} {size:>7} B");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Bytes an image takes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Sizes {
    /// Code, constants and initial values.
    flash: u64,
    /// Variables, whether initialised, zeroed or kept over a reset.
    static_ram: u64,
    /// The stack's region.
    stack: u64,
    /// Loaded and allocated sections, empty ones left out.
    sections: Vec<(String, u64)>,
}

impl Sizes {
    fn of_file(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::of(&bytes).with_context(|| format!("{}", path.display()))
    }

    fn of(elf: &[u8]) -> Result<Self> {
        let file = object::File::parse(elf).context("no ELF file")?;
        let mut sizes = Self::default();
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags } = section.flags() else {
                bail!("no ELF file, but {:?}", file.format());
            };
            let (allocated, writable) =
                (sh_flags & u64::from(SHF_ALLOC) != 0, sh_flags & u64::from(SHF_WRITE) != 0);
            let size = section.size();
            if !allocated || size == 0 {
                continue;
            }
            // Zeroed and kept variables have no bytes in the file.
            if section.kind() != SectionKind::UninitializedData {
                sizes.flash += size;
            }
            if writable {
                sizes.static_ram += size;
            }
            sizes.sections.push((section.name().unwrap_or("?").to_owned(), size));
        }
        let symbol = |name: &str| {
            file.symbol_by_name(name)
                .map(|symbol| symbol.address())
                .with_context(|| format!("no symbol {name}"))
        };
        sizes.stack = symbol("_stack_start")?
            .checked_sub(symbol("_stack_end")?)
            .context("the stack ends above its start")?;
        Ok(sizes)
    }

    fn to_json(&self, board: Board) -> Value {
        json!({
            "board": board.name,
            "flash_bytes": self.flash,
            "static_ram_bytes": self.static_ram,
            "stack_region_bytes": self.stack,
            "sections": self.sections.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_file_is_refused() {
        let message = format!("{:#}", Sizes::of(b"no").unwrap_err());
        assert!(message.contains("no ELF file"), "{message}");
    }

    #[test]
    fn the_release_image_fits_its_memories() {
        let Some(image) = std::env::var_os("COSHIFT_FIRMWARE") else {
            println!("SKIPPED: the firmware image (run `cargo xtask test`)");
            return;
        };
        let sizes = Sizes::of_file(Path::new(&image)).unwrap();
        let section = |name: &str| {
            sizes.sections.iter().find(|(other, _)| other == name).map_or(0, |(_, size)| *size)
        };
        // Start-up copies `.data` from flash, so it counts twice; nothing else does.
        let flash = [".vector_table", ".text", ".rodata", ".data"].map(section).iter().sum::<u64>();
        let ram = [".data", ".bss", ".uninit"].map(section).iter().sum::<u64>();
        assert_eq!((sizes.flash, sizes.static_ram), (flash, ram));
        assert!(section(".text") > 1024 && section(".vector_table") == 192, "{sizes:?}");
        assert_eq!(sizes.stack, 8 * 1024);
    }
}
