//! Faults: noted for the next boot, then a reset.

use core::ptr;

use cortex_m_rt::{ExceptionFrame, exception};
use coshift_shared::to_host::FaultCode;

use super::{guard, retained};

/// Configurable fault status, and the address of a memory fault, of every Armv7-M core.
const CFSR: *mut u32 = 0xe000_ed28 as *mut u32;
const MMFAR: *const u32 = 0xe000_ed34 as *const u32;

/// Access violation of data, stacking for an exception, or lazy saving of floating-point state.
const DATA_VIOLATION: u32 = 1 << 1;
const STACKING: u32 = 1 << 4;
const LAZY_STACKING: u32 = 1 << 5;
const ADDRESS_VALID: u32 = 1 << 7;

/// Any fault of the core. For it the memory protection unit, and so the guard, is off.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    // SAFETY: registers of the core, read without effect.
    let (status, address) = unsafe { (ptr::read_volatile(CFSR), ptr::read_volatile(MMFAR)) };
    let stack_pointer = ptr::from_ref(frame) as usize;
    let stacking = status & (STACKING | LAZY_STACKING) != 0;
    let touched = status & DATA_VIOLATION != 0
        && status & ADDRESS_VALID != 0
        && guard::overrun(address as usize);
    // The frame of a fault while stacking was never written.
    let (fault, detail) = if stacking || touched || guard::overrun(stack_pointer) {
        (FaultCode::StackOverflow, if touched { address } else { stack_pointer as u32 })
    } else {
        (FaultCode::HardFault, frame.pc())
    };
    // SAFETY: writing ones clears the sticky flags, which would be taken for the next fault's.
    unsafe { ptr::write_volatile(CFSR, status) };
    end(fault, detail)
}

/// An interrupt that no part of the image enabled.
#[exception]
unsafe fn DefaultHandler(_: i16) -> ! {
    end(FaultCode::HardFault, 0)
}

fn end(fault: FaultCode, detail: u32) -> ! {
    retained::note_fault(fault, detail);
    super::reset()
}

#[cfg(feature = "development")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("?", 0), |place| (place.file(), place.line()));
    // First what must outlive this: formatting may fault in turn.
    retained::note_fault(FaultCode::Panic, line);
    let message = defmt::Display2Format(&info.message());
    defmt::error!("panic at {=str}:{=u32}: {}", file, line, message);
    super::reset()
}

/// The release image must have no panic path: one that the linker can reach calls a symbol that
/// does not exist.
#[cfg(not(feature = "development"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn coshift_the_release_image_has_a_panic_path() -> !;
    }
    // SAFETY: never called: an image that could call it does not link.
    unsafe { coshift_the_release_image_has_a_panic_path() }
}
