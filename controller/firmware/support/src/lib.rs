//! What every firmware package shares, so that a board's own package stays thin.
//!
//! * [`port`] — the few things the loop needs from a board, as a trait
//! * [`super_loop`] — bytes in, steps, frames out, watchdog, sleep
//! * [`serial`] — the two queues between a serial port's interrupts and the loop
//! * [`record`] — what outlives a reset
//! * [`light`] — the controller's mode on one status light
//! * [`rails`] — three power rails read through an INA3221, and what to do when it fails
//! * [`ina3221`] — the driver of that sensor, over the I2C of embedded-hal
//! * [`slots`] — the two slots of the policy store at boot
//! * [`stm32f4_flash`] — a sector of an STM32F4's flash as one of them
//! * `armv7m` — stack guard, high-water mark, retained memory and account of faults of a Cortex-M3,
//!   M4 or M7; on the microcontroller only. Its handlers of faults and panics are feature
//!   `fault-handlers`, its clock `systick-clock`. All `unsafe` of this package is there and in
//!   `logger`.
//! * `logger` — defmt over RTT without a panic path; on the microcontroller only, feature
//!   `rtt-logger`
//!
//! Everything else touches no register and is tested on the host.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::float_arithmetic
    )
)]

#[cfg(target_os = "none")]
pub mod armv7m;
pub mod ina3221;
pub mod light;
#[cfg(all(target_os = "none", feature = "rtt-logger"))]
pub mod logger;
pub mod port;
pub mod rails;
pub mod record;
pub mod serial;
pub mod slots;
pub mod stm32f4_flash;
pub mod super_loop;

/// The version of the package that names it: major, minor, patch.
///
/// ```
/// const VERSION: [u8; 3] = coshift_firmware::version!();
/// ```
#[macro_export]
macro_rules! version {
    () => {
        [
            $crate::number(env!("CARGO_PKG_VERSION_MAJOR")),
            $crate::number(env!("CARGO_PKG_VERSION_MINOR")),
            $crate::number(env!("CARGO_PKG_VERSION_PATCH")),
        ]
    };
}

/// The policy image that the package's build script put into `OUT_DIR/policy.bin`, aligned to words;
/// empty where the image is built without one.
#[macro_export]
macro_rules! built_in_policy {
    () => {{
        #[repr(C, align(4))]
        struct Aligned<T: ?Sized>(T);

        static IMAGE: &Aligned<[u8]> =
            &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/policy.bin")));
        let image: &'static [u8] = &IMAGE.0;
        image
    }};
}

/// A decimal number of one byte, for [`version!`]: 255 where the text is none.
#[must_use]
pub const fn number(text: &str) -> u8 {
    match u8::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => u8::MAX,
    }
}
