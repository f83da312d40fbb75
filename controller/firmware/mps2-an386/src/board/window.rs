//! Memory that the emulator maps to a file of the host: how measured cases and their costs pass.

use core::slice;
use core::sync::atomic::AtomicU32;

use super::slots::{self, RamSlot};

/// First byte of the board's pseudo-static RAM, which holds the window and nothing else.
const BASE: usize = 0x2100_0000;
/// Bytes of cases; the costs follow.
const INPUT_BYTES: usize = 12 << 20;
/// Bytes of the window, the slot at its end among them.
const BYTES: usize = 16 << 20;
/// Words of the costs.
const RESULT_WORDS: usize = (BYTES - INPUT_BYTES - slots::SIZE) / 4;

/// The window: 12 MiB to read, then nearly 4 MiB to write, then a slot of the policy store.
#[derive(Debug)]
pub struct Window {
    /// Written by the host before the image starts, and by nobody afterwards.
    pub input: &'static [u8],
    /// Read by the host while the image runs.
    pub results: &'static [AtomicU32],
    /// A slot as the board's own two, in whose place the window is.
    pub slot: RamSlot,
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
        Some(Self { input, results, slot: slots::at(BASE + BYTES - slots::SIZE) })
    }
}
