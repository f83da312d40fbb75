//! A value handed to an interrupt handler.

use core::cell::UnsafeCell;

/// A slot that belongs to one interrupt handler, or to code that holds interrupts back.
pub(super) struct Handed<T>(UnsafeCell<Option<T>>);

// SAFETY: `with` takes the proof that nothing else runs on this single core; so the value is
// never used from two contexts at once, and moving it between them needs `Send`.
unsafe impl<T: Send> Sync for Handed<T> {}

impl<T> Handed<T> {
    pub(super) const fn empty() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// Hands the value over.
    pub(super) fn give(&self, value: T) {
        critical_section::with(|_| {
            // SAFETY: interrupts are held back on the only core, and the reference ends here.
            unsafe { *self.0.get() = Some(value) }
        });
    }

    /// Uses the value, if there is one, with interrupts held back.
    pub(super) fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> Option<R> {
        critical_section::with(|_| {
            // SAFETY: interrupts are held back on the only core; `use_it` cannot come here again
            // with the same slot, as the slots are private to modules whose closures call none
            // of their functions that use a slot.
            unsafe { (*self.0.get()).as_mut() }.map(use_it)
        })
    }
}
