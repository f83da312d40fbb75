//! One sector of an STM32F4's flash as a slot of the policy store.
//!
//! Source: ST RM0383 (STM32F411), section 3 "Embedded Flash memory interface"; other STM32F4 have
//! the same registers. Writing straight to them, as the HAL's driver asserts and indexes, which the
//! release image must not, never clears the sticky error flags, and erases byte-wise, which takes
//! twice as long.
//!
//! Needs 2.7 V or more: words are programmed and erased with 32-bit parallelism.

use coshift_controller::store::Slot;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};

use crate::slots::Lend;

/// Registers of the flash's controller, by their offset in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Register {
    /// `FLASH_ACR`: wait states and caches.
    Access = 0x00,
    /// `FLASH_KEYR`: two keys unlock the control register.
    Key = 0x04,
    /// `FLASH_SR`.
    Status = 0x0c,
    /// `FLASH_CR`.
    Control = 0x10,
}

/// Written to [`Register::Key`] in this order to unlock [`Register::Control`].
pub const KEYS: [u32; 2] = [0x4567_0123, 0xcdef_89ab];

/// `FLASH_SR`: an operation is going on.
pub const BUSY: u32 = 1 << 16;
/// `FLASH_SR`: read protection, sequence, parallelism, alignment, write protection, operation.
pub const ERRORS: u32 = 1 << 8 | 1 << 7 | 1 << 6 | 1 << 5 | 1 << 4 | 1 << 1;
/// `FLASH_SR`: end of operation.
const DONE: u32 = 1 << 0;

/// `FLASH_CR`: nothing can be changed.
pub const LOCK: u32 = 1 << 31;
/// `FLASH_CR`: the erase that was chosen begins.
pub const START: u32 = 1 << 16;
/// `FLASH_CR`: words, 32-bit parallelism.
pub const WORDS: u32 = 0b10 << 8;
/// `FLASH_CR`: erase a sector.
pub const ERASE: u32 = 1 << 1;
/// `FLASH_CR`: program.
pub const PROGRAM: u32 = 1 << 0;
/// `FLASH_CR`: position of the sector's number.
pub const SECTOR: u32 = 3;

/// `FLASH_ACR`: the data cache is reset; only while it is disabled.
pub const CACHE_RESET: u32 = 1 << 12;
/// `FLASH_ACR`: the data cache is enabled.
pub const CACHE: u32 = 1 << 10;

/// Bytes that are programmed at once.
const WORD: usize = 4;

/// A sector and its controller, as a board reaches them.
pub trait Sector {
    /// Bytes of the sector; it is erased as a whole.
    const SIZE: usize;

    /// Its number, as `FLASH_CR` takes it.
    fn number(&self) -> u8;

    /// Its bytes as they are now, [`Sector::SIZE`] of them.
    fn mapped(&self) -> &[u8];

    /// Reads a register.
    fn read(&self, register: Register) -> u32;

    /// Writes a register.
    fn write(&mut self, register: Register, value: u32);

    /// Stores a word at an offset from the sector's start, a multiple of four below
    /// [`Sector::SIZE`]: programs it where the controller is ready to.
    fn store(&mut self, offset: usize, word: u32);

    /// The same for as long as the image runs: see [`Lend`].
    fn lend(&self) -> &'static [u8];

    /// An erase comes next. A sector of 128 KiB takes up to 2 s, in which a core that runs from the
    /// same flash stands still and only an independent watchdog goes on.
    fn before_erase(&mut self) {}

    /// The erase is over.
    fn after_erase(&mut self) {}
}

/// Why the flash did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// An access outside of the sector or across its units.
    Place(NorFlashErrorKind),
    /// The controller stays locked: a wrong key was written since the last reset.
    Locked,
    /// The error flags of `FLASH_SR`.
    Controller(u32),
}

