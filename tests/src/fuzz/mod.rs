//! Fuzz targets: what must hold for any bytes.
//!
//! Each is a function of bytes that panics where something does not hold. `cargo xtask fuzz` drives
//! them with libFuzzer (`tests/fuzz`, a package outside the workspace); the test `corpus` replays
//! what it found worth keeping (`tests/corpus`) at every run of the tests.

mod import;
mod policy;
mod reader;
mod seeds;
mod step;
mod uploads;

pub use import::import;
pub use policy::policy;
pub use reader::reader;
pub use step::{Input, history, step};

/// A target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// What must not panic.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 4] = [
    Target { name: "reader", run: reader },
    Target { name: "policy", run: policy },
    Target { name: "step", run: step },
    Target { name: "import", run: import },
];

/// Bytes taken one after another; zeros once they are used up.
struct Bytes<'b>(&'b [u8]);

impl Bytes<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    fn u32(&mut self) -> u32 {
        u32::from(self.u16()) | u32::from(self.u16()) << 16
    }
}
