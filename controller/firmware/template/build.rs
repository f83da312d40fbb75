//! Linker scripts and the policy image.

use std::error::Error;

use coshift_firmware_build::{Interrupts, firmware};

fn main() -> Result<(), Box<dyn Error>> {
    firmware(Interrupts::Own)
}
