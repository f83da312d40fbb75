//! A pickle machine that can build tensors and nothing else (opcodes: `Lib/pickletools.py` of
//! Python).
//!
//! What it builds lies in one list of nodes that name each other by their place, so that neither a
//! deep nor a circular structure needs recursion. A name that is called must be one of
//! [`Callable`]'s; anything else is refused before it is looked at.

use std::collections::HashMap;

use super::tensor::{Kind, Spec, Storage};
use super::{ImportFault, MOST_NAME, array, short, take};

/// Most that a pickle may push, list or copy, and most that it may remember: some ten thousand
/// tensors.
pub const MOST_ITEMS: usize = 1 << 19;

/// Most dimensions of a tensor.
pub const MOST_DIMENSIONS: usize = 8;

/// Place of a node.
pub type Place = u32;

/// What a pickle can build.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'a> {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// A longer integer, little-endian two's complement.
    Long(&'a [u8]),
    /// A number.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// A tuple.
    Tuple(Vec<Place>),
    /// A list.
    List(Vec<Place>),
    /// A dictionary, in order.
    Dict(Vec<(Place, Place)>),
    /// Something that can be called or names a kind of storage.
    Callable(Callable),
    /// A storage.
    Storage(Storage<'a>),
    /// A tensor.
    Tensor(Spec<'a>),
}

impl Node<'_> {
    /// What it is, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) | Self::Long(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Callable(_) => "a callable",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// The names that a pickle may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callable {
    /// `collections.OrderedDict`.
    Ordered,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`.
    Tensor,
    /// `torch._utils._rebuild_parameter`.
    Parameter,
    /// `torch.FloatStorage` and its like.
    Kind(Kind),
}

impl Callable {
    fn named(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::Ordered),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Self::Tensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::Parameter),
            ("torch", name) => Kind::named(name).map(Self::Kind),
            _ => None,
        }
    }
}

/// What a pickle built.
#[derive(Debug)]
pub struct Built<'a> {
    nodes: Vec<Node<'a>>,
    root: Place,
    /// Bytes of the pickle, its last one included.
    pub length: usize,
}

impl<'a> Built<'a> {
    /// Runs the pickle at the start of `bytes`.
    ///
    /// # Errors
    /// [`ImportFault::Truncated`], [`ImportFault::Pickle`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, ImportFault> {
        let mut machine = Machine {
            bytes,
            at: 0,
            opcode_at: 0,
            items: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        while machine.step()? {}
        let root = machine.pop()?;
        Ok(Self { nodes: machine.nodes, root, length: machine.at })
    }

    /// What it is at the top.
    #[must_use]
    pub fn root(&self) -> &Node<'a> {
        self.node(self.root)
    }

    /// All storages that were named.
    pub fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// A node.
    #[must_use]
    pub fn node(&self, place: Place) -> &Node<'a> {
        &self.nodes[place as usize]
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    opcode_at: usize,
    items: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Place>,
    marks: Vec<usize>,
    memo: HashMap<u32, Place>,
}

impl<'a> Machine<'a> {
    fn fault(&self, why: impl Into<String>) -> ImportFault {
        ImportFault::Pickle { at: self.opcode_at, why: why.into() }
    }

    /// Counts what is pushed or copied.
    fn count(&mut self, items: usize) -> Result<(), ImportFault> {
        self.items = self.items.saturating_add(items);
        if self.items > MOST_ITEMS {
            return Err(self.fault(format!("more than {MOST_ITEMS} items")));
        }
        Ok(())
    }

    fn again(&mut self, place: Place) -> Result<(), ImportFault> {
        self.count(1)?;
        self.stack.push(place);
        Ok(())
    }

    fn push(&mut self, node: Node<'a>) -> Result<(), ImportFault> {
        // Counted before: as many nodes as items at most, which 32 bits hold.
        self.again(self.nodes.len() as Place)?;
        self.nodes.push(node);
        Ok(())
    }

    /// The topmost item; not one from below a mark.
    fn pop(&mut self) -> Result<Place, ImportFault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.fault("takes an item where there is none"));
        }
        self.stack.pop().ok_or_else(|| self.fault("takes an item where there is none"))
    }

    /// The items above the last mark.
    fn marked(&mut self) -> Result<Vec<Place>, ImportFault> {
        let from =
            self.marks.pop().ok_or_else(|| self.fault("takes a mark where there is none"))?;
        Ok(self.stack.split_off(from.min(self.stack.len())))
    }

    fn pops(&mut self, count: usize) -> Result<Vec<Place>, ImportFault> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        Ok(items)
    }

    fn node(&self, place: Place) -> &Node<'a> {
        &self.nodes[place as usize]
    }

    fn argument(&mut self, count: u64) -> Result<&'a [u8], ImportFault> {
        take(self.bytes, &mut self.at, count, "argument of an opcode")
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], ImportFault> {
        array(self.bytes, &mut self.at, "argument of an opcode")
    }

    fn text(&mut self, length: u64) -> Result<(), ImportFault> {
        let bytes = self.argument(length)?;
        let text =
            std::str::from_utf8(bytes).map_err(|_| self.fault("a text that is not UTF-8"))?;
        self.push(Node::Text(text))
    }

    fn line(&mut self) -> Result<&'a str, ImportFault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or(ImportFault::Truncated {
            what: "name in a pickle",
            at: self.at,
            needs: rest.len() as u64 + 1,
            left: rest.len(),
        })?;
        let line = std::str::from_utf8(&rest[..length]);
        self.at += length + 1;
        line.map_err(|_| self.fault("a name that is not UTF-8"))
    }

    fn callable(&mut self, module: &str, name: &str) -> Result<(), ImportFault> {
        match Callable::named(module, name) {
            Some(callable) => self.push(Node::Callable(callable)),
            None => {
                // Both come from the file: as much of them as a line holds.
                let named = short(&format!("{}.{}", short(module), short(name)));
                Err(self.fault(format!("names {named:?}, which no tensor needs")))
            }
        }
    }

    fn remember(&mut self, index: u32) -> Result<(), ImportFault> {
        let Some(top) = self.stack.last() else {
            return Err(self.fault("remembers an item where there is none"));
        };
        self.memo.insert(index, *top);
        if self.memo.len() > MOST_ITEMS {
            return Err(self.fault(format!("remembers more than {MOST_ITEMS} items")));
        }
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), ImportFault> {
        let known = self.memo.get(&index).copied();
        let place =
            known.ok_or_else(|| self.fault(format!("recalls {index}, never remembered")))?;
        self.again(place)
    }

    /// One opcode; `false` after the last one.
    fn step(&mut self) -> Result<bool, ImportFault> {
        self.opcode_at = self.at;
        let [opcode] = array(self.bytes, &mut self.at, "opcode of a pickle")?;
        match opcode {
            b'.' => return Ok(false),
            0x80 => match self.fixed()? {
                [2..=5] => {}
                [other] => return Err(self.fault(format!("protocol {other}, expected 2 to 5"))),
            },
            // FRAME: its length is that of what follows and says nothing new.
            0x95 => drop(self.fixed::<8>()?),
            b'(' => {
                self.count(1)?;
                self.marks.push(self.stack.len());
            }
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            b'K' => {
                let value = i64::from(u8::from_le_bytes(self.fixed()?));
                self.push(Node::Int(value))?;
            }
            b'M' => {
                let value = i64::from(u16::from_le_bytes(self.fixed()?));
                self.push(Node::Int(value))?;
            }
            b'J' => {
                let value = i64::from(i32::from_le_bytes(self.fixed()?));
                self.push(Node::Int(value))?;
            }
            0x8a => {
                let [length] = self.fixed()?;
                let digits = self.argument(u64::from(length))?;
                self.push(integer(digits))?;
            }
            b'G' => {
                let value = f64::from_be_bytes(self.fixed()?);
                self.push(Node::Float(value))?;
            }
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.fixed()?);
                self.text(u64::from(length))?;
            }
            0x8c | b'U' => {
                let [length] = self.fixed()?;
                self.text(u64::from(length))?;
            }
            0x8d => {
                let length = u64::from_le_bytes(self.fixed()?);
                self.text(length)?;
            }
            b')' => self.push(Node::Tuple(Vec::new()))?,
            b']' => self.push(Node::List(Vec::new()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b't' => {
                let items = self.marked()?;
                self.push(Node::Tuple(items))?;
            }
            0x85..=0x87 => {
                let items = self.pops(usize::from(opcode - 0x84))?;
                self.push(Node::Tuple(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.marked()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.pops(2)?;
                self.set(&items)?;
            }
            b'u' => {
                let items = self.marked()?;
                self.set(&items)?;
            }
            b'q' => {
                let [index] = self.fixed()?;
                self.remember(u32::from(index))?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.fixed()?);
                self.remember(index)?;
            }
            // MEMOIZE: the next free number. Both are below 2³², the memo is counted by its items.
            0x94 => {
                self.count(1)?;
                self.remember(self.memo.len() as u32)?;
            }
            b'h' => {
                let [index] = self.fixed()?;
                self.recall(u32::from(index))?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.fixed()?);
                self.recall(index)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.callable(module, name)?;
            }
            0x93 => {
                let pair = self.pops(2)?;
                let (Node::Text(module), Node::Text(name)) =
                    (self.node(pair[0]), self.node(pair[1]))
                else {
                    return Err(self.fault("a name that is no text"));
                };
                let (module, name) = (*module, *name);
                self.callable(module, name)?;
            }
            b'Q' => self.storage()?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            other => {
                return Err(self.fault(format!("opcode {other:#04x}, which no tensor needs")));
            }
        }
        Ok(true)
    }

    fn append(&mut self, items: Vec<Place>) -> Result<(), ImportFault> {
        let list = self.top()?;
        match &mut self.nodes[list as usize] {
            Node::List(list) => list.extend(items),
            other => {
                let kind = other.kind();
                return Err(self.fault(format!("appends to {kind}, expected a list")));
            }
        }
        Ok(())
    }

    fn set(&mut self, items: &[Place]) -> Result<(), ImportFault> {
        if !items.len().is_multiple_of(2) {
            return Err(self.fault("sets a key without a value"));
        }
        let dict = self.top()?;
        match &mut self.nodes[dict as usize] {
            Node::Dict(dict) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            other => {
                let kind = other.kind();
                return Err(self.fault(format!("sets items of {kind}, expected a dictionary")));
            }
        }
        Ok(())
    }

    /// The topmost item, which stays.
    fn top(&mut self) -> Result<Place, ImportFault> {
        let top = self.pop()?;
        self.stack.push(top);
        Ok(top)
    }

    /// BINPERSID: ("storage", kind, key, location, count[, view]).
    fn storage(&mut self) -> Result<(), ImportFault> {
        let id = self.pop()?;
        let expected = "a storage that is not (\"storage\", kind, key, location, count)";
        let Node::Tuple(parts) = self.node(id) else { return Err(self.fault(expected)) };
        let parts: Vec<&Node<'a>> = parts.iter().take(7).map(|part| self.node(*part)).collect();
        // Files of before 2017 have views of storages: a last part that is not None.
        let parts = match &parts[..] {
            [parts @ .., Node::None] => parts,
            parts => parts,
        };
        let [
            Node::Text("storage"),
            Node::Callable(Callable::Kind(kind)),
            Node::Text(key),
            Node::Text(_location),
            Node::Int(count),
        ] = parts
        else {
            return Err(self.fault(expected));
        };
        let count = u64::try_from(*count).map_err(|_| self.fault(expected))?;
        if key.len() > MOST_NAME {
            let length = key.len();
            let why = format!("a storage's key of {length} bytes, expected at most {MOST_NAME}");
            return Err(self.fault(why));
        }
        let storage = Storage { kind: *kind, key, count };
        self.push(Node::Storage(storage))
    }

    /// REDUCE: calls.
    fn reduce(&mut self) -> Result<(), ImportFault> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Node::Callable(callable) = *self.node(callable) else {
            return Err(self.fault(format!("calls {}", self.node(callable).kind())));
        };
        let Node::Tuple(arguments) = self.node(arguments) else {
            return Err(self.fault("calls with what is no tuple"));
        };
        let arguments: Vec<Place> = arguments.iter().take(8).copied().collect();
        let made = match callable {
            Callable::Ordered => match arguments[..] {
                [] => Node::Dict(Vec::new()),
                [pairs] => self.pairs(pairs)?,
                _ => return Err(self.fault("OrderedDict of more than one argument")),
            },
            Callable::Tensor => self.tensor(&arguments)?,
            Callable::Parameter => match arguments.first().map(|first| self.node(*first)) {
                Some(Node::Tensor(tensor)) => Node::Tensor(tensor.clone()),
                _ => return Err(self.fault("a parameter of what is no tensor")),
            },
            Callable::Kind(_) => return Err(self.fault("calls a kind of storage")),
        };
        self.push(made)
    }

    /// A dictionary of a list of pairs, as Python 2 has it.
    fn pairs(&mut self, pairs: Place) -> Result<Node<'a>, ImportFault> {
        let Node::List(list) = self.node(pairs) else {
            return Err(self.fault("OrderedDict of what is no list of pairs"));
        };
        let count = list.len();
        self.count(count)?;
        let Node::List(list) = self.node(pairs) else { return Ok(Node::None) };
        let pair = |place: &Place| match self.node(*place) {
            Node::List(pair) | Node::Tuple(pair) if pair.len() == 2 => Some((pair[0], pair[1])),
            _ => None,
        };
        let made: Option<Vec<_>> = list.iter().map(pair).collect();
        made.map(Node::Dict).ok_or_else(|| self.fault("OrderedDict of what is no list of pairs"))
    }

    /// (storage, offset, sizes, strides, …): what follows is about gradients.
    fn tensor(&self, arguments: &[Place]) -> Result<Node<'a>, ImportFault> {
        let arguments: Vec<&Node<'a>> = arguments.iter().map(|place| self.node(*place)).collect();
        let [
            Node::Storage(storage),
            Node::Int(offset),
            Node::Tuple(sizes),
            Node::Tuple(strides),
            ..,
        ] = arguments[..]
        else {
            return Err(self.fault("a tensor that is not of (storage, offset, sizes, strides)"));
        };
        if sizes.len() != strides.len() || sizes.len() > MOST_DIMENSIONS {
            let (sizes, strides) = (sizes.len(), strides.len());
            let expected = format!("as many of both, {MOST_DIMENSIONS} at most");
            return Err(
                self.fault(format!("{sizes} sizes and {strides} strides, expected {expected}"))
            );
        }
        let whole = |place: &Place| match self.node(*place) {
            Node::Int(value) => u64::try_from(*value).ok(),
            _ => None,
        };
        let list = |places: &[Place]| places.iter().map(whole).collect::<Option<Vec<u64>>>();
        let parts = (u64::try_from(*offset).ok(), list(sizes), list(strides));
        let (Some(offset), Some(sizes), Some(strides)) = parts else {
            return Err(self.fault("a size, stride or offset that is no count"));
        };
        Ok(Node::Tensor(Spec { storage: *storage, offset, sizes, strides }))
    }

    /// BUILD: attributes of a dictionary (versions of modules) say nothing about tensors.
    fn build(&mut self) -> Result<(), ImportFault> {
        let _attributes = self.pop()?;
        let object = self.top()?;
        match self.node(object) {
            Node::Dict(_) => Ok(()),
            other => Err(self.fault(format!("sets attributes of {}", other.kind()))),
        }
    }
}

/// An integer of little-endian two's complement.
fn integer(digits: &[u8]) -> Node<'_> {
    if digits.len() > 8 {
        return Node::Long(digits);
    }
    let negative = digits.last().is_some_and(|last| last & 0x80 != 0);
    let mut bytes = [if negative { 0xff } else { 0 }; 8];
    bytes[..digits.len()].copy_from_slice(digits);
    Node::Int(i64::from_le_bytes(bytes))
}
