//! The two slots of the policy store.
//!
//! The board has no memory that can be programmed and keeps its content without power. A part of
//! its PSRAM stands for two erase sectors of flash each: it keeps its content over every reset, is
//! written by words that only clear bits, and erased by blocks. Without power it forgets, so the
//! image boots on its compiled-in policy then, unless the emulator was given that memory as a file.

use core::{ptr, slice};

use coshift_controller::store::Slot;
use coshift_firmware::slots::{Lend, Opened};
use coshift_shared::policy::PolicyView;
use coshift_shared::policy::slot::MAX_SLOT;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// First byte of the first slot: the start of the board's PSRAM, of which nothing else is used.
const BASE: usize = 0x2100_0000;
/// Bytes of a slot.
pub(super) const SIZE: usize = 20 * 1024;
/// Bytes that are erased at once.
const BLOCK: usize = 4 * 1024;
/// Bytes that are written at once.
const WORD: usize = 4;

const _: () = assert!(SIZE >= MAX_SLOT && SIZE.is_multiple_of(BLOCK) && BLOCK.is_multiple_of(WORD));

/// An access outside of the slot, or across its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfUnits;

impl NorFlashError for OutOfUnits {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

/// One slot. There is one value of it for each of the two; whoever has it, has the memory.
#[derive(Debug)]
pub struct RamSlot {
    base: usize,
}

/// Both slots. To be called once, while the board is brought up.
pub(super) fn take() -> [RamSlot; 2] {
    [BASE, BASE.wrapping_add(SIZE)].map(|base| RamSlot { base })
}

/// The slot at this address: to be called once for it, by an image in which nothing else uses its memory.
pub(super) fn at(base: usize) -> RamSlot {
    RamSlot { base }
}

/// The newest valid policy, or the one compiled in, and the store on the other slot.
#[cfg(not(feature = "in-place-store"))]
pub fn open([a, b]: [RamSlot; 2], built_in: Option<PolicyView<'static>>) -> Opened<RamSlot> {
    coshift_firmware::slots::open(a, b, built_in)
}

/// The newest valid policy, or the one compiled in, and the store on the same slot: the image runs on
/// a copy, and power that is lost in an upload leaves no policy.
#[cfg(feature = "in-place-store")]
pub fn open([a, b]: [RamSlot; 2], built_in: Option<PolicyView<'static>>) -> Opened<RamSlot> {
    use coshift_controller::store::Upload;
    use coshift_firmware::slots::Active;
    use coshift_shared::policy::slot::{SlotView, Which, newest};

    let slot = if newest(&a.view(), &b.view()) == Some(Which::B) { b } else { a };
    let copy: Option<&'static mut [u8; SIZE]> = cortex_m::singleton!(: [u8; SIZE] = [0; SIZE]);
    let policy = copy.and_then(|copy| {
        copy.copy_from_slice(slot.mapped().get(..SIZE)?);
        SlotView::new(copy).policy()
    });
    let policy = policy.or(built_in);
    Opened { policy, active: Active::none(), store: Upload::new(slot, policy.as_ref()) }
}

impl RamSlot {
    /// Whether `length` bytes from `offset` on are whole units of the slot.
    fn holds(offset: usize, length: usize, unit: usize) -> bool {
        offset.is_multiple_of(unit)
            && length.is_multiple_of(unit)
            && offset.checked_add(length).is_some_and(|end| end <= SIZE)
    }

    fn word(&mut self, offset: usize) -> *mut u32 {
        self.base.wrapping_add(offset) as *mut u32
    }
}

impl ErrorType for RamSlot {
    type Error = OutOfUnits;
}

impl ReadNorFlash for RamSlot {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfUnits> {
        let there = self.mapped().get(offset as usize..).ok_or(OutOfUnits)?;
        let there = there.get(..bytes.len()).ok_or(OutOfUnits)?;
        for (place, byte) in bytes.iter_mut().zip(there) {
            *place = *byte;
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        SIZE
    }
}

impl NorFlash for RamSlot {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = BLOCK;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), OutOfUnits> {
        let (from, to) = (from as usize, to as usize);
        let length = to.checked_sub(from).ok_or(OutOfUnits)?;
        if !Self::holds(from, length, BLOCK) {
            return Err(OutOfUnits);
        }
        let mut offset = from;
        while offset < to {
            // SAFETY: an aligned word of this slot, to which `self` is the only way.
            unsafe { ptr::write_volatile(self.word(offset), u32::MAX) }
            offset = offset.wrapping_add(WORD);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfUnits> {
        let mut offset = offset as usize;
        if !Self::holds(offset, bytes.len(), WORD) {
            return Err(OutOfUnits);
        }
        let (words, _) = bytes.as_chunks::<WORD>();
        for word in words {
            let place = self.word(offset);
            // Programming clears bits and sets none.
            // SAFETY: an aligned word of this slot, to which `self` is the only way.
            unsafe {
                ptr::write_volatile(place, ptr::read_volatile(place) & u32::from_le_bytes(*word));
            }
            offset = offset.wrapping_add(WORD);
        }
        Ok(())
    }
}

impl Slot for RamSlot {
    fn mapped(&self) -> &[u8] {
        // SAFETY: RAM of the board that is this slot's alone; any bits make bytes, and while this borrow
        // lives `self` cannot be written.
        unsafe { slice::from_raw_parts(self.base as *const u8, SIZE) }
    }
}

impl Lend for RamSlot {
    fn lend(&self) -> &'static [u8] {
        // SAFETY: as in `mapped`. The slot that is lent is in the hands of `slots::Active`, which
        // writes it right before a restart, when nothing reads.
        unsafe { slice::from_raw_parts(self.base as *const u8, SIZE) }
    }
}
