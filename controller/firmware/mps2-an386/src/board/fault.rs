//! Faults: noted for the next boot; then a reset, or in the development image a report and the
//! end of the emulator.

use cortex_m_rt::{ExceptionFrame, exception};
use coshift_firmware::armv7m::fault::{self, Fault};
use coshift_firmware::armv7m::retained;
use coshift_shared::to_host::FaultCode;

use super::registers::HFSR;

/// Any fault of the core that nothing else takes.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    let fault = fault::account(frame);
    retained::note_fault(fault.code, fault.detail);
    end(fault)
}

#[cfg(feature = "development")]
fn end(Fault { code, detail, status }: Fault) -> ! {
    use super::semihosting::{EXIT_HARD_FAULT, EXIT_STACK_OVERFLOW, exit};

    super::log::abandon();
    let hard = HFSR.read();
    if code == FaultCode::StackOverflow {
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
fn end(fault: Fault) -> ! {
    fault::clear(fault.status);
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
    retained::note_fault(FaultCode::Hang, pc);
}

/// An interrupt that no part of the image enabled.
pub(super) fn unexpected_interrupt() -> ! {
    let fault = Fault { code: FaultCode::HardFault, detail: 0, status: 0 };
    retained::note_fault(fault.code, fault.detail);
    end(fault)
}

#[cfg(feature = "development")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    use super::semihosting::{EXIT_PANIC, exit};

    let (file, line) = info.location().map_or(("?", 0), |place| (place.file(), place.line()));
    // First what must outlive this: formatting may fault in turn.
    retained::note_fault(FaultCode::Panic, line);
    super::log::abandon();
    let message = defmt::Display2Format(&info.message());
    defmt::error!("panic at {=str}:{=u32}: {}", file, line, message);
    exit(EXIT_PANIC)
}

#[cfg(not(feature = "development"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    fault::refuse_to_link()
}
