//! Memory that the emulator maps to a file of the host: how measured cases and their costs pass.

use core::slice;
use core::sync::atomic::AtomicU32;

/// First byte of the board's pseudo-static RAM, which holds the window and nothing else.
const BASE: usize = 0x2100_0000;
/// Bytes of cases; the costs follow.
const INPUT_BYTES: usize = 12 << 20;
/// Words of the costs.
const RESULT_WORDS: usize = (4 << 20) / 4;

/// The window: 12 MiB to read, then 4 MiB to write.
#[derive(Debug)]
pub struct Window {
    /// Written by the host before the image starts, and by nobody afterwards.
    pub input: &'static [u8],
    /// Read by the host while the image runs.
    pub results: &'static [AtomicU32],
}

impl Window {
    /// The window; `None` at every call but the first.
    pub fn take() -> Option<Self> {
        cortex_m::singleton!(: () = ())?;
        // SAFETY: both slices are aligned RAM that no section of an image lies in, they do not
        // overlap, and nobody writes to the first.
        let (input, results) = unsafe {
            (
                slice::from_raw_parts(BASE as *const u8, INPUT_BYTES),
                slice::from_raw_parts((BASE + INPUT_BYTES) as *const AtomicU32, RESULT_WORDS),
            )
        };
        Some(Self { input, results })
    }
}
