//! A bound on the stack of an image that holds for every input: from its machine code.
//!
//! Each function takes what all its instructions that lower the stack pointer take together (a
//! prologue, or several where a compiler moved them: then more than ever at once). Who calls whom is
//! read from the branches; a branch to another function counts as a call. What is called through a
//! pointer may be any function whose address occurs in data or code. A function that may call itself
//! has no bound, which is an error.
//!
//! The compiler's own figures (`-Zemit-stack-sizes`, section `.stack_sizes`) stand beside that. An
//! image without them has no bound, nor one in which a function takes less by its instructions than
//! by the compiler: then this reading of the code misses something. Assembly has no figure, nor has
//! what came compiled.
//!
//! On top of the deepest chain from reset come an interrupt, a non-maskable one in it and a fault in
//! that: every other exception has one priority on our boards, and none interrupts another.

mod thumb;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result, bail, ensure};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

use thumb::Effect;

/// What the core pushes for an exception with floating-point registers, with the word that aligns
/// it (DDI 0403E, B1.5.7).
const EXCEPTION_FRAME: u32 = 104 + 4;
/// The section of the compiler's figures.
const STACK_SIZES: &str = ".stack_sizes";
/// Places in the vector table.
const RESET: usize = 1;
const NON_MASKABLE: usize = 2;
const HARD_FAULT: usize = 3;

/// One function of a chain of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its name.
    pub(crate) name: String,
    /// Bytes of stack that it takes itself.
    pub(crate) bytes: u32,
}

/// The bound and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StackBound {
    /// The deepest chain from reset.
    pub(crate) thread: Vec<Link>,
    /// The deepest chains of an interrupt, the non-maskable one and the fault handler.
    pub(crate) exceptions: Vec<Vec<Link>>,
    /// Functions that call through a pointer.
    pub(crate) indirect: Vec<String>,
    /// Functions that only their instructions tell the stack of.
    pub(crate) untold: Vec<String>,
}

impl StackBound {
    /// The bound of an image.
    ///
    /// # Errors
    /// Where the image is none of ours, a function may call itself, the stack pointer is moved by an
    /// amount that the code does not tell, or the compiler's figures are missing or larger.
    pub(crate) fn of(elf: &[u8]) -> Result<Self> {
        let program = Program::read(elf)?;
        program.check()?;
        let mut walk = Walk { program: &program, depths: HashMap::new(), open: Vec::new() };
        let (mut reset, mut others, mut faults) = (None, Vec::new(), Vec::new());
        for (place, handler) in program.vectors.iter().enumerate().skip(RESET) {
            match place {
                RESET => reset = *handler,
                NON_MASKABLE | HARD_FAULT => faults.extend(*handler),
                _ => others.extend(*handler),
            }
        }
        let thread = walk.chain(reset.context("the vector table has no reset")?)?;
        let mut exceptions = Vec::new();
        let mut deepest: Option<u32> = None;
        for handler in others {
            let deeper = match deepest {
                None => true,
                Some(other) => walk.depth(handler)? > walk.depth(other)?,
            };
            if deeper {
                deepest = Some(handler);
            }
        }
        for handler in deepest.into_iter().chain(faults) {
            exceptions.push(walk.chain(handler)?);
        }
        let names = |of: fn(&Function) -> bool| {
            let those = program.functions.values().filter(|function| of(function));
            those.map(|function| function.name.clone()).collect()
        };
        let indirect = names(|function| function.indirect);
        let untold = names(|function| function.emitted.is_none());
        Ok(Self { thread, exceptions, indirect, untold })
    }

    /// Bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let of = |chain: &[Link]| chain.iter().map(|link| u64::from(link.bytes)).sum::<u64>();
        let exceptions = self.exceptions.iter();
        of(&self.thread)
            + exceptions.map(|chain| of(chain) + u64::from(EXCEPTION_FRAME)).sum::<u64>()
    }

    /// The chains, for people.
    pub(crate) fn print(&self) {
        let print = |title: &str, chain: &[Link]| {
            println!("  {title}");
            for Link { name, bytes } in chain {
                println!("    {bytes:>5} B {name}");
            }
        };
        print("deepest chain of calls from reset", &self.thread);
        for chain in &self.exceptions {
            print(&format!("and, in an exception of {EXCEPTION_FRAME} B"), chain);
        }
        if self.indirect.is_empty() {
            println!("  no function calls through a pointer");
        } else {
            println!("  functions that call through a pointer: {}", self.indirect.join(", "));
        }
        if !self.untold.is_empty() {
            println!("  functions without a figure of the compiler: {}", self.untold.join(", "));
        }
    }
}

/// A function of the image.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Function {
    name: String,
    end: u32,
    /// Bytes by which its instructions lower the stack pointer.
    bytes: u32,
    /// What the compiler says.
    emitted: Option<u32>,
    calls: BTreeSet<u32>,
    indirect: bool,
    /// The stack pointer is moved by an amount that the code does not tell.
    unknown: bool,
}

