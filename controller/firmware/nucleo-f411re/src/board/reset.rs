//! Why the microcontroller was reset, by its own register.

use coshift_shared::to_host::ResetCause;
use stm32f4xx_hal::pac::RCC;

/// Reads the flags and clears them for the next reset.
pub(super) fn cause(rcc: &RCC) -> Option<ResetCause> {
    let flags = rcc.csr().read();
    rcc.csr().modify(|_, w| w.rmvf().set_bit());
    if flags.porrstf().bit_is_set() || flags.borrstf().bit_is_set() {
        Some(ResetCause::PowerOn)
    } else if flags.wdgrstf().bit_is_set() {
        Some(ResetCause::Watchdog)
    } else if flags.sftrstf().bit_is_set() {
        Some(ResetCause::Software)
    } else if flags.padrstf().bit_is_set() {
        Some(ResetCause::External)
    } else {
        None
    }
}
