//! The end of an emulated run, by semihosting. Only in the development image: on a board without
//! a debugger the breakpoint would be a fault of its own.

/// Exit code of the emulator after a panic.
pub const EXIT_PANIC: u32 = 101;
/// Exit code of the emulator after a hard fault.
pub const EXIT_HARD_FAULT: u32 = 102;
/// Exit code of the emulator after the stack ran over.
pub const EXIT_STACK_OVERFLOW: u32 = 103;

/// `SYS_EXIT_EXTENDED`: exit with a reason and a code.
const SYS_EXIT_EXTENDED: u32 = 0x20;
/// `ADP_Stopped_ApplicationExit`.
const APPLICATION_EXIT: u32 = 0x2_0026;

/// Ends the emulator with this exit code (0 to 255).
pub fn exit(code: u32) -> ! {
    let block = [APPLICATION_EXIT, code];
    // SAFETY: the call reads two words at r1, which live until it returns; it writes r0 only.
    unsafe {
        core::arch::asm!(
            "bkpt 0xab",
            inout("r0") SYS_EXIT_EXTENDED => _,
            in("r1") &raw const block,
            options(nostack),
        );
    }
    // Only where nobody listens.
    super::reset()
}
