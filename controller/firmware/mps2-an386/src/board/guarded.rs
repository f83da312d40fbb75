//! A value shared with interrupt handlers.

use core::cell::UnsafeCell;

/// A value that is used with interrupts held back only.
pub(super) struct Guarded<T>(UnsafeCell<T>);

// SAFETY: `with` holds interrupts back on the only core, so the value is never used from two
// contexts at once; moving it between them needs `Send`.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Uses the value with interrupts held back. `use_it` must be short, and must not come here
    /// with the same value again.
    pub(super) fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        critical_section::with(|_| {
            // SAFETY: interrupts are held back, and the closures given in this module's siblings
            // call nothing that uses the same value, so this is the only reference.
            use_it(unsafe { &mut *self.0.get() })
        })
    }
}
