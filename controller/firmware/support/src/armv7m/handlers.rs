//! Handlers of faults, unused interrupts and panics: noted for the next boot, then a reset.

use cortex_m_rt::{ExceptionFrame, exception};
use coshift_shared::to_host::FaultCode;

use super::fault::{self, Fault};
use super::retained;

/// Any fault of the core.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    let Fault { code, detail, status } = fault::account(frame);
    fault::clear(status);
    end(code, detail)
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

#[cfg(not(feature = "development"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    fault::refuse_to_link()
}
