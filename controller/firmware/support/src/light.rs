//! The controller's mode on one status light.
//!
//! | light | the controller |
//! |---|---|
//! | off | waits for an agent or a policy |
//! | on | decides |
//! | blinks slowly, once a second | holds its last decision |
//! | blinks fast, four times a second | keeps the safest level |
//! | two short flashes a second | whatever it does: the over-current alert is raised |

use coshift_shared::to_host::Mode;
use embedded_hal::digital::{OutputPin, PinState};

/// Time of one step of a pattern, µs. A power of two, so that the pattern goes on over the wrap of
/// the microseconds; a whole pattern of eight steps takes 1.05 s.
pub const STEP_US: u32 = 1 << 17;

/// The light, on a pin that lights it when high.
#[derive(Debug)]
pub struct Light<P> {
    pin: P,
    lit: Option<bool>,
}

impl<P: OutputPin> Light<P> {
    /// A light on this pin, as it is until [`Light::show`].
    pub const fn new(pin: P) -> Self {
        Self { pin, lit: None }
    }

    /// Shows the mode, or the alert, at `now_us`. Writes the pin only where something changes.
    ///
    /// # Errors
    /// That of the pin; the next call tries again.
    pub fn show(&mut self, mode: Mode, alert: bool, now_us: u32) -> Result<(), P::Error> {
        let lit = is_lit(mode, alert, now_us);
        if self.lit == Some(lit) {
            return Ok(());
        }
        self.lit = None;
        self.pin.set_state(PinState::from(lit))?;
        self.lit = Some(lit);
        Ok(())
    }
}

/// Whether the light is on.
#[must_use]
pub const fn is_lit(mode: Mode, alert: bool, now_us: u32) -> bool {
    let step = (now_us / STEP_US) & 7;
    // One bit a step, the first the lowest.
    let pattern: u8 = if alert {
        0b0000_0101
    } else {
        match mode {
            Mode::Unused | Mode::Boot | Mode::AwaitPolicy => 0,
            Mode::Run => 0xff,
            Mode::Hold => 0b0000_1111,
            Mode::Safe => 0b0101_0101,
        }
    };
    pattern & (1 << step) != 0
}

#[cfg(test)]
mod tests {
    use embedded_hal_mock::eh1::MockError;
    use embedded_hal_mock::eh1::digital::{Mock, State, Transaction};

    use super::*;

    /// Times it lights up in eight steps that begin anywhere.
    fn flashes(mode: Mode, alert: bool, start_us: u32) -> usize {
        let lit: Vec<bool> =
            (0..9).map(|n| is_lit(mode, alert, start_us.wrapping_add(n * STEP_US))).collect();
        lit.windows(2).filter(|pair| !pair[0] && pair[1]).count()
    }

    #[test]
    fn modes_and_alert_can_be_told_apart() {
        for start_us in [0, 12_345, u32::MAX - 3 * STEP_US] {
            assert_eq!(flashes(Mode::Hold, false, start_us), 1);
            assert_eq!(flashes(Mode::Safe, false, start_us), 4);
            for mode in [Mode::AwaitPolicy, Mode::Run, Mode::Hold, Mode::Safe] {
                assert_eq!(flashes(mode, true, start_us), 2, "{mode:?}");
            }
            for n in 0..8 {
                let at = start_us.wrapping_add(n * STEP_US);
                assert!(is_lit(Mode::Run, false, at));
                assert!(!is_lit(Mode::AwaitPolicy, false, at) && !is_lit(Mode::Boot, false, at));
            }
        }
    }

    #[test]
    fn the_pin_is_written_on_changes_and_again_after_a_failure() {
        let failed =
            Transaction::set(State::High).with_error(MockError::Io(std::io::ErrorKind::Other));
        let expected = [
            Transaction::set(State::Low),
            failed,
            Transaction::set(State::High),
            Transaction::set(State::Low),
        ];
        let mut pin = Mock::new(&expected);
        let mut light = Light::new(pin.clone());
        light.show(Mode::Boot, false, 0).unwrap();
        light.show(Mode::AwaitPolicy, false, 1).unwrap();
        light.show(Mode::Run, false, 2).unwrap_err();
        light.show(Mode::Run, false, 3).unwrap();
        light.show(Mode::Run, false, 4).unwrap();
        light.show(Mode::Hold, false, 7 * STEP_US).unwrap();
        pin.done();
    }
}
