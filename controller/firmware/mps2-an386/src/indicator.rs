//! Two status lights, over the pins of embedded-hal.
//!
//! | run | alarm | the controller |
//! |---|---|---|
//! | off | off | waits for an agent or a policy |
//! | on | off | decides |
//! | on | on | holds its last decision |
//! | off | on | keeps the safest level |

use coshift_shared::to_host::Mode;
use embedded_hal::digital::{OutputPin, PinState};

/// The two lights.
#[derive(Debug)]
pub struct Indicator<R, A> {
    run: R,
    alarm: A,
}

impl<E, R: OutputPin<Error = E>, A: OutputPin<Error = E>> Indicator<R, A> {
    /// Lights on these pins, as they are until [`Indicator::show`].
    pub const fn new(run: R, alarm: A) -> Self {
        Self { run, alarm }
    }

    /// Shows a mode.
    ///
    /// # Errors
    /// That of the first pin that cannot be set.
    pub fn show(&mut self, mode: Mode) -> Result<(), E> {
        let (run, alarm) = match mode {
            Mode::Unused | Mode::Boot | Mode::AwaitPolicy => (false, false),
            Mode::Run => (true, false),
            Mode::Hold => (true, true),
            Mode::Safe => (false, true),
        };
        self.run.set_state(PinState::from(run))?;
        self.alarm.set_state(PinState::from(alarm))
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::convert::Infallible;

    use embedded_hal::digital::{ErrorType, OutputPin};

    use super::{Indicator, Mode};

    struct Light<'l>(&'l Cell<bool>);

    impl ErrorType for Light<'_> {
        type Error = Infallible;
    }

    impl OutputPin for Light<'_> {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.0.set(false);
            Ok(())
        }

        fn set_high(&mut self) -> Result<(), Infallible> {
            self.0.set(true);
            Ok(())
        }
    }

    #[test]
    fn every_mode_has_its_lights() {
        let (run, alarm) = (Cell::new(true), Cell::new(true));
        let mut indicator = Indicator::new(Light(&run), Light(&alarm));
        let expected = [
            (Mode::Boot, (false, false)),
            (Mode::AwaitPolicy, (false, false)),
            (Mode::Run, (true, false)),
            (Mode::Hold, (true, true)),
            (Mode::Safe, (false, true)),
        ];
        for (mode, lights) in expected {
            let Ok(()) = indicator.show(mode);
            assert_eq!((run.get(), alarm.get()), lights, "{mode:?}");
        }
    }
}
