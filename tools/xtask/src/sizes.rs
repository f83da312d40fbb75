//! `cargo xtask sizes`: what the release image takes of the board's memories and time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use coshift_controller::controller::SEARCH;
use coshift_shared::kind::Kind;
use object::elf::{SHF_ALLOC, SHF_WRITE};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SectionKind};
use serde_json::{Value, json};

use crate::board::{self, Board};
use crate::budgets::{self, Budget};
use crate::changes::Changes;
use crate::embedded::Toolchain;
use crate::firmware::{self, Image, Program};
use crate::policy;
use crate::release;
use crate::setup::{self, Need};
use crate::stack::StackBound;
use crate::steps::{self, CaseId, Event, Measured, Shape};
use crate::tally::Tally;
use crate::wire::{self, FrameCost, PeriodCost};
use crate::workspace::Workspace;

/// Part of the name of every symbol of a panic.
const PANIC_MARK: &str = "panic";

/// Show what the release image takes of flash, RAM and time, against its budgets.
///
/// Flash is everything loaded: code, constants and the initial values of data. Static RAM is data
/// and zeroed and kept variables; the stack has its own region and is told apart. Most stack used is
/// what the image itself saw under the dearest cases known; the bound is from its machine code and
/// holds for every input.
///
/// Instructions of controller steps are those of the release image as it is, counted by a plugin of
/// the emulator while the cases come in on its port; it has to decide what the host's controller
/// decides. Frames (reading and writing one of the largest body) and control periods (4 applications:
/// frames read, decision, frames written) are counted on measuring images. What the release image
/// takes for the frames and periods of the cases stands beside them (released): there the bytes before
/// the last of a frame are part of the loop. A step or a period for which the two images differ by more
/// than that explains is an error. For a board that is not emulated they are those of the reference
/// board.
/// A budget that is passed is an error.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The board
    #[arg(long, default_value = board::MPS2_AN386.name, value_parser = board::parse)]
    board: Board,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Look for dearer steps in this many random cases instead, and name the dearest
    #[arg(long, value_name = "CASES")]
    search: Option<u32>,
    /// Seed of the search
    #[arg(long, value_name = "N", default_value_t = 1, requires = "search")]
    seed: u32,
    /// Check instead that instructions are counted right, and that wrong counts are noticed
    #[arg(long, conflicts_with_all = ["json", "search"])]
    check_counter: bool,
    /// Install what is missing without asking (CI=true does the same)
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    if args.check_counter {
        let mut tally = Tally::default();
        release::check_counter(&workspace, args.yes, &mut tally);
        return Ok(tally.close());
    }
    if !args.board.bench {
        if args.search.is_some() {
            bail!("the steps of {} are not measured", args.board.name);
        }
        let toolchain = firmware::toolchain(args.yes)?;
        let policy = policy::image(&workspace, None)?;
        let image = Image { board: args.board, program: Program::Firmware, development: false };
        let measured = Still::of_file(&image.build(&workspace, &toolchain, &policy)?)?;
        if args.json {
            println!("{}", measured.to_json());
        } else {
            measured.print(args.board);
        }
        measured.check()?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(cases) = args.search {
        let bench = Bench::new(&workspace, args.board, args.yes)?;
        search(&bench, args.seed, cases)?;
        return Ok(ExitCode::SUCCESS);
    }
    let figures = Figures::take(&workspace, args.board, args.yes)?;
    if args.json {
        println!("{}", figures.to_json());
    } else {
        figures.print(args.board);
    }
    figures.check()?;
    Ok(ExitCode::SUCCESS)
}

/// Measures everything and holds it against the budgets.
pub(crate) fn within_budgets(workspace: &Workspace, yes: bool) -> Result<()> {
    let figures = Figures::take(workspace, board::MPS2_AN386, yes)?;
    println!("{}", figures.to_json());
    figures.check()
}

/// Holds the release image of a board that is not emulated against its budgets.
pub(crate) fn image_within_budgets(image: &Path) -> Result<()> {
    let measured = Still::of_file(image)?;
    println!("{}", measured.to_json());
    measured.check()
}

