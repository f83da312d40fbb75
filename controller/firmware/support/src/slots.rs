//! The two slots of the policy store at boot: which one the board runs on, which one takes uploads.

use coshift_controller::store::{Slot, Switch, Upload};
use coshift_shared::policy::PolicyView;
use coshift_shared::policy::slot::{RECORD, SlotView, Which, newest};

/// A slot whose bytes stay where they are while the image runs.
pub trait Lend: Slot {
    /// The slot's bytes for as long as the image runs: nobody writes them any more, but for the
    /// revocation right before a restart.
    fn lend(&self) -> &'static [u8];
}

/// The slot that the image runs on. Nobody else has it, so it is not written.
#[derive(Debug)]
pub struct Active<S> {
    /// `None` where the image runs on the policy compiled in, or on a copy.
    slot: Option<S>,
}

/// What a board boots with.
#[derive(Debug)]
pub struct Opened<S> {
    /// The newest valid policy, or the one compiled in.
    pub policy: Option<PolicyView<'static>>,
    /// Where it is.
    pub active: Active<S>,
    /// The store, on the other slot.
    pub store: Upload<S>,
}

/// Chooses between two slots; `built_in` is the policy compiled into the image.
pub fn open<S: Lend>(a: S, b: S, built_in: Option<PolicyView<'static>>) -> Opened<S> {
    let (active, spare) = match newest(&a.view(), &b.view()) {
        None => {
            let store = Upload::new(a, built_in.as_ref());
            return Opened { policy: built_in, active: Active::none(), store };
        }
        Some(Which::A) => (a, b),
        Some(Which::B) => (b, a),
    };
    let policy = SlotView::new(active.lend()).policy().or(built_in);
    let store = Upload::new(spare, policy.as_ref());
    Opened { policy, active: Active { slot: Some(active) }, store }
}

impl<S: Slot> Active<S> {
    /// No slot: the image runs on the policy compiled in, or on a copy.
    #[must_use]
    pub const fn none() -> Self {
        Self { slot: None }
    }

    /// Prepares the restart that the store asks for; the board resets itself next, whatever comes
    /// of it: where the revocation was not written, the same policy runs on.
    ///
    /// # Errors
    /// The slot's, where the revocation was not written.
    pub fn prepare(&mut self, switch: Switch) -> Result<(), S::Error> {
        let (Switch::RollBack, Some(slot)) = (switch, &mut self.slot) else { return Ok(()) };
        let offset = slot.view().revocation_offset();
        // A slot has at most 4 GiB.
        slot.write(u32::try_from(offset).unwrap_or(u32::MAX), &[0; RECORD])
    }

    /// The slot, as a restart finds it.
    pub fn into_slot(self) -> Option<S> {
        self.slot
    }
}
