//! The zip archive of `torch.save`: entries as they are, never compressed
//! (APPNOTE.TXT of PKWARE, sections 4.3 and 4.5.3).

use std::collections::HashMap;

use super::{ImportFault, array, short, take};

/// First bytes of an archive: those of its first entry.
pub const MAGIC: [u8; 4] = *b"PK\x03\x04";

const DIRECTORY: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const END_LENGTH: usize = 22;

/// Entries of an archive by their names.
#[derive(Debug)]
pub struct Archive<'a> {
    entries: HashMap<&'a str, &'a [u8]>,
    /// What all names of a checkpoint begin with.
    prefix: &'a str,
}

fn fault(why: impl Into<String>) -> ImportFault {
    ImportFault::Archive(why.into())
}

impl<'a> Archive<'a> {
    /// Reads the directory and checks every entry.
    ///
    /// # Errors
    /// [`ImportFault::Truncated`], [`ImportFault::Archive`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, ImportFault> {
        let (count, mut at) = directory(bytes)?;
        let (mut entries, mut left) = (HashMap::new(), bytes.len());
        for _ in 0..count {
            let (name, data) = entry(bytes, &mut at, &mut left)?;
            if entries.insert(name, data).is_some() {
                let name = short(name);
                return Err(fault(format!("entry {name:?} is there twice")));
            }
        }
        let mut pickles = entries.keys().filter_map(|name| name.strip_suffix("data.pkl"));
        let prefix = match (pickles.next(), pickles.next()) {
            (Some(prefix), None) if prefix.ends_with('/') => prefix,
            _ => return Err(fault("expected one entry FOLDER/data.pkl: not one of torch.save")),
        };
        let archive = Self { entries, prefix };
        match archive.entry("byteorder") {
            None | Some(b"little") => Ok(archive),
            Some(_) => Err(fault("byteorder is not little")),
        }
    }

    fn entry(&self, name: &str) -> Option<&'a [u8]> {
        self.entries.get(format!("{}{name}", self.prefix).as_str()).copied()
    }

    /// The pickle.
    #[must_use]
    pub fn pickle(&self) -> &'a [u8] {
        self.entry("data.pkl").unwrap_or_default()
    }

    /// The bytes of a storage.
    #[must_use]
    pub fn storage(&self, key: &str) -> Option<&'a [u8]> {
        self.entry(&format!("data/{key}"))
    }
}

/// Number of entries, and where the directory begins.
fn directory(bytes: &[u8]) -> Result<(u64, usize), ImportFault> {
    // The record at the end has a comment of up to 65535 bytes behind it.
    let last = bytes.len().checked_sub(END_LENGTH);
    let first = bytes.len().saturating_sub(END_LENGTH + usize::from(u16::MAX));
    let is_end = |at: &usize| {
        let record = &bytes[*at..];
        record.starts_with(&END)
            && usize::from(u16::from_le_bytes([record[20], record[21]]))
                == record.len() - END_LENGTH
    };
    let end = last.and_then(|last| (first..=last).rev().find(is_end));
    let end = end.ok_or_else(|| fault("no directory at its end: truncated"))?;
    let mut at = end + 10;
    let what = "directory of the archive";
    let mut count = u64::from(u16::from_le_bytes(array(bytes, &mut at, what)?));
    at += 4;
    let mut offset = u64::from(u32::from_le_bytes(array(bytes, &mut at, what)?));
    let locator = end.checked_sub(20).filter(|at| bytes[*at..].starts_with(&LOCATOR_64));
    if let Some(locator) = locator.filter(|_| count == 0xffff || offset == 0xffff_ffff) {
        let mut at = locator + 8;
        let record = u64::from_le_bytes(array(bytes, &mut at, what)?);
        let record = place(bytes, record)?;
        if !bytes[record..].starts_with(&END_64) {
            return Err(fault("no directory where it says: truncated or not one archive"));
        }
        let mut at = record + 32;
        count = u64::from_le_bytes(array(bytes, &mut at, what)?);
        at += 8;
        offset = u64::from_le_bytes(array(bytes, &mut at, what)?);
    }
    Ok((count, place(bytes, offset)?))
}

/// An offset in the file.
fn place(bytes: &[u8], offset: u64) -> Result<usize, ImportFault> {
    let place = usize::try_from(offset).ok().filter(|place| *place <= bytes.len());
    place.ok_or_else(|| fault(format!("offset {offset} in a file of {} bytes", bytes.len())))
}

/// The entry whose record in the directory is at `at`: its name and bytes, which are taken off those
/// that are `left` to the entries. Entries that lie over each other would else be read again and again.
fn entry<'a>(
    bytes: &'a [u8],
    at: &mut usize,
    left: &mut usize,
) -> Result<(&'a str, &'a [u8]), ImportFault> {
    let what = "record in the archive's directory";
    if array(bytes, at, what)? != DIRECTORY {
        return Err(fault("its directory has fewer entries than it says"));
    }
    let record: [u8; 42] = array(bytes, at, what)?;
    let half = |at: usize| u16::from_le_bytes([record[at], record[at + 1]]);
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| record[at + byte]));
    let name = take(bytes, at, u64::from(half(24)), what)?;
    let name = std::str::from_utf8(name).map_err(|_| fault("a name that is not UTF-8"))?;
    let extra = take(bytes, at, u64::from(half(26)), what)?;
    let _comment = take(bytes, at, u64::from(half(28)), what)?;
    // In the order in which the larger fields stand where the smaller ones are full.
    let [mut length, mut stored, mut offset] = [word(20), word(16), word(38)].map(u64::from);
    large(extra, [&mut length, &mut stored, &mut offset]);
    let encrypted = half(4) & 1 == 1;
    if half(6) != 0 || stored != length || encrypted {
        return Err(fault(format!("entry {:?} is compressed or encrypted", short(name))));
    }
    let mut data = place(bytes, offset)?;
    let what = "entry of the archive";
    if array(bytes, &mut data, what)? != MAGIC {
        return Err(fault(format!("no entry where {:?} is said to be", short(name))));
    }
    let local: [u8; 26] = array(bytes, &mut data, what)?;
    for field in [22, 24] {
        let length = u16::from_le_bytes([local[field], local[field + 1]]);
        take(bytes, &mut data, u64::from(length), what)?;
    }
    let data = take(bytes, &mut data, length, what)?;
    *left = left.checked_sub(data.len()).ok_or_else(|| {
        let name = short(name);
        fault(format!("entry {name:?}: the entries up to it hold more bytes than the file"))
    })?;
    let mut sum = flate2::Crc::new();
    sum.update(data);
    if sum.sum() != word(12) {
        return Err(fault(format!("entry {:?} is damaged: its check sum is another", short(name))));
    }
    Ok((name, data))
}

/// Fields of 32 bits that are full stand with 64 in the extra field of kind 1.
fn large(mut extra: &[u8], fields: [&mut u64; 3]) {
    while let [k0, k1, l0, l1, rest @ ..] = extra {
        let length = usize::from(u16::from_le_bytes([*l0, *l1])).min(rest.len());
        let (mut body, next) = rest.split_at(length);
        extra = next;
        if [*k0, *k1] != [1, 0] {
            continue;
        }
        for field in fields {
            let Some((value, rest)) = body.split_first_chunk::<8>() else { return };
            if *field == u64::from(u32::MAX) {
                *field = u64::from_le_bytes(*value);
                body = rest;
            }
        }
        return;
    }
}
