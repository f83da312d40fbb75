//! The emulator's plugin that counts instructions: how it is built, what it is told of an image,
//! and its records.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use crate::workspace::{self, Workspace};

/// Its package, and its library's file.
const PACKAGE: &str = "coshift-emulator-counter";
const LIBRARY: &str = "libcoshift_emulator_counter.so";
/// Functions that are counted: the name in the records, and what its symbol has to contain: parts of the
/// path, the function's own name last.
type Functions = &'static [(&'static str, &'static [&'static str])];

/// Those of the release image.
const OF_RELEASE: Functions = &[
    (STEP, &["coshift_controller", "Controller", "step_into"]),
    (CLOSE, &["coshift_controller", "node", "close"]),
    (SEND, &["coshift_controller", "node", "send"]),
    (SEND_ALL, &["coshift_controller", "node", "send_all"]),
    (QUEUE, &["board", "Port", "send"]),
];
/// Those of the image that measures steps: what it puts between two readings of its clock.
const OF_STEPS: Functions = &[(STEP, &["steps", "image", "step"])];

/// One step of the controller.
pub(crate) const STEP: &str = "step";
/// The end of a frame that was read: the message, its step, what it sends at once.
pub(crate) const CLOSE: &str = "close";
/// One message written and queued.
pub(crate) const SEND: &str = "send";
/// The messages of a step written and queued.
pub(crate) const SEND_ALL: &str = "send_all";

/// A frame put into the port's queue. What it takes depends on how fast the host takes bytes.
pub(crate) const QUEUE: &str = "queue";

/// A plugin, and what it is told of one image.
pub(crate) struct Counter {
    library: PathBuf,
    image: Vec<String>,
}

impl Counter {
    /// Builds the plugin, for a release image.
    ///
    /// # Errors
    /// Where cargo fails, or the image has no such function of its own.
    pub(crate) fn of_release(workspace: &Workspace, image: &Path) -> Result<Self> {
        Self::build(workspace, image, OF_RELEASE)
    }

    /// The same for the image that measures steps.
    pub(crate) fn of_steps(workspace: &Workspace, image: &Path) -> Result<Self> {
        Self::build(workspace, image, OF_STEPS)
    }

    fn build(workspace: &Workspace, image: &Path, functions: Functions) -> Result<Self> {
        let mut command = workspace.cargo();
        command.args(["build", "--release", "--package", PACKAGE]);
        workspace::run(&mut command).context("the emulator's plugin was not built")?;
        let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
        let image = places(&bytes, functions).with_context(|| format!("{}", image.display()))?;
        Ok(Self { library: workspace.target_dir.join("release").join(LIBRARY), image })
    }

    /// The same counter, not told of exception handlers: one that counts wrong, for a test.
    pub(crate) fn without_handlers(mut self) -> Self {
        self.image.retain(|place| !place.starts_with("handler="));
        self
    }

    /// The argument of the emulator's `-plugin`, with the file that the records go to.
    pub(crate) fn argument(&self, records: &Path) -> String {
        format!("{},out={},{}", self.library.display(), records.display(), self.image.join(","))
    }
}

/// The plugin's arguments about an image: where a boot, each handler and each function begins.
fn places(elf: &[u8], functions: Functions) -> Result<Vec<String>> {
    let file = object::File::parse(elf).context("no ELF file")?;
    let vectors = file.section_by_name(".vector_table").context("no vector table")?;
    let vectors = vectors.data().context("the vector table")?;
    let mut handlers = Vec::new();
    let mut places = Vec::new();
    // The first word is the stack pointer, the second where a boot begins.
    for (number, word) in vectors.as_chunks().0.iter().enumerate().skip(1) {
        // The lowest bit says that it is Thumb code.
        let address = u32::from_le_bytes(*word) & !1;
        if address == 0 || handlers.contains(&address) {
            continue;
        }
        handlers.push(address);
        places.push(match number {
            1 => format!("reset={address:#x}"),
            _ => format!("handler={number}:{address:#x}"),
        });
    }
    for (name, path) in functions {
        let found = function(&file, path).with_context(|| format!("the function {name}"))?;
        places.push(format!("function={name}:{found:#x}"));
    }
    Ok(places)
}

/// Address of the one function whose symbol names these parts of a path.
fn function(file: &object::File<'_>, path: &[&str]) -> Result<u64> {
    let [within @ .., own] = path else { bail!("a function without a name") };
    // Symbols have the length of a name before it.
    let own = format!("{}{own}", own.len());
    let names = |name: &str| name.contains(&own) && within.iter().all(|part| name.contains(part));
    let found: Vec<_> = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
        .filter(|symbol| symbol.name().is_ok_and(names))
        .map(|symbol| symbol.address() & !1)
        .collect();
    match found[..] {
        [address] => Ok(address),
        [] => bail!("the image has no {} of its own: it was inlined", path.join("::")),
        _ => bail!("{} functions are called {}", found.len(), path.join("::")),
    }
}

/// One record of the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The board boots.
    Boot,
    /// A call has ended.
    Call {
        /// The function.
        name: String,
        /// Its instructions, handlers left out.
        own: u64,
        /// The counted function it was called from.
        outer: Option<String>,
    },
    /// The core goes to sleep again.
    Wake {
        /// Instructions since it last did, handlers left out.
        own: u64,
        /// Numbers of the handlers that ran.
        handlers: Vec<u32>,
    },
}

/// The records in the plugin's file.
pub(crate) fn records(text: &str) -> Result<Vec<Record>> {
    let named = |line| record(line).with_context(|| format!("the counter's record {line:?}"));
    text.lines().filter_map(|line| named(line).transpose()).collect()
}

fn record(line: &str) -> Result<Option<Record>> {
    let words: Vec<_> = line.split(' ').collect();
    let number = |text: &str| text.parse::<u64>().map_err(|error| anyhow!("{text}: {error}"));
    let record = match words[..] {
        ["boot"] => Record::Boot,
        ["call", name, own, _, outer] => Record::Call {
            name: name.to_owned(),
            own: number(own)?,
            outer: (outer != "-").then(|| outer.to_owned()),
        },
        ["wake", own, _, "-"] => Record::Wake { own: number(own)?, handlers: Vec::new() },
        ["wake", own, _, handlers] => Record::Wake {
            own: number(own)?,
            handlers: handlers.split(',').map(str::parse).collect::<Result<_, _>>()?,
        },
        ["function" | "handlers", ..] => return Ok(None),
        _ => bail!("unknown"),
    };
    Ok(Some(record))
}
