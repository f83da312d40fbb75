//! A model of flash memory whose power can be cut at every unit it writes or erases.

use coshift_controller::store::Slot;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// Bytes of a block that is erased at once.
pub(crate) const BLOCK: usize = 128;
/// Bytes of a slot.
pub(crate) const SIZE: usize = 6 * BLOCK;

/// What the last operation before a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The unit as it was.
    Before,
    /// The unit whole, and nothing after it.
    After,
    /// Some bits of the unit as they were, some as they were to be.
    Torn,
    /// The unit whole but for one bit.
    Flip,
}

impl Cut {
    pub(crate) const ALL: [Self; 4] = [Self::Before, Self::After, Self::Torn, Self::Flip];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PowerIsOut;

impl NorFlashError for PowerIsOut {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

/// A slot that is written by units of `UNIT` bytes, each once between two erasures.
#[derive(Debug, Clone)]
pub(crate) struct Flash<const UNIT: usize> {
    bytes: Vec<u8>,
    /// Which units were written since they were erased.
    written: Vec<bool>,
    /// Operations, one a unit written or erased.
    pub(crate) operations: u64,
    /// Number of the operation at which the power fails, and how.
    fuse: Option<(u64, Cut)>,
    dead: bool,
    random: u64,
}

impl<const UNIT: usize> Flash<UNIT> {
    /// Memory that was never erased: it reads anything.
    pub(crate) fn new() -> Self {
        let bytes = (0..SIZE).map(|place| (place * 37) as u8).collect();
        let written = vec![true; SIZE / UNIT];
        Self { bytes, written, operations: 0, fuse: None, dead: false, random: 1 }
    }

    /// Forgets what happened so far: no operation was done, power is on.
    pub(crate) fn forget(&mut self) {
        self.operations = 0;
        self.fuse = None;
        self.dead = false;
    }

    /// The power fails at this operation from now on, counted from 1.
    pub(crate) fn cut_at(&mut self, operation: u64, cut: Cut, seed: u64) {
        self.forget();
        self.fuse = Some((operation, cut));
        self.random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }

    pub(crate) fn flip(&mut self, bit: usize) {
        self.bytes[bit / 8] ^= 1 << (bit % 8);
    }

    fn draw(&mut self) -> u64 {
        // xorshift64 (Marsaglia, 2003)
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Gives a unit its new content, unless the power fails.
    fn change(&mut self, unit: usize, new: &[u8]) -> Result<(), PowerIsOut> {
        if self.dead {
            return Err(PowerIsOut);
        }
        self.operations += 1;
        let cut = self.fuse.filter(|(at, _)| *at == self.operations).map(|(_, cut)| cut);
        let flipped = self.draw() as usize % (8 * UNIT);
        for (place, byte) in new.iter().enumerate() {
            let mask = self.draw() as u8;
            let there = &mut self.bytes[unit * UNIT + place];
            *there = match cut {
                Some(Cut::Before) => *there,
                Some(Cut::Torn) => (*there & mask) | (byte & !mask),
                Some(Cut::Flip) if flipped / 8 == place => byte ^ (1 << (flipped % 8)),
                None | Some(Cut::After | Cut::Flip) => *byte,
            };
        }
        // A unit that reads erased takes a write, whatever was begun there.
        self.written[unit] = self.bytes[unit * UNIT..][..UNIT].iter().any(|byte| *byte != 0xff);
        if cut.is_some() {
            self.dead = true;
            return Err(PowerIsOut);
        }
        Ok(())
    }
}

impl<const UNIT: usize> ErrorType for Flash<UNIT> {
    type Error = PowerIsOut;
}

impl<const UNIT: usize> ReadNorFlash for Flash<UNIT> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), PowerIsOut> {
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        SIZE
    }
}

impl<const UNIT: usize> NorFlash for Flash<UNIT> {
    const WRITE_SIZE: usize = UNIT;
    const ERASE_SIZE: usize = BLOCK;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), PowerIsOut> {
        assert!((from as usize).is_multiple_of(BLOCK) && to as usize - from as usize == BLOCK);
        for unit in from as usize / UNIT..to as usize / UNIT {
            self.change(unit, &[0xff; 64][..UNIT])?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), PowerIsOut> {
        assert!((offset as usize).is_multiple_of(UNIT) && bytes.len().is_multiple_of(UNIT));
        for (unit, bytes) in (offset as usize / UNIT..).zip(bytes.chunks(UNIT)) {
            assert!(!self.written[unit], "unit {unit} is written twice");
            self.change(unit, bytes)?;
            self.written[unit] = true;
        }
        Ok(())
    }
}

impl<const UNIT: usize> Slot for Flash<UNIT> {
    fn mapped(&self) -> &[u8] {
        &self.bytes
    }
}
