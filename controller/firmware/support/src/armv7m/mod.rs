//! The parts of an Armv7-M core (Cortex-M3, M4, M7) that every board needs: a stack with a guard
//! and a high-water mark, memory kept over a reset, values shared with handlers, what a fault was.
//!
//! A board's `memory.x` gives the stack its own region below the variables (see the template's).
//! From the bottom: [`guard::OFFSET`] bytes of room for the fault handler, [`guard::SIZE`] bytes
//! that the memory protection unit lets nobody touch, then what the image may use.

#[cfg(feature = "systick-clock")]
mod clock;
pub mod fault;
pub mod guard;
mod guarded;
#[cfg(feature = "fault-handlers")]
mod handlers;
pub mod retained;
pub mod stack;

#[cfg(feature = "systick-clock")]
pub use clock::SysTickClock;
pub use guarded::Guarded;

/// Sleeps until the next interrupt, unless `is_idle` says that there is work.
///
/// Interrupts are held back between the check and the sleep; one that comes meanwhile still ends
/// the sleep, as a pending interrupt wakes the core whether or not it may be served.
pub fn sleep_unless(is_idle: impl FnOnce() -> bool) {
    cortex_m::interrupt::free(|_| {
        if is_idle() {
            cortex_m::asm::wfi();
        }
    });
}

/// Stirs a word into a hash (one round of MurmurHash3): for boot nonces, from what differs.
#[must_use]
pub fn mix(hash: u32, word: u32) -> u32 {
    let word = word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    (hash ^ word).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

/// Resets the microcontroller.
pub fn reset() -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}
