//! The policy image compiled into the firmware.

use coshift_shared::policy::{PolicyFault, PolicyView};

/// Keeps the image aligned, so that it may be read by words where the compiler sees that it can.
#[repr(C, align(4))]
struct Aligned<T: ?Sized>(T);

static IMAGE: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/policy.bin")));

/// The policy, read in place; `None` where the image was built without one.
///
/// # Errors
/// What is wrong with the image: it was damaged after it was built in.
pub fn built_in() -> Result<Option<PolicyView<'static>>, PolicyFault> {
    if IMAGE.0.is_empty() { Ok(None) } else { PolicyView::open(&IMAGE.0).map(Some) }
}
