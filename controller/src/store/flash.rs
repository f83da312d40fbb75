//! What a board gives to the store.

use coshift_shared::policy::slot::SlotView;
use embedded_storage::nor_flash::NorFlash;

/// One slot: non-volatile memory that is written through embedded-storage's [`NorFlash`] and read
/// in place.
///
/// Offsets count from the start of the slot. Of [`NorFlash`] the store relies on this: erased bytes
/// read `0xff`; a unit of `WRITE_SIZE` bytes, at most
/// [`RECORD`](coshift_shared::policy::slot::RECORD), is written at most once between two erasures;
/// `erase` of one block of `ERASE_SIZE` bytes is the longest call, so its time is the board's
/// longest pause. A call that is cut short may leave anything in the units it was to write or the
/// block it was to erase, and nowhere else.
pub trait Slot: NorFlash {
    /// The slot's bytes as they are now.
    fn mapped(&self) -> &[u8];

    /// The slot's content.
    fn view(&self) -> SlotView<'_> {
        SlotView::new(self.mapped())
    }
}