/// Prints the dearest case of each kind of message, and of each control period, without changes and
/// with them.
fn search(bench: &Bench, seed: u32, cases: u32) -> Result<()> {
    let ids: Vec<_> = (0..cases).map(|index| CaseId { seed, index }).collect();
    let fewer = [3, 2, 1].map(|applications| Shape::Fewer { applications });
    for shape in [Shape::Hostile, Shape::Changed].into_iter().chain(fewer) {
        println!("{shape:?}");
        let measured = bench.measure(shape, &ids)?;
        for kind in Kind::ALL {
            let steps = measured.of(kind);
            let (Some(worst), Some(longest)) = (steps.worst(), steps.longest()) else { continue };
            let (CaseId { seed, index }, most) = (worst.case, worst.instructions);
            println!("{kind:?}: a step of {most} instructions in seed {seed} index {index}");
            let (CaseId { seed, index }, whole) = (longest.case, longest.altogether);
            let (slices, mean) = (longest.slices, steps.mean().unwrap_or(0));
            println!("  in {slices} slices {whole} in seed {seed} index {index}; mean {mean}");
        }
        let periods = wire::periods(&bench.emulator, &bench.wire, shape, &ids)?;
        for event in Event::ALL {
            let periods: Vec<_> = periods.iter().copied().filter(|p| p.event == event).collect();
            let Some(worst) = dearest(&periods) else { continue };
            let CaseId { seed, index } = worst.case;
            let mean = periods.iter().map(|period| period.instructions).sum::<u64>();
            let (most, mean) = (worst.instructions, mean.div_ceil(periods.len() as u64));
            println!(
                "period, {event}: {most} instructions in seed {seed} index {index}; mean {mean}"
            );
        }
    }
    Ok(())
}

/// The dearest of some control periods.
pub(crate) fn dearest(periods: &[PeriodCost]) -> Option<PeriodCost> {
    periods.iter().copied().max_by_key(|period| period.instructions)
}

/// The emulator with the measuring images.
pub(crate) struct Bench {
    pub(crate) emulator: PathBuf,
    /// Measures steps.
    pub(crate) image: PathBuf,
    /// Measures frames and control periods.
    pub(crate) wire: PathBuf,
    /// Measures uploads.
    pub(crate) uploads: PathBuf,
}

impl Bench {
    pub(crate) fn new(workspace: &Workspace, board: Board, yes: bool) -> Result<Self> {
        let environment = setup::ensure(&[Need::Toolchain, Need::Emulator], yes)?;
        let toolchain = Toolchain::choose(&environment).context("no toolchain for the image")?;
        let emulator = environment.emulator.context("no emulator")?;
        let policy = policy::image(workspace, None)?;
        let built = |program| {
            Image { board, program, development: false }.build(workspace, &toolchain, &policy)
        };
        let (image, wire) = (built(Program::Steps)?, built(Program::Wire)?);
        Ok(Self { emulator, image, wire, uploads: built(Program::Uploads)? })
    }

    pub(crate) fn measure(&self, shape: Shape, ids: &[CaseId]) -> Result<Measured> {
        steps::measure(&self.emulator, &self.image, shape, ids, SEARCH)
    }
}

/// What was measured of a board's release image.
struct Figures {
    sizes: Sizes,
    typical: u64,
    decision: u64,
    worst: u64,
    /// Of every kind, dearest first.
    frames: Vec<FrameCost>,
    frame: u64,
    /// The controller's steps alone.
    steps_a_period: u64,
    period: u64,
    /// Of [`budgets::PERIODS_OF_FEWER`].
    periods_of_fewer: Vec<u64>,
    /// The dearest frame that the release image read and the dearest that it wrote.
    release_frame: u64,
    /// The dearest control period of the release image.
    release_period: u64,
    high_water: u64,
    bound: StackBound,
    /// What the loop does for a byte that comes alone.
    lone_byte: Option<u64>,
    /// What is dearest where something changes.
    changes: Changes,
}

