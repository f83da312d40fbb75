//! Faults: noted for the next boot; then a reset, or in the development image a report and the
//! end of the emulator.

use cortex_m_rt::{ExceptionFrame, exception};
use coshift_shared::to_host::{FaultCode, ResetCause};

use super::registers::{CFSR, HFSR, MMFAR};
use super::{guard, retained};

/// Access violation of data, stacking for an exception, or lazy saving of floating-point state.
const CFSR_DATA_VIOLATION: u32 = 1 << 1;
const CFSR_STACKING: u32 = 1 << 4;
const CFSR_LAZY_STACKING: u32 = 1 << 5;
const CFSR_ADDRESS_VALID: u32 = 1 << 7;

/// Any fault of the core that nothing else takes. For it the MPU, and so the guard, is off.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    let status = CFSR.read();
    let address = MMFAR.read();
    let stack_pointer = core::ptr::from_ref(frame) as usize;
    let stacking = status & (CFSR_STACKING | CFSR_LAZY_STACKING) != 0;
    let touched = status & CFSR_DATA_VIOLATION != 0
        && status & CFSR_ADDRESS_VALID != 0
        && guard::overrun(address as usize);
    // The frame of a fault while stacking was never written.
    let (fault, detail) = if stacking || touched || guard::overrun(stack_pointer) {
        (FaultCode::StackOverflow, if touched { address } else { stack_pointer as u32 })
    } else {
        (FaultCode::HardFault, frame.pc())
    };
    retained::note_fault(ResetCause::Software, fault, detail);
    end(fault, detail, status)
}

#[cfg(feature = "development")]
fn end(fault: FaultCode, detail: u32, status: u32) -> ! {
    use super::semihosting::{EXIT_HARD_FAULT, EXIT_STACK_OVERFLOW, exit};

    super::log::abandon();
    let hard = HFSR.read();
    if fault == FaultCode::StackOverflow {
        defmt::error!("stack overflow at {=u32:#010x}, CFSR {=u32:#010x}", detail, status);
        exit(EXIT_STACK_OVERFLOW)
    }
    defmt::error!(
        "hard fault: pc {=u32:#010x}, CFSR {=u32:#010x}, HFSR {=u32:#010x}",
        detail,
        status,
        hard
    );
    exit(EXIT_HARD_FAULT)
}

#[cfg(not(feature = "development"))]
fn end(_: FaultCode, _: u32, status: u32) -> ! {
    // Sticky flags would be taken for those of the next fault.
    CFSR.write(status);
    HFSR.write(HFSR.read());
    super::reset()
}

/// First expiry of the watchdog: notes where the image hangs; the second expiry resets the board.
///
/// The vector names it directly, so that the stack still holds what was interrupted.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn NonMaskableInt() {
    // The core pushed r0-r3, r12, lr, pc, xpsr: the program counter is the seventh word.
    core::arch::naked_asm!("ldr r0, [sp, #24]", "b {note}", note = sym note_hang)
}

extern "C" fn note_hang(pc: u32) {
    retained::note_fault(ResetCause::Watchdog, FaultCode::Hang, pc);
}

/// An interrupt that no part of the image enabled.
pub(super) fn unexpected_interrupt() -> ! {
    retained::note_fault(ResetCause::Software, FaultCode::HardFault, 0);
    end(FaultCode::HardFault, 0, 0)
}

#[cfg(feature = "development")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    use super::semihosting::{EXIT_PANIC, exit};

    let (file, line) = info.location().map_or(("?", 0), |place| (place.file(), place.line()));
    // First what must outlive this: formatting may fault in turn.
    retained::note_fault(ResetCause::Software, FaultCode::Panic, line);
    super::log::abandon();
    let message = defmt::Display2Format(&info.message());
    defmt::error!("panic at {=str}:{=u32}: {}", file, line, message);
    exit(EXIT_PANIC)
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
