//! The stack guard: a part of the stack region that no code may touch.

use cortex_m::peripheral::{MPU, SCB};

use super::stack;

/// Size of the guard, bytes. Larger than the frame of any function of the image, so that none steps
/// over it; a power of two, as the memory protection unit wants it.
pub const SIZE: usize = 1024;
/// The guard begins this far above the end of the stack: the fault handler, for which the unit is
/// off, starts in the guard and needs room below it.
pub const OFFSET: usize = 1024;

const _: () = assert!(SIZE.is_power_of_two() && OFFSET.is_multiple_of(SIZE));

const SIZE_FIELD: u32 = (SIZE.trailing_zeros() - 1) << 1;
const REGION_ENABLE: u32 = 1;
const EXECUTE_NEVER: u32 = 1 << 28;
const ENABLE: u32 = 1 << 0;
/// Privileged code may use all memory that no region covers.
const PRIVILEGED_DEFAULT: u32 = 1 << 2;

/// Forbids every access to the guard, except for the handlers of faults.
pub fn enable(mpu: &mut MPU, scb: &mut SCB) {
    let base = stack::end().wrapping_add(OFFSET) as u32;
    // SAFETY: the region covers the guard alone, of which `stack` hands out no reference; what else
    // there is stays as it was through the default map for privileged code.
    unsafe {
        mpu.rnr.write(0);
        mpu.rbar.write(base);
        // Access permission 0 = none at all.
        mpu.rasr.write(EXECUTE_NEVER | SIZE_FIELD | REGION_ENABLE);
        mpu.ctrl.write(ENABLE | PRIVILEGED_DEFAULT);
    }
    // Violations escalate to HardFault, whose handler runs without the unit.
    scb.disable(cortex_m::peripheral::scb::Exception::MemoryManagement);
    cortex_m::asm::dsb();
    cortex_m::asm::isb();
}

/// Whether an address lies in the guard or below it, in the stack region.
pub(super) fn overrun(address: usize) -> bool {
    let end = stack::end();
    (end..end.wrapping_add(OFFSET).wrapping_add(SIZE)).contains(&address)
}
