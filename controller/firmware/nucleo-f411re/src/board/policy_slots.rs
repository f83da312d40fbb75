//! The slots of the policy store: the last two sectors of the flash, one each.

use core::{ptr, slice};

use coshift_firmware::armv7m::retained;
use coshift_firmware::record::Activity;
use coshift_firmware::stm32f4_flash::{Register, Sector, SectorSlot};
use stm32f4xx_hal::pac;

use super::watchdog;

/// Bytes of a sector of this kind; the larger policy image takes 18 KiB of it.
const SIZE: usize = 128 * 1024;

/// A slot of this board.
pub(crate) type Slot = SectorSlot<FlashSector>;

/// A sector of which there is one value, so that whoever has it has the memory.
#[derive(Debug)]
pub(crate) struct FlashSector {
    number: u8,
    base: usize,
}

/// Both slots: `SLOT_A` and `SLOT_B` of `memory.x`. Whoever gives the controller's registers away
/// has no other use for them.
pub(super) fn take(_: pac::FLASH) -> [Slot; 2] {
    let slot = |number, base| SectorSlot::new(FlashSector { number, base });
    [slot(6, 0x0804_0000), slot(7, 0x0806_0000)]
}

fn register(register: Register) -> *mut u32 {
    pac::FLASH::PTR.cast::<u8>().cast_mut().wrapping_add(register as usize).cast()
}

impl Sector for FlashSector {
    const SIZE: usize = SIZE;

    fn number(&self) -> u8 {
        self.number
    }

    fn mapped(&self) -> &[u8] {
        // SAFETY: flash of the microcontroller that the linker puts nothing into; any bits make
        // bytes, and while this borrow lives `self` cannot change them.
        unsafe { slice::from_raw_parts(self.base as *const u8, SIZE) }
    }

    fn read(&self, which: Register) -> u32 {
        // SAFETY: a register of the flash's controller, read without effect.
        unsafe { ptr::read_volatile(register(which)) }
    }

    fn write(&mut self, which: Register, value: u32) {
        // SAFETY: a register of the flash's controller, which `take` took from everybody else. What
        // it changes is this sector alone, as the number and `store` name no other.
        unsafe { ptr::write_volatile(register(which), value) }
        cortex_m::asm::dsb();
    }

    fn store(&mut self, offset: usize, word: u32) {
        // SAFETY: by the trait's contract an aligned word of this sector, to which `self` is the
        // only way.
        unsafe { ptr::write_volatile(self.base.wrapping_add(offset) as *mut u32, word) }
        cortex_m::asm::dsb();
    }

    fn before_erase(&mut self) {
        retained::at(Activity::Storage);
        watchdog::wait_for_erase();
    }

    fn after_erase(&mut self) {
        watchdog::wait_for_loop();
        retained::at(Activity::Loop);
    }

    fn lend(&self) -> &'static [u8] {
        // SAFETY: flash of the microcontroller, as in `mapped`. The slot that is lent is in the
        // hands of `slots::Active`, which writes it right before a restart, when nothing reads.
        unsafe { slice::from_raw_parts(self.base as *const u8, SIZE) }
    }
}
