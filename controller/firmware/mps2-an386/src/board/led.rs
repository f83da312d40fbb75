//! The two user LEDs of the board's FPGA, as pins of embedded-hal.

use core::convert::Infallible;

use embedded_hal::digital::{ErrorType, OutputPin};

use super::registers::LEDS;

/// One user LED.
#[derive(Debug)]
pub struct Led {
    mask: u32,
}

impl Led {
    pub(super) const USER0: Self = Self { mask: 1 << 0 };
    pub(super) const USER1: Self = Self { mask: 1 << 1 };
}

impl ErrorType for Led {
    type Error = Infallible;
}

impl OutputPin for Led {
    // Only the main loop writes the register, so reading it first loses nothing.
    fn set_low(&mut self) -> Result<(), Infallible> {
        LEDS.write(LEDS.read() & !self.mask);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        LEDS.write(LEDS.read() | self.mask);
        Ok(())
    }
}