impl Figures {
    fn take(workspace: &Workspace, board: Board, yes: bool) -> Result<Self> {
        let bench = Bench::new(workspace, board, yes)?;
        let toolchain = firmware::toolchain(yes)?;
        let policy = policy::image(workspace, None)?;
        let image = Image { board, program: Program::Firmware, development: false };
        let image = image.build(workspace, &toolchain, &policy)?;
        let Still { sizes, bound } = Still::of_file(&image)?;
        let release = release::Bench {
            counter: release::Counter::of_release(workspace, &image)?,
            emulator: bench.emulator.clone(),
            image,
        };
        let played = release::Figures::of(&release, &bench)?;
        let frames = wire::frames(&bench.emulator, &bench.wire)?;
        let shape = Shape::Hostile;
        let periods = wire::periods(&bench.emulator, &bench.wire, shape, budgets::WORST_PERIODS)?;
        let of_fewer = |(applications, _): (u8, Budget)| {
            let named = budgets::WORST_OF_FEWER.iter().filter(|named| named.0 == applications);
            let ids: Vec<_> = named.map(|named| named.1).collect();
            let shape = Shape::Fewer { applications };
            let periods = wire::periods(&bench.emulator, &bench.wire, shape, &ids)?;
            Ok(dearest(&periods).context("no case of fewer applications is named")?.instructions)
        };
        let periods_of_fewer = budgets::PERIODS_OF_FEWER.into_iter().map(of_fewer);
        let periods_of_fewer = periods_of_fewer.collect::<Result<_>>()?;
        Ok(Self {
            sizes,
            typical: played.mean(Kind::Outcomes)?,
            decision: played.mean(Kind::Telemetry)?,
            worst: played.hostile.worst().context("no case of a worst step is named")?.instructions,
            steps_a_period: played.hostile.worst_period().context("no worst step is named")?,
            frame: frames.first().context("no frame was measured")?.both(),
            frames,
            period: dearest(&periods).context("no case of a worst period is named")?.instructions,
            periods_of_fewer,
            release_frame: played.reading + played.writing,
            release_period: played.period,
            high_water: played.high_water,
            bound,
            lone_byte: played.lone_byte,
            changes: Changes::take(&release, &bench)?,
        })
    }

    /// Every figure that has a budget, with it.
    fn budgeted(&self) -> Vec<(u64, Budget)> {
        let mut all = vec![
            (self.sizes.flash, budgets::FLASH),
            (self.sizes.static_ram, budgets::STATIC_RAM),
            (self.typical, budgets::TYPICAL_STEP),
            (self.decision, budgets::TYPICAL_DECISION),
            (self.worst, budgets::WORST_STEP),
            (self.frame, budgets::FRAME),
            (self.steps_a_period, budgets::WORST_PERIOD),
            (self.release_frame, budgets::RELEASE_FRAME),
            (self.period, budgets::PERIOD),
            (self.release_period, budgets::RELEASE_PERIOD),
            (self.high_water, budgets::STACK_HIGH_WATER),
            (self.bound.bytes(), budgets::STACK_BOUND),
        ];
        let of_fewer = budgets::PERIODS_OF_FEWER.map(|(_, budget)| budget);
        all.extend(self.periods_of_fewer.iter().copied().zip(of_fewer));
        all.extend(self.changes.budgeted());
        all
    }