/// An image's functions by their address.
struct Program {
    functions: BTreeMap<u32, Function>,
    /// Functions whose address occurs somewhere else than in a branch or the vector table.
    taken: BTreeSet<u32>,
    vectors: Vec<Option<u32>>,
}

impl Program {
    fn read(elf: &[u8]) -> Result<Self> {
        let file = object::File::parse(elf).context("no ELF file")?;
        let mut functions = BTreeMap::new();
        // Where code and data begin in the text, by the mapping symbols of the ABI.
        let mut is_code = BTreeMap::new();
        for symbol in file.symbols() {
            let (Ok(name), Ok(address)) = (symbol.name(), u32::try_from(symbol.address())) else {
                continue;
            };
            match name.split('.').next() {
                Some("$t") => drop(is_code.insert(address, true)),
                Some("$d") => drop(is_code.insert(address, false)),
                _ if symbol.kind() == SymbolKind::Text && !symbol.is_undefined() => {
                    let start = address & !1;
                    let end = start + u32::try_from(symbol.size())?;
                    let function: &mut Function = functions.entry(start).or_default();
                    // Of several names the first one serves; of several lengths the longest.
                    if function.name.is_empty() {
                        function.name = readable(name);
                    }
                    function.end = function.end.max(end);
                }
                _ => {}
            }
        }
        // Assembly may leave its functions without a length: they end where the next one begins.
        let starts: Vec<u32> = functions.keys().copied().collect();
        for (start, next) in starts.iter().zip(starts.iter().skip(1).chain([&u32::MAX])) {
            if let Some(function) = functions.get_mut(start).filter(|f| f.end == *start) {
                function.end = *next;
            }
        }
        for (address, bytes) in emitted_sizes(&file)? {
            let function = functions.get_mut(&address).with_context(|| {
                format!(
                    "{STACK_SIZES} tells of {bytes} B at {address:#x}, where no function begins"
                )
            })?;
            function.emitted = function.emitted.max(Some(bytes));
        }
        let mut program = Self { functions, taken: BTreeSet::new(), vectors: Vec::new() };
        for section in file.sections() {
            let data = section.data().unwrap_or_default();
            let start = u32::try_from(section.address())?;
            match (section.name().unwrap_or_default(), section.kind()) {
                (".vector_table", _) => program.vectors = program.handlers(data),
                (_, SectionKind::Text) => program.text(start, data, &is_code),
                (_, SectionKind::Data | SectionKind::ReadOnlyData) => program.take_words(data),
                _ => {}
            }
        }
        ensure!(!program.vectors.is_empty(), "no vector table");
        Ok(program)
    }

    /// Whether the instructions of no function take less stack than the compiler says.
    fn check(&self) -> Result<()> {
        for Function { name, bytes, emitted, .. } in self.functions.values() {
            if let Some(emitted) = emitted.filter(|emitted| emitted > bytes) {
                bail!(
                    "the stack has no bound: the instructions of {name} take {bytes} B where the \
                     compiler says {emitted} B"
                );
            }
        }
        Ok(())
    }

    /// The function that an address lies in.
    fn at(&self, address: u32) -> Option<u32> {
        let (start, function) = self.functions.range(..=address).next_back()?;
        (address < function.end || address == *start).then_some(*start)
    }

    fn handlers(&self, data: &[u8]) -> Vec<Option<u32>> {
        data.as_chunks().0.iter().map(|word| self.at(u32::from_le_bytes(*word) & !1)).collect()
    }

    /// Notes the functions that words of data point to.
    fn take_words(&mut self, data: &[u8]) {
        for word in data.as_chunks().0 {
            self.take(u32::from_le_bytes(*word));
        }
    }

    /// Notes the function that a value points to: code addresses have their lowest bit set.
    fn take(&mut self, value: u32) {
        if value & 1 == 1 && self.functions.contains_key(&(value & !1)) {
            self.taken.insert(value & !1);
        }
    }

    /// Reads the code of a section.
    fn text(&mut self, start: u32, data: &[u8], is_code: &BTreeMap<u32, bool>) {
        let halves = data.as_chunks().0.iter().map(|half| u16::from_le_bytes(*half));
        let halves: Vec<u16> = halves.collect();
        let mut low = [0; 16];
        let mut place = 0;
        while let Some(first) = halves.get(place) {
            let address = start + 2 * place as u32;
            if is_code.range(..=address).next_back().is_some_and(|(_, code)| !code) {
                if address.is_multiple_of(4)
                    && let Some(second) = halves.get(place + 1)
                {
                    self.take(u32::from(*first) | u32::from(*second) << 16);
                }
                place += 1;
                continue;
            }
            let effect = if thumb::is_wide(*first) {
                place += 2;
                thumb::wide(address, *first, halves.get(place - 1).copied().unwrap_or(0))
            } else {
                place += 1;
                thumb::narrow(address, *first)
            };
            match effect {
                Effect::Low { register, value } => low[usize::from(register)] = u32::from(value),
                Effect::High { register, value } => {
                    self.take(low[usize::from(register)] | u32::from(value) << 16);
                }
                _ => {}
            }
            self.note(address, effect);
        }
    }

