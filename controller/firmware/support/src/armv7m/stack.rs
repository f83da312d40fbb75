//! The stack region and how much of it was ever used. Start-up paints it (feature `paint-stack` of
//! cortex-m-rt).

use core::ptr;

use cortex_m_rt::STACK_PAINT_VALUE;

use super::guard;

unsafe extern "C" {
    /// First byte of the stack region.
    static _stack_end: u32;
    /// First byte above it.
    static _stack_start: u32;
}

/// Address of the lowest byte of the stack region.
pub(super) fn end() -> usize {
    // Only the address of the linker's symbol is taken.
    &raw const _stack_end as usize
}

/// Most bytes of stack that were ever in use since the last reset.
///
/// Reads the stack from its guard upwards to the first word whose paint is gone: about five
/// instructions for each unused word.
#[must_use]
pub fn high_water() -> u16 {
    let start = &raw const _stack_start as usize;
    let mut address = end().wrapping_add(guard::OFFSET).wrapping_add(guard::SIZE);
    while address < start {
        // SAFETY: the address is a word of the stack region above the guard: RAM of this image.
        // Volatile, as the compiler believes nobody uses that memory.
        if unsafe { ptr::read_volatile(address as *const u32) } != STACK_PAINT_VALUE {
            break;
        }
        address = address.wrapping_add(4);
    }
    u16::try_from(start.wrapping_sub(address)).unwrap_or(u16::MAX)
}
