//! What a fault of the core was.

use core::ptr;

use cortex_m_rt::ExceptionFrame;
use coshift_shared::to_host::FaultCode;

use super::guard;

/// Configurable fault status, and the address of a memory fault, of every Armv7-M core.
const CFSR: *mut u32 = 0xe000_ed28 as *mut u32;
const MMFAR: *const u32 = 0xe000_ed34 as *const u32;

/// Access violation of data, stacking for an exception, or lazy saving of floating-point state.
const DATA_VIOLATION: u32 = 1 << 1;
const STACKING: u32 = 1 << 4;
const LAZY_STACKING: u32 = 1 << 5;
const ADDRESS_VALID: u32 = 1 << 7;

/// A fault of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// A hard fault, or the stack's overflow.
    pub code: FaultCode,
    /// What it left: see [`FaultCode`].
    pub detail: u32,
    /// The configurable fault status.
    pub status: u32,
}

/// The account of a hard fault, from its handler: for that the memory protection unit, and so the
/// guard, is off.
#[must_use]
pub fn account(frame: &ExceptionFrame) -> Fault {
    // SAFETY: registers of the core, read without effect.
    let (status, address) = unsafe { (ptr::read_volatile(CFSR), ptr::read_volatile(MMFAR)) };
    let stack_pointer = ptr::from_ref(frame) as usize;
    let stacking = status & (STACKING | LAZY_STACKING) != 0;
    let touched = status & DATA_VIOLATION != 0
        && status & ADDRESS_VALID != 0
        && guard::overrun(address as usize);
    // The frame of a fault while stacking was never written.
    let (code, detail) = if stacking || touched || guard::overrun(stack_pointer) {
        (FaultCode::StackOverflow, if touched { address } else { stack_pointer as u32 })
    } else {
        (FaultCode::HardFault, frame.pc())
    };
    Fault { code, detail, status }
}

/// Clears sticky flags, which would be taken for those of the next fault.
pub fn clear(status: u32) {
    // SAFETY: writing ones clears flags and does nothing else.
    unsafe { ptr::write_volatile(CFSR, status) };
}

/// Panic handler of a release image, which must have no panic path: one that the linker can reach
/// calls a symbol that does not exist.
#[cfg(not(feature = "development"))]
pub fn refuse_to_link() -> ! {
    unsafe extern "C" {
        fn coshift_the_release_image_has_a_panic_path() -> !;
    }
    // SAFETY: never called: an image that could call it does not link.
    unsafe { coshift_the_release_image_has_a_panic_path() }
}