    /// Notes what an instruction does in the function that it belongs to.
    fn note(&mut self, address: u32, effect: Effect) {
        let Some(own) = self.at(address) else { return };
        let target = match effect {
            Effect::Call(to) | Effect::Branch(to) => self.at(to),
            _ => None,
        };
        let Some(function) = self.functions.get_mut(&own) else { return };
        match (effect, target) {
            (Effect::Lower(bytes), _) => function.bytes += bytes,
            (Effect::LowerUnknown, _) => function.unknown = true,
            (Effect::Indirect, _) => function.indirect = true,
            // Within a function a branch goes on; only a call takes stack again.
            (Effect::Branch(_), Some(to)) if to == own => {}
            (Effect::Call(_) | Effect::Branch(_), Some(to)) => drop(function.calls.insert(to)),
            _ => {}
        }
    }
}

/// The search for the deepest chains.
struct Walk<'p> {
    program: &'p Program,
    /// Bytes below and with each function, and the callee that makes them so many.
    depths: HashMap<u32, (u32, Option<u32>)>,
    /// The functions that are being looked at.
    open: Vec<u32>,
}

impl Walk<'_> {
    fn depth(&mut self, start: u32) -> Result<u32> {
        if let Some((depth, _)) = self.depths.get(&start) {
            return Ok(*depth);
        }
        let function = self.program.functions.get(&start).context("no function")?;
        if let Some(place) = self.open.iter().position(|open| *open == start) {
            let names = self.open[place..].iter().chain([&start]);
            let names: Vec<_> =
                names.map(|start| self.program.functions[start].name.as_str()).collect();
            bail!("the stack has no bound: {}", names.join(" calls "));
        }
        if function.unknown {
            bail!("the stack has no bound: {} takes what a register says", function.name);
        }
        self.open.push(start);
        let pointed = self.program.taken.iter().filter(|_| function.indirect);
        let mut deepest = (0, None);
        for callee in function.calls.iter().chain(pointed) {
            let depth = self.depth(*callee)?;
            if deepest.1.is_none() || depth > deepest.0 {
                deepest = (depth, Some(*callee));
            }
        }
        self.open.pop();
        let depth = function.bytes + deepest.0;
        self.depths.insert(start, (depth, deepest.1));
        Ok(depth)
    }

    /// The deepest chain of calls from a function.
    fn chain(&mut self, start: u32) -> Result<Vec<Link>> {
        self.depth(start)?;
        let mut chain = Vec::new();
        let mut next = Some(start);
        while let Some(place) = next {
            let function = &self.program.functions[&place];
            chain.push(Link { name: function.name.clone(), bytes: function.bytes });
            next = self.depths[&place].1;
        }
        Ok(chain)
    }
}

/// The compiler's figures of an image: functions and their bytes.
fn emitted_sizes(file: &object::File<'_>) -> Result<Vec<(u32, u32)>> {
    let section = file.section_by_name(STACK_SIZES).with_context(|| {
        format!("no section {STACK_SIZES}: the image was built without the compiler's stack sizes")
    })?;
    let sizes = read_sizes(section.data().context(STACK_SIZES)?).context(STACK_SIZES)?;
    ensure!(!sizes.is_empty(), "section {STACK_SIZES} is empty: it tells of no function");
    Ok(sizes)
}

/// For each function its address, whose lowest bit stands for Thumb code, and its bytes, in groups
/// of seven bits from the lowest on (LEB128).
fn read_sizes(mut data: &[u8]) -> Result<Vec<(u32, u32)>> {
    let mut sizes = Vec::new();
    while !data.is_empty() {
        let number = sizes.len();
        let (address, mut rest) =
            data.split_first_chunk().with_context(|| format!("entry {number}: cut short"))?;
        let mut bytes = 0_u32;
        let mut place = 0;
        loop {
            let (byte, after) =
                rest.split_first().with_context(|| format!("entry {number}: cut short"))?;
            rest = after;
            let group = u32::from(byte & 0x7f);
            let shifted = group.checked_shl(place).filter(|shifted| shifted >> place == group);
            bytes |=
                shifted.with_context(|| format!("entry {number}: no 32 bits hold its size"))?;
            place += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        sizes.push((u32::from_le_bytes(*address) & !1, bytes));
        data = rest;
    }
    Ok(sizes)
}

/// A mangled name without its hash and crate numbers, as far as that goes without a demangler.
fn readable(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("_ZN") else { return name.to_owned() };
    let mut parts = Vec::new();
    while let Some(digits) = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| *n > 0) {
        let Some((part, after)) =
            rest[..digits].parse().ok().and_then(|n: usize| rest[digits..].split_at_checked(n))
        else {
            break;
        };
        parts.push(part.replace("$LT$", "<").replace("$GT$", ">").replace("$u20$", " "));
        rest = after;
    }
    // The last part is a hash.
    if parts.len() > 1 {
        parts.pop();
    }
    parts.join("::")
}

#[cfg(test)]
mod tests;