    fn check(&self) -> Result<()> {
        let passed: Vec<_> = self
            .budgeted()
            .into_iter()
            .filter_map(|(measured, budget)| budget.check(measured).err())
            .collect();
        if !self.sizes.panic_free {
            bail!("the release image has a panic path");
        }
        if self.high_water > self.bound.bytes() {
            let (high_water, bound) = (self.high_water, self.bound.bytes());
            bail!("{high_water} B of stack were used where at most {bound} B can be");
        }
        if !passed.is_empty() {
            bail!("over budget, built by {}: {}", self.sizes.compiler, passed.join("; "));
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        json!({
            "compiler": self.sizes.compiler,
            "flash": self.sizes.flash,
            "static_ram": self.sizes.static_ram,
            "stack_high_water": self.high_water,
            "stack_bound": self.bound.bytes(),
            "step_instructions": { "typical": self.typical, "worst": self.worst },
            "decision_instructions": { "typical": self.decision },
            "frame_instructions": self.frame,
            "period_instructions": self.period,
            "period_instructions_of_fewer": self.periods_of_fewer,
            "release_image": {
                "frame_instructions": self.release_frame,
                "period_instructions": self.release_period,
            },
            "with_changes": self.changes.to_json(),
            "panic_free": self.sizes.panic_free,
        })
    }

    fn print(&self, board: Board) {
        println!("{}, built by {}", board.name, self.sizes.compiler);
        for (measured, budget) in self.budgeted() {
            println!("{:<18} {measured:>8} {:<13} ({budget})", budget.name, budget.unit);
        }
        println!("{:<18} {:>8} B             (region)", "stack", self.sizes.stack);
        println!("{:<18} {:>8}", "panic-free", self.sizes.panic_free);
        for (name, size) in &self.sizes.sections {
            println!("  {name:<19} {size:>7} B");
        }
        self.bound.print();
        if let Some(byte) = self.lone_byte {
            println!("  a byte that comes alone, with the passes of the loop: {byte} instructions");
        }
        println!("  dearest frame of each kind, instructions to read and to write it");
        let mut kinds = Vec::new();
        for FrameCost { kind, reading, writing } in &self.frames {
            if !kinds.contains(kind) {
                kinds.push(*kind);
                println!("  {:<18} {reading:>8} {writing:>8}", format!("{kind:?}"));
            }
        }
    }
}

/// Bytes an image takes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Sizes {
    /// What the image was built by: another version takes another number of instructions.
    compiler: String,
    /// Code, constants and initial values.
    flash: u64,
    /// Variables, whether initialised, zeroed or kept over a reset.
    static_ram: u64,
    /// The stack's region.
    stack: u64,
    /// No symbol of the image is of a panic.
    panic_free: bool,
    /// The symbols of panics, whoever brought them: the libraries, a HAL, `core`.
    panics: Vec<String>,
    /// Loaded and allocated sections, empty ones left out.
    sections: Vec<(String, u64)>,
}

impl Sizes {
    fn of(elf: &[u8]) -> Result<Self> {
        let file = object::File::parse(elf).context("no ELF file")?;
        let mut sizes = Self::default();
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags } = section.flags() else {
                bail!("no ELF file, but {:?}", file.format());
            };
            let (allocated, writable) =
                (sh_flags & u64::from(SHF_ALLOC) != 0, sh_flags & u64::from(SHF_WRITE) != 0);
            if section.name() == Ok(".comment") {
                sizes.compiler = compiler(section.data().unwrap_or_default());
            }
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
        let names = file.symbols().filter_map(|symbol| symbol.name().ok().map(str::to_owned));
        sizes.panics = names.filter(|name| name.contains(PANIC_MARK)).collect();
        sizes.panic_free = sizes.panics.is_empty();
        Ok(sizes)
    }
}

/// What an image says of itself without being run: all there is of a board that is not emulated.
struct Still {
    sizes: Sizes,
    bound: StackBound,
}

impl Still {
    fn of_file(path: &Path) -> Result<Self> {
        let elf = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let of = || anyhow::Ok(Self { sizes: Sizes::of(&elf)?, bound: StackBound::of(&elf)? });
        of().with_context(|| path.display().to_string())
    }

    /// The figures, with their budgets.
    fn budgeted(&self) -> [(u64, Budget); 3] {
        [
            (self.sizes.flash, budgets::FLASH_WITH_HAL),
            (self.sizes.static_ram, budgets::STATIC_RAM),
            (self.bound.bytes(), budgets::STACK_BOUND),
        ]
    }

