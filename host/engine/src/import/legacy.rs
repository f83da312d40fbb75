//! The file that `torch.save` wrote before version 1.6, and still writes on request: five pickles
//! (magic number, version, about the machine, what was saved, keys of the storages), then each
//! storage's number of values and its values (`torch/serialization.py`, `_legacy_save`).

use std::collections::HashMap;

use super::pickle::{Built, Node};
use super::{ImportFault, array, short, take};

/// First byte of a file: a pickle's.
pub const FIRST: u8 = 0x80;

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

const VERSION: i64 = 1001;

/// A file taken apart.
#[derive(Debug)]
pub struct Legacy<'a> {
    /// What was saved.
    pub saved: Built<'a>,
    keys: Vec<&'a str>,
    storages: &'a [u8],
    /// Where the storages begin in the file.
    storages_at: usize,
}

impl<'a> Legacy<'a> {
    /// Reads the pickles.
    ///
    /// # Errors
    /// [`ImportFault::Foreign`] where the magic number is another; [`ImportFault::Truncated`],
    /// [`ImportFault::Pickle`], [`ImportFault::Content`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, ImportFault> {
        let mut at = 0;
        let foreign = || ImportFault::Foreign { found: "a pickle of something else".into() };
        let magic = next(bytes, &mut at).map_err(|fault| match fault {
            ImportFault::Truncated { .. } => fault,
            _ => foreign(),
        })?;
        if *magic.root() != Node::Long(&MAGIC) {
            return Err(foreign());
        }
        match next(bytes, &mut at)?.root() {
            Node::Int(VERSION) => {}
            other => {
                let found = match other {
                    Node::Int(version) => version.to_string(),
                    other => other.kind().to_owned(),
                };
                let why = format!("version is {found}, expected {VERSION}");
                return Err(ImportFault::Content(why));
            }
        }
        let about = next(bytes, &mut at)?;
        let Node::Dict(entries) = about.root() else {
            return Err(ImportFault::Content("no dictionary about the machine".into()));
        };
        let little = entries.iter().any(|(key, value)| {
            *about.node(*key) == Node::Text("little_endian")
                && *about.node(*value) == Node::Bool(true)
        });
        if !little {
            return Err(ImportFault::Content("its byte order is not little-endian".into()));
        }
        drop(about);
        let saved = next(bytes, &mut at)?;
        let list = next(bytes, &mut at)?;
        let Node::List(places) = list.root() else {
            return Err(ImportFault::Content("no list of storages".into()));
        };
        let key = |place: &u32| match list.node(*place) {
            Node::Text(key) => Ok(*key),
            other => Err(ImportFault::Content(format!("key of a storage is {}", other.kind()))),
        };
        let keys = places.iter().map(key).collect::<Result<_, _>>()?;
        Ok(Self { saved, keys, storages: &bytes[at..], storages_at: at })
    }

    /// The storages by their keys; `sizes` are bytes of a value, as the tensors say.
    ///
    /// # Errors
    /// [`ImportFault::Truncated`]; [`ImportFault::Content`] where no tensor says the size of a
    /// storage before the last one, or a key is there twice.
    pub fn storages(
        &self,
        sizes: &HashMap<&str, usize>,
    ) -> Result<HashMap<&'a str, &'a [u8]>, ImportFault> {
        let (mut storages, mut at) = (HashMap::new(), 0);
        let shifted = |fault| match fault {
            ImportFault::Truncated { what, at, needs, left } => {
                ImportFault::Truncated { what, at: at + self.storages_at, needs, left }
            }
            other => other,
        };
        for key in &self.keys {
            let count: [u8; 8] =
                array(self.storages, &mut at, "size of a storage").map_err(shifted)?;
            let size = sizes.get(key).ok_or_else(|| {
                ImportFault::Content(format!(
                    "storage {:?} is of no tensor: its size is unknown",
                    short(key)
                ))
            })?;
            let length = u64::from_le_bytes(count).saturating_mul(*size as u64);
            let data = take(self.storages, &mut at, length, "storage").map_err(shifted)?;
            if storages.insert(*key, data).is_some() {
                let key = short(key);
                return Err(ImportFault::Content(format!("storage {key:?} is there twice")));
            }
        }
        Ok(storages)
    }
}

/// The next pickle.
fn next<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Built<'a>, ImportFault> {
    let from = *at;
    let built = Built::read(&bytes[from..]).map_err(|fault| match fault {
        ImportFault::Truncated { what, at, needs, left } => {
            ImportFault::Truncated { what, at: at + from, needs, left }
        }
        ImportFault::Pickle { at, why } => ImportFault::Pickle { at: at + from, why },
        other => other,
    })?;
    *at += built.length;
    Ok(built)
}