impl NorFlashError for Error {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Place(kind) => *kind,
            Self::Locked | Self::Controller(_) => NorFlashErrorKind::Other,
        }
    }
}

impl From<NorFlashErrorKind> for Error {
    fn from(kind: NorFlashErrorKind) -> Self {
        Self::Place(kind)
    }
}

/// A sector as a slot.
#[derive(Debug, Clone)]
pub struct SectorSlot<S> {
    sector: S,
}

impl<S: Sector> SectorSlot<S> {
    /// The slot in this sector.
    pub const fn new(sector: S) -> Self {
        Self { sector }
    }

    /// The sector.
    pub fn sector(&self) -> &S {
        &self.sector
    }

    /// Gives the sector back.
    pub fn into_sector(self) -> S {
        self.sector
    }

    /// Waits for the last operation, unlocks the controller, does `operate` and locks it again.
    fn unlocked(
        &mut self,
        operate: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.wait();
        if self.sector.read(Register::Control) & LOCK != 0 {
            for key in KEYS {
                self.sector.write(Register::Key, key);
            }
            if self.sector.read(Register::Control) & LOCK != 0 {
                return Err(Error::Locked);
            }
        }
        // Ones clear the flags; those of an earlier operation would be taken for this one's.
        self.sector.write(Register::Status, ERRORS | DONE);
        let outcome = operate(self);
        self.sector.write(Register::Control, LOCK);
        outcome
    }

    /// Waits for the end of the operation; one that never ends is left to the watchdog.
    fn wait(&self) {
        while self.sector.read(Register::Status) & BUSY != 0 {}
    }

    /// How the operation went.
    fn outcome(&self) -> Result<(), Error> {
        self.wait();
        match self.sector.read(Register::Status) & ERRORS {
            0 => Ok(()),
            errors => Err(Error::Controller(errors)),
        }
    }

    /// Lets the data cache forget what it holds of an erased sector. (It follows what is
    /// programmed by itself.)
    fn forget_cached(&mut self) {
        let access = self.sector.read(Register::Access);
        let disabled = access & !CACHE;
        self.sector.write(Register::Access, disabled);
        self.sector.write(Register::Access, disabled | CACHE_RESET);
        self.sector.write(Register::Access, disabled);
        self.sector.write(Register::Access, access);
    }
}

impl<S> ErrorType for SectorSlot<S> {
    type Error = Error;
}

impl<S: Sector> ReadNorFlash for SectorSlot<S> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        check_read(self, offset, bytes.len())?;
        let there = self.sector.mapped().get(offset as usize..).unwrap_or_default();
        for (place, byte) in bytes.iter_mut().zip(there) {
            *place = *byte;
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        S::SIZE
    }
}

impl<S: Sector> NorFlash for SectorSlot<S> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = S::SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        check_erase(self, from, to)?;
        if from == to {
            return Ok(());
        }
        self.unlocked(|this| {
            let control = WORDS | ERASE | u32::from(this.sector.number()) << SECTOR;
            this.sector.write(Register::Control, control);
            this.sector.before_erase();
            this.sector.write(Register::Control, control | START);
            let outcome = this.outcome();
            this.sector.after_erase();
            this.forget_cached();
            outcome
        })
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        check_write(self, offset, bytes.len())?;
        self.unlocked(|this| {
            this.sector.write(Register::Control, WORDS | PROGRAM);
            let (words, _) = bytes.as_chunks::<WORD>();
            let mut offset = offset as usize;
            for word in words {
                this.sector.store(offset, u32::from_le_bytes(*word));
                this.outcome()?;
                offset = offset.wrapping_add(WORD);
            }
            Ok(())
        })
    }
}

impl<S: Sector> Slot for SectorSlot<S> {
    fn mapped(&self) -> &[u8] {
        self.sector.mapped()
    }
}

impl<S: Sector> Lend for SectorSlot<S> {
    fn lend(&self) -> &'static [u8] {
        self.sector.lend()
    }
}