    fn check(&self) -> Result<()> {
        let Sizes { compiler, panic_free, panics, stack, .. } = &self.sizes;
        let passed = self.budgeted().map(|(measured, budget)| budget.check(measured).err());
        let passed: Vec<_> = passed.into_iter().flatten().collect();
        if !passed.is_empty() {
            bail!("over budget, built by {compiler}: {}", passed.join("; "));
        }
        if self.bound.bytes() > *stack {
            bail!("the stack of {stack} B is smaller than its bound, {} B", self.bound.bytes());
        }
        if !panic_free {
            bail!("{} symbols of panics: {}", panics.len(), panics.join(", "));
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        json!({
            "compiler": self.sizes.compiler,
            "flash": self.sizes.flash,
            "static_ram": self.sizes.static_ram,
            "stack_high_water": null,
            "stack_bound": self.bound.bytes(),
            "step_instructions": null,
            "frame_instructions": null,
            "period_instructions": null,
            "period_instructions_of_fewer": null,
            "release_image": null,
            "with_changes": null,
            "panic_free": self.sizes.panic_free,
        })
    }

    fn print(&self, board: Board) {
        println!("{}, built by {}", board.name, self.sizes.compiler);
        for (measured, budget) in self.budgeted() {
            println!("{:<13} {measured:>8} {:<13} ({budget})", budget.name, budget.unit);
        }
        println!("{:<13} {:>8} B             (region)", "stack", self.sizes.stack);
        println!("{:<13} {:>8}", "panic symbols", self.sizes.panics.len());
        for name in &self.sizes.panics {
            println!("  {name}");
        }
        for (name, size) in &self.sizes.sections {
            println!("  {name:<14} {size:>7} B");
        }
        self.bound.print();
    }
}

/// The compiler among the strings of an ELF file's `.comment`, up to its commit.
fn compiler(comment: &[u8]) -> String {
    let comment = String::from_utf8_lossy(comment);
    let found = comment.split('\0').find(|line| line.starts_with("rustc version "));
    let found = found.and_then(|line| line.split(" (").next());
    found.unwrap_or("an unknown compiler").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Link;

    #[test]
    fn the_compiler_is_read_from_the_comment() {
        let comment = b"Linker: LLD 22.1.2\0rustc version 1.96.0 (ac68faa20 2026-05-25) (Debian)\0";
        assert_eq!(compiler(comment), "rustc version 1.96.0");
        assert_eq!(compiler(b"GCC: 14"), "an unknown compiler");
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        let message = format!("{:#}", Sizes::of(b"no").unwrap_err());
        assert!(message.contains("no ELF file"), "{message}");
    }

    #[test]
    fn budgets_and_panics_of_a_board_that_is_not_emulated_are_errors() {
        let of = |sizes: Sizes, bytes| {
            let thread = vec![Link { name: "reset".to_owned(), bytes }];
            let bound = StackBound { thread, exceptions: vec![], indirect: vec![], untold: vec![] };
            Still { sizes, bound }.check().map_err(|error| error.to_string())
        };
        let within =
            Sizes { flash: 1, static_ram: 1, stack: 64, panic_free: true, ..Sizes::default() };
        assert_eq!(of(within.clone(), 64), Ok(()));
        let error = of(within.clone(), 65).unwrap_err();
        assert!(error.contains("smaller than its bound, 65 B"), "{error}");
        let most = budgets::STACK_BOUND.limit;
        let error = of(within.clone(), u32::try_from(most + 1).unwrap()).unwrap_err();
        assert!(error.contains("stack bound"), "{error}");
        let flash = budgets::FLASH_WITH_HAL.limit + 1;
        let error = of(Sizes { flash, ..within.clone() }, 1).unwrap_err();
        assert!(error.contains("flash"), "{error}");
        let panics = vec!["core::panicking::panic_fmt".to_owned()];
        let error = of(Sizes { panic_free: false, panics, ..within }, 1).unwrap_err();
        assert!(error.contains("1 symbols of panics: core::panicking::panic_fmt"), "{error}");
    }

    #[test]
    fn the_release_image_fits_its_memories() {
        let Some(image) = std::env::var_os("COSHIFT_FIRMWARE") else {
            println!("SKIPPED: the firmware image (run `cargo xtask test`)");
            return;
        };
        let Still { sizes, .. } = Still::of_file(Path::new(&image)).unwrap();
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
