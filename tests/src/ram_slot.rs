//! A slot of the policy store for the simulated microcontroller: memory that outlives its boots.

use coshift_controller::store::Slot;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// Bytes of the slot, of a block that is erased and of a unit that is written at once: those of the
/// image that runs in the emulator.
const SIZE: usize = 20 * 1024;
const BLOCK: usize = 4 * 1024;
const WORD: usize = 4;

/// The slot.
#[derive(Debug, Clone)]
pub struct RamSlot(Vec<u8>);

impl Default for RamSlot {
    /// Memory as it is before the first upload: not erased.
    fn default() -> Self {
        Self(vec![0; SIZE])
    }
}

/// An access outside of the slot, across its units, or to a word that was not erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misused;

impl NorFlashError for Misused {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl RamSlot {
    fn part(&mut self, from: usize, length: usize, unit: usize) -> Result<&mut [u8], Misused> {
        let whole = from.is_multiple_of(unit) && length.is_multiple_of(unit);
        self.0.get_mut(from..from + length).filter(|_| whole).ok_or(Misused)
    }
}

impl ErrorType for RamSlot {
    type Error = Misused;
}

impl ReadNorFlash for RamSlot {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Misused> {
        let there = self.part(offset as usize, bytes.len(), 1)?;
        bytes.copy_from_slice(there);
        Ok(())
    }

    fn capacity(&self) -> usize {
        SIZE
    }
}

impl NorFlash for RamSlot {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = BLOCK;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Misused> {
        self.part(from as usize, (to - from) as usize, BLOCK)?.fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Misused> {
        let there = self.part(offset as usize, bytes.len(), WORD)?;
        if there.iter().any(|byte| *byte != 0xff) {
            return Err(Misused);
        }
        there.copy_from_slice(bytes);
        Ok(())
    }
}

impl Slot for RamSlot {
    fn mapped(&self) -> &[u8] {
        &self.0
    }
}
