//! The frame log: every frame with its time, for replay.
//!
//! The file starts with [`MAGIC`]. A record is, little-endian: length of the rest `u32`, agent's
//! time in µs `u64`, direction `u8` ([`Direction`]), bytes as they stood on the link. Bytes from
//! the microcontroller are logged as they arrived, so a record may hold a part of a frame, several
//! frames, or garbage.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use crate::clock::Time;

/// First bytes of a log: name and format.
pub const MAGIC: [u8; 8] = *b"CSFLOG\x00\x01";
/// Longest content of a record.
pub const MAX_CONTENT: usize = 4096;
const HEAD: usize = 9;

/// Where bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// Agent to microcontroller.
    ToMcu = 1,
    /// Microcontroller to agent.
    FromMcu = 2,
    /// Agent to its twin or in-process controller.
    ToTwin = 3,
    /// Twin or in-process controller to agent.
    FromTwin = 4,
}

impl Direction {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::ToMcu, Self::FromMcu, Self::ToTwin, Self::FromTwin]
            .into_iter()
            .find(|direction| *direction as u8 == byte)
    }
}

/// A log being written.
#[derive(Debug)]
pub struct FrameLog<W: Write> {
    out: BufWriter<W>,
}

impl FrameLog<File> {
    /// Starts a log in a new file; an existing one is not overwritten.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::start(File::create_new(path)?)
    }
}

impl<W: Write> FrameLog<W> {
    /// Starts a log.
    ///
    /// # Errors
    /// What writing says.
    pub fn start(out: W) -> io::Result<Self> {
        let mut out = BufWriter::new(out);
        out.write_all(&MAGIC)?;
        Ok(Self { out })
    }

    /// Appends a record; more than [`MAX_CONTENT`] bytes become several.
    ///
    /// # Errors
    /// What writing says.
    pub fn record(&mut self, now: Time, direction: Direction, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(MAX_CONTENT) {
            let length = u32::try_from(HEAD + part.len()).unwrap_or(u32::MAX);
            self.out.write_all(&length.to_le_bytes())?;
            self.out.write_all(&now.us().to_le_bytes())?;
            self.out.write_all(&[direction as u8])?;
            self.out.write_all(part)?;
        }
        Ok(())
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// What writing says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Agent's time.
    pub at: Time,
    /// Where the bytes went.
    pub direction: Direction,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Reads a whole log. A record cut off at the end (the agent was killed) ends it quietly.
///
/// # Errors
/// `InvalidData` where the bytes are no log, otherwise what reading says.
pub fn read(mut input: impl Read) -> io::Result<Vec<Record>> {
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    let mut rest =
        bytes.strip_prefix(&MAGIC).ok_or_else(|| damaged("no frame log: wrong first bytes"))?;
    let mut records = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        if !(HEAD..=HEAD + MAX_CONTENT).contains(&length) {
            return Err(damaged("a record of the frame log has an impossible length"));
        }
        let Some((record, after)) = tail.split_at_checked(length) else { break };
        rest = after;
        let Some((at, record)) = record.split_first_chunk::<8>() else { break };
        let [direction, bytes @ ..] = record else { break };
        let direction = Direction::from_byte(*direction)
            .ok_or_else(|| damaged("a record of the frame log has an unknown direction"))?;
        let at = Time::from_us(u64::from_le_bytes(*at));
        records.push(Record { at, direction, bytes: bytes.to_vec() });
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::{Direction, FrameLog, Record, read};
    use crate::clock::Time;

    #[test]
    fn records_read_back_and_a_cut_one_ends_the_log() {
        let mut file = Vec::new();
        let mut log = FrameLog::start(&mut file).unwrap();
        log.record(Time::from_us(7), Direction::ToMcu, &[1, 2, 0]).unwrap();
        log.record(Time::from_us(u64::MAX), Direction::FromTwin, &[9; 5000]).unwrap();
        log.flush().unwrap();
        drop(log);
        let records = read(file.as_slice()).unwrap();
        let first =
            Record { at: Time::from_us(7), direction: Direction::ToMcu, bytes: vec![1, 2, 0] };
        assert_eq!(records[0], first);
        assert_eq!(records.iter().map(|r| r.bytes.len()).collect::<Vec<_>>(), [3, 4096, 904]);
        for cut in 8..file.len() {
            assert!(read(&file[..cut]).unwrap().len() < 3, "{cut}");
        }
        assert!(read(&file[1..]).is_err());
    }
}
